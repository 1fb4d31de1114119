"""`kinaema place`: names for places of the running robot's memory."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING, Any

from kinaema_ros.commands import goto
from kinaema_ros.commands.arguments import (
    Parser,
    add_command,
    add_photo_hfov,
    add_results,
    add_robot,
    existing_file,
    planar_pose,
)
from kinaema_ros.reporting import place, pose_record, write_json

if TYPE_CHECKING:
    from kinaema_ros.estimate import Place


def add_arguments(commands: argparse._SubParsersAction) -> None:
    """Declare the command and its arguments."""
    parser: Parser = commands.add_parser(
        "place",
        help="name places of a running robot's memory, and go there",
        description="Names for places that the running memory_node remembers. They are kept with the memory: saved and loaded\n"
        "with it, and moved with it when drift is corrected.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(metavar="add|list|remove|go", required=True)
    add = add_command(
        verbs,
        "add",
        _add,
        "name the place where the robot is",
        "Name the place where the robot is, where a photo was taken, or a pose. A place that has the name is replaced.",
    )
    _add_name(add)
    where = add.add_mutually_exclusive_group()
    where.add_argument(
        "--photo", metavar="IMAGE", type=existing_file, help="where this photo was taken, instead of here"
    )
    where.add_argument(
        "--pose",
        metavar="X,Y,DEG",
        type=planar_pose,
        help="at this pose in metres and degrees, instead of here; of a negative X: --pose=-1,0,90",
    )
    add.add_argument("--frame", metavar="NAME", default="", help="frame of --pose, such as odom or map")
    add_photo_hfov(add)
    show = add_command(
        verbs, "list", _list, "show the named places", "Show the named places and where they lie."
    )
    show.add_argument(
        "--frame",
        metavar="NAME",
        default="",
        help="frame of the poses, such as map (default: the odometry's)",
    )
    remove = add_command(
        verbs,
        "remove",
        _remove,
        "forget the name of a place",
        "Forget the name of a place. What the robot remembers of its surroundings stays.",
    )
    _add_name(remove)
    go = add_command(
        verbs,
        "go",
        _go,
        "send the robot to a named place",
        "Send the robot, by the running navigator_node and Nav2, to a named place. Ends when the robot is there; Ctrl-C\n"
        "stops it.",
    )
    _add_name(go)
    for verb in (add, show, remove):
        add_robot(verb)
        add_results(verb)
    goto.add_drive(go)


def _add_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="of the place, such as kitchen: 1 to 64 characters")


def _add(arguments: argparse.Namespace) -> int:
    if bool(arguments.frame) != (arguments.pose is not None):
        arguments.parser.error("--pose and --frame belong together")
    if arguments.hfov_deg and arguments.photo is None:
        arguments.parser.error("--hfov-deg is of --photo, which is missing")
    from kinaema_ros.nodes.client.client import KinaemaClient

    with KinaemaClient(arguments.namespace) as kinaema:
        added, replaced = kinaema.add_place(
            arguments.name,
            arguments.photo,
            arguments.pose,
            arguments.frame,
            arguments.hfov_deg,
            arguments.timeout,
        )
    assert added.pose is not None
    print(f"{'replaced' if replaced else 'added'} {added.name}: {place(added.pose)} in {added.frame_id}")
    if arguments.json:
        write_json(arguments.json, [{**_record(added), "replaced": replaced}])
    return 0


def _list(arguments: argparse.Namespace) -> int:
    from kinaema_ros.nodes.client.client import KinaemaClient

    with KinaemaClient(arguments.namespace) as kinaema:
        places = kinaema.places(arguments.frame, arguments.timeout)
    for found in places.values():
        print(f"{found.name}: {_where(found)}")
    if not places:
        print("no place has a name yet: kinaema place add NAME")
    if arguments.json:
        write_json(arguments.json, [_record(found) for found in places.values()])
    return 0


def _where(found: Place) -> str:
    if not found.in_memory:
        return "its surroundings are no longer in memory"
    if found.pose is None:
        return "the robot does not know yet where it is in its memory"
    return f"{place(found.pose)} in {found.frame_id}"


def _remove(arguments: argparse.Namespace) -> int:
    from kinaema_ros.nodes.client.client import KinaemaClient

    with KinaemaClient(arguments.namespace) as kinaema:
        kinaema.remove_place(arguments.name, arguments.timeout)
    print(f"removed {arguments.name}")
    if arguments.json:
        write_json(arguments.json, [{"name": arguments.name}])
    return 0


def _go(arguments: argparse.Namespace) -> int:
    return goto.drive(arguments, None, arguments.name)


def _record(found: Place) -> dict[str, Any]:
    """For --json; null where the pose is not known."""
    pose = found.pose or (math.nan, math.nan, math.nan)
    return {"name": found.name, "in_memory": found.in_memory, **pose_record(pose, found.frame_id)}
