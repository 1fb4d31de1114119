"""Commands about a robot and its drives: what they take."""

from __future__ import annotations

import argparse
import math

from kinaema_ros.commands.arguments import (
    add_command,
    add_network,
    add_results,
    between,
    existing_file,
    existing_path,
    ros_name,
)


def add_replay(commands: argparse._SubParsersAction) -> None:
    parser = add_command(
        commands,
        "replay",
        "kinaema_ros.commands.replay:run",
        "run a recorded drive through the memory and ask it where photos were taken",
        "Run a recorded drive through the memory, ask it at the end where each photo of a table was taken,\n"
        "and compare the answers with the ground truth in the bag.",
    )
    parser.epilog = (
        "The bag is any rosbag2 (MCAP or sqlite3). Topics are found by type; if that is not clear, the\n"
        "command says what the bag has and which option decides. The table needs the columns file, x, y,\n"
        "yaw, seen: poses in metres and radians in the frame of the ground truth, images in queries/ beside\n"
        "the table.\n\n"
        "example:\n"
        "  kinaema replay drive/bag --queries drive/queries.csv --out out/drive --json out/drive.json"
    )
    parser.add_argument(
        "bag", metavar="BAG", type=existing_path, help="folder of the bag, or an .mcap or .db3 file"
    )
    parser.add_argument(
        "--queries", metavar="CSV", type=existing_file, required=True, help="table of query images"
    )
    topics = parser.add_argument_group("topics (default: the only one of its type)")
    topics.add_argument("--image-topic", metavar="NAME", help="Image or CompressedImage")
    topics.add_argument(
        "--odom-topic", metavar="NAME", help="Odometry, PoseStamped or PoseWithCovarianceStamped"
    )
    topics.add_argument("--truth-topic", metavar="NAME", help="the same types; the true pose to compare with")
    parser.add_argument(
        "--hfov",
        metavar="DEG",
        type=between(10, 150, "degrees"),
        help="horizontal field of view of a camera without camera_info (default: 90)",
    )
    keyframes = parser.add_argument_group("which frames are used (default: as memory_node)")
    keyframes.add_argument(
        "--min-distance", metavar="M", type=between(0, math.inf), help="metres between two"
    )
    keyframes.add_argument(
        "--min-angle", metavar="DEG", type=between(0, 180), help="... or degrees between two"
    )
    keyframes.add_argument(
        "--max-rate", metavar="HZ", type=between(0, math.inf), help="at most so many a second"
    )
    ros = parser.add_argument_group("ROS")
    ros.add_argument(
        "--through-ros",
        action="store_true",
        help="publish the drive to a running memory_node, whose memory is emptied first, and ask its service",
    )
    ros.add_argument(
        "--node",
        metavar="NAME",
        type=ros_name,
        default="/kinaema_memory",
        help="the memory_node's name (default: %(default)s)",
    )
    add_network(parser)
    parser.add_argument(
        "--map", metavar="YAML", type=existing_file, help="map to draw (default: map.yaml by the bag)"
    )
    add_results(parser, "pictures of map, errors, calibration and the seen/unseen decision")


def add_query(commands: argparse._SubParsersAction) -> None:
    parser = add_command(
        commands,
        "query",
        "kinaema_ros.commands.ask:run_query",
        "ask a running robot where a photo was taken",
        "Ask the running memory_node where the robot was when it would have seen a photo.",
    )
    parser.add_argument("image", metavar="IMAGE", type=existing_file, help="the photo: JPEG, PNG, ...")
    parser.add_argument(
        "--frame",
        metavar="NAME",
        default="",
        help="frame of the answer: the odometry's, or any that TF reaches (default: the robot's base)",
    )
    _add_robot(parser)
    add_results(parser)


def add_goto(commands: argparse._SubParsersAction) -> None:
    parser = add_command(
        commands,
        "goto",
        "kinaema_ros.commands.ask:run_goto",
        "send a running robot to where a photo was taken",
        "Send the robot, by the running navigator_node and Nav2, to where a photo was taken. Ends when the\n"
        "robot is there; Ctrl-C stops it.",
    )
    parser.add_argument("image", metavar="IMAGE", type=existing_file, help="the photo: JPEG, PNG, ...")
    parser.add_argument(
        "--min-seen",
        metavar="P",
        type=between(0, 1),
        default=0.0,
        help="stay here if the place was seen with a lower probability (default: the navigator's parameter)",
    )
    parser.add_argument(
        "--position-tolerance",
        metavar="M",
        type=between(0, math.inf),
        default=0.0,
        help="correct the goal on the way when the estimate moved so far (default: the navigator's parameter)",
    )
    parser.add_argument(
        "--yaw-tolerance",
        metavar="DEG",
        type=between(0, 180),
        default=0.0,
        help="... or turned so far (default: the navigator's parameter)",
    )
    _add_robot(parser)
    add_results(parser)


def _add_robot(parser: argparse.ArgumentParser) -> None:
    """Which robot's nodes, and how long to wait for them."""
    group = parser.add_argument_group("ROS")
    group.add_argument(
        "--namespace", metavar="NAME", type=ros_name, default="", help="namespace of the robot's nodes"
    )
    group.add_argument(
        "--timeout",
        metavar="S",
        type=between(0.1, 3600),
        default=15.0,
        help="seconds to wait for the node to answer (default: %(default)s)",
    )
