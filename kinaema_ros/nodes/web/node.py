"""web_node: a page on which people see what the robot knows, show it photos and send it to places."""

from __future__ import annotations

import logging
import socket
import sys

from rclpy.node import Node

from kinaema_ros.errors import KinaemaError
from kinaema_ros.nodes.memory import files
from kinaema_ros.nodes.support.parameters import ParameterError, declare
from kinaema_ros.nodes.support.runtime import run
from kinaema_ros.nodes.web.guard import Guard, is_loopback
from kinaema_ros.nodes.web.parameters import WebParameters
from kinaema_ros.nodes.web.robot import RosRobot
from kinaema_ros.nodes.web.server import WebServer
from kinaema_ros.nodes.web.service import WebService, tls_context
from kinaema_ros.nodes.web.tokens import Role, Tokens, load_tokens, qr_code


class WebNode(Node):
    """The node ``kinaema_web``."""

    def __init__(self) -> None:
        super().__init__("kinaema_web", automatically_declare_parameters_from_overrides=True)
        p = declare(self, WebParameters, lambda _: None)
        open_to_all = is_loopback(p.address) and not p.require_token and not p.names
        free = Role.NOBODY if not open_to_all else Role.WATCH if p.restrict_go else Role.DRIVE
        self._robot = RosRobot(self, p)
        try:
            tls = tls_context(p.tls_certificate, p.tls_key)
            tokens = None
            if free < Role.DRIVE:
                tokens = load_tokens(files.folder(p.data_dir), p.restrict_go)
            guard = Guard(tokens, free, p.names, secure=tls is not None)
            largest = round(p.max_photo_mb * 1e6)
            self._service = WebService(
                lambda: WebServer(self._robot, guard, largest).app(), p.address, p.port, tls
            )
        except KinaemaError as error:  # each names the parameter to set
            raise ParameterError(str(error)) from error
        self._tell(p, tokens)

    def close(self) -> None:
        """Ends the server, then what it shows; a drive goes on, as its phone's battery might have ended too."""
        self._service.close()
        self._robot.close()

    def _tell(self, parameters: WebParameters, tokens: Tokens | None) -> None:
        """Where the page is. A token is shown on a terminal only: logs are kept, and read by others."""
        scheme = "https" if parameters.tls_certificate else "http"
        address = f"{scheme}://{_shown_host(parameters.address)}:{self._service.port}/"
        self.get_logger().info(f"the page is at {address}")
        if tokens is None:
            return
        self.get_logger().info(f"its token is in {tokens.path}")
        if sys.stdout.isatty():
            entrance = f"{address}#token={tokens.go}"
            print(f"\n{qr_code(entrance)}\nScan this, or open {entrance}\n", flush=True)


def _shown_host(address: str) -> str:
    """What a phone calls this machine: the address that it listens on, or one that other machines reach it by."""
    if address not in ("0.0.0.0", "::"):
        return f"[{address}]" if ":" in address else address
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # of the network for documents: nothing is sent
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()


def main(args: list[str] | None = None) -> int:
    """Runs the node; returns the exit status."""
    logging.basicConfig(level=logging.WARNING, format="[%(levelname)s] %(name)s: %(message)s")
    return run(WebNode, args, threads=6)


if __name__ == "__main__":
    sys.exit(main())
