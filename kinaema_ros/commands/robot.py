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
        default="/kinaema_memory",
        help="the memory_node's name (default: %(default)s)",
    )
    add_network(parser)
    parser.add_argument(
        "--map", metavar="YAML", type=existing_file, help="map to draw (default: map.yaml by the bag)"
    )
    add_results(parser, "pictures of map, errors, calibration and the seen/unseen decision")
