"""`kinaema web`: a page for phones, on which people send the running robot to photos and places."""

from __future__ import annotations

import argparse

from kinaema_ros.commands.arguments import add_command, existing_file, ros_name, whole_number


def add_arguments(commands: argparse._SubParsersAction) -> None:
    """Declare the command and its arguments."""
    parser = add_command(
        commands,
        "web",
        run,
        "serve a page for phones: show the robot a photo or tap a place, and it goes",
        "Serve a page on which people see what the robot knows, show it photos, send it to places and stop it.\n"
        "memory_node and navigator_node must run. Ctrl-C ends the page, not a drive.",
    )
    parser.epilog = (
        "examples:\n"
        "  kinaema web                      for a browser on this machine\n"
        "  kinaema web --address 0.0.0.0    for phones on the robot's network: scan the QR code"
    )
    parser.add_argument(
        "--address",
        metavar="IP",
        default="127.0.0.1",
        help="address to listen on; any but this machine's own asks for a token (default: %(default)s)",
    )
    parser.add_argument(
        "--port", metavar="N", type=whole_number(0), default=8765, help="port (default: %(default)s)"
    )
    parser.add_argument(
        "--restrict-go", action="store_true", help="a second token to drive; the first one watches and stops"
    )
    parser.add_argument("--tls-certificate", metavar="FILE", type=existing_file, help="for https (PEM)")
    parser.add_argument("--tls-key", metavar="FILE", type=existing_file, help="of the certificate (PEM)")
    group = parser.add_argument_group("ROS")
    group.add_argument(
        "--namespace", metavar="NAME", type=ros_name, default="", help="namespace of the robot's nodes"
    )
    for name, what in (("image", "camera"), ("odom", "odometry")):
        group.add_argument(
            f"--{name}", metavar="TOPIC", type=ros_name, default=name, help=f"the {what} (default: {name})"
        )
    group.add_argument("--debug", action="store_true", help="show the traceback where something fails")


def run(arguments: argparse.Namespace) -> int:
    """Serves until Ctrl-C; returns the exit status."""
    from kinaema_ros.nodes.web.node import main

    parameters: dict[str, object] = {
        "address": f"'{arguments.address}'",
        "port": arguments.port,
        "restrict_go": str(arguments.restrict_go).lower(),
    }
    for name in ("tls_certificate", "tls_key"):
        if value := getattr(arguments, name):
            parameters[name] = f"'{value.resolve()}'"
    names = {"image/compressed": f"{arguments.image}/compressed", "image": arguments.image}
    names["odom"] = arguments.odom
    if arguments.namespace.strip("/"):
        names["__ns"] = "/" + arguments.namespace.strip("/")
    words = ["--ros-args"]
    for name, value in parameters.items():
        words += ["-p", f"{name}:={value}"]
    for name, value in names.items():
        if name != value:
            words += ["-r", f"{name}:={value}"]
    return main(words)
