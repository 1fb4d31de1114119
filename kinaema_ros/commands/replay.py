"""`kinaema replay`: a recorded drive, its queries, and how well the memory answered them."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from kinaema_ros.commands.arguments import (
    add_command,
    add_embeddings,
    add_network,
    add_results,
    between,
    camera_mount,
    existing_file,
    existing_path,
    field_of_view,
    output_file,
    ros_name,
)
from kinaema_ros.paths import default_checkpoint
from kinaema_ros.reporting import number, percent, progress, table, write_json

if TYPE_CHECKING:
    from kinaema_ros.replay.bag import Recording
    from kinaema_ros.replay.queries import Query
    from kinaema_ros.replay.replay import Localization, Outcome

# Far places are harder: what the odometry's heading drifted counts with the distance.
DISTANCES_M = (0.0, 3.0, 6.0, 9.0, math.inf)
MANY = 0.2  # of a recording's images that cannot be used: then something is wrong with it


def add_arguments(commands: argparse._SubParsersAction) -> None:
    """Declare the command and its arguments."""
    parser = add_command(
        commands,
        "replay",
        run,
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
    cameras = parser.add_argument_group("cameras")
    cameras.add_argument(
        "--camera-mount",
        metavar="MOUNT",
        type=camera_mount,
        help="where the camera is on the robot: tf, from the bag's /tf_static, or X,Y,Z,ROLL,PITCH,YAW in metres and degrees,\n"
        "pitch positive downwards; where X is negative, with =, as --camera-mount=-0.1,0,0.5,0,20,0 (default: level, at\n"
        "the origin)",
    )
    cameras.add_argument(
        "--query-hfov-deg",
        metavar="DEG",
        type=between(20, 150, "degrees"),
        help="field of view across the longer side of photos that another camera took, where neither the table's hfov_deg\n"
        "nor a photo's EXIF data says it",
    )
    cameras.add_argument(
        "--crop-hfov-deg",
        metavar="DEG",
        type=field_of_view,
        help="use the middle of all pictures of the robot's camera only, so wide, or DEGxDEG: across and down",
    )
    cameras.add_argument(
        "--crop-queries-hfov-deg", metavar="DEG", type=field_of_view, help="the same of the photos alone"
    )
    memory = parser.add_argument_group("memory")
    memory.add_argument(
        "--memory",
        metavar="FILE",
        type=existing_file,
        help="begin with a saved memory, which finds out where the robot is before it goes on (default: an empty one)",
    )
    memory.add_argument(
        "--save", metavar="FILE", type=output_file, help="write the memory as it is after the drive to a file"
    )
    add_embeddings(memory)
    parser.add_argument(
        "--stop-after", metavar="S", type=between(0, math.inf), help="seconds of the drive, and ask then"
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


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit status; raises what `cli.main` tells the user."""
    from kinaema_ros.replay.bag import open_recording
    from kinaema_ros.replay.maps import find_map, read_map
    from kinaema_ros.replay.queries import read_queries
    from kinaema_ros.replay.replay import evaluate, reasons

    node_decides = (
        "min_distance",
        "min_angle",
        "max_rate",
        "hfov",
        "checkpoint",
        "embeddings",
        "camera_mount",
        "query_hfov_deg",
        "crop_hfov_deg",
        "crop_queries_hfov_deg",
        "stop_after",
        "memory",
        "save",
    )
    if arguments.through_ros and any(getattr(arguments, name) is not None for name in node_decides):
        options = ", ".join(f"--{name.replace('_', '-')}" for name in node_decides)
        arguments.parser.error(f"with --through-ros the node's own parameters count, not {options}")
    if arguments.map and not arguments.out:
        arguments.parser.error("--map is drawn into the folder of --out, which is missing")
    if arguments.save and arguments.save == arguments.json:
        arguments.parser.error("--save and --json name the same file")
    queries = read_queries(arguments.queries)
    map_path = arguments.map or find_map(arguments.bag)
    grid = read_map(map_path) if map_path and arguments.out else None
    with open_recording(
        arguments.bag, arguments.image_topic, arguments.odom_topic, arguments.truth_topic
    ) as recording:
        print(_describe(recording, queries), flush=True)
        outcome = (
            _through_ros(arguments, recording, queries)
            if arguments.through_ros
            else _here(arguments, recording, queries)
        )
        unusable = sum(outcome.dropped.values())
        if unusable > MANY * recording.image_topic.count:
            print(
                f"warning   {unusable} of {recording.image_topic.count} images cannot be used: "
                f"{reasons(outcome.dropped)}"
            )
        result = evaluate(recording, queries, outcome)
        print(f"\n{_by_distance(result['queries'])}\n\n{_summary(result['summary'])}")
        if arguments.json:
            write_json(arguments.json, result)
        if arguments.out:
            from kinaema_ros.replay.plots import write_plots

            arguments.out.mkdir(parents=True, exist_ok=True)
            for path in write_plots(arguments.out, recording, outcome, result, grid):
                print(f"wrote {path}")
    return 0


def _here(arguments: argparse.Namespace, recording: Recording, queries: Sequence[Query]) -> Outcome:
    import torch

    from kinaema_ros.keyframes import KeyframeConfig
    from kinaema_ros.memory import SpatialMemory
    from kinaema_ros.replay.replay import Cut, ReplayOptions, remember_and_ask

    torch.set_num_threads(1)  # as memory_node: with one image at a time more threads wait more than they work
    memory = SpatialMemory.from_checkpoint(
        arguments.checkpoint or default_checkpoint(),
        arguments.device,
        num_embeddings=arguments.embeddings,
    )
    if arguments.memory:
        memory.load(arguments.memory, localize=True)
    defaults = KeyframeConfig()
    usual = ReplayOptions()
    mount = recording.mount() if arguments.camera_mount == "tf" else arguments.camera_mount
    keyframes = KeyframeConfig(
        defaults.min_distance if arguments.min_distance is None else arguments.min_distance,
        defaults.min_angle if arguments.min_angle is None else math.radians(arguments.min_angle),
        defaults.max_rate_hz if arguments.max_rate is None else arguments.max_rate,
    )
    options = ReplayOptions(
        keyframes,
        mount,
        usual.hfov if arguments.hfov is None else math.radians(arguments.hfov),
        None if arguments.query_hfov_deg is None else math.radians(arguments.query_hfov_deg),
        None if arguments.crop_hfov_deg is None else Cut(*arguments.crop_hfov_deg),
        None if arguments.crop_queries_hfov_deg is None else Cut(*arguments.crop_queries_hfov_deg),
        usual.stop_after if arguments.stop_after is None else arguments.stop_after,
    )
    outcome = remember_and_ask(recording, queries, memory, options, progress)
    if outcome.mount_error is not None and outcome.mount_error.matters:
        print(f"warning   {outcome.mount_error.remedy(memory.mount)}")
    if arguments.memory:
        print(f"\n{_localized(outcome.localization, memory.missing)}")
    if arguments.save:
        memory.save(arguments.save)
        print(f"wrote {arguments.save}")
    return outcome


def _localized(found: Localization | None, missing: str) -> str:
    if found is None and not missing:
        return "localized        at once: the memory that was loaded is empty"
    if found is None:
        return f"localized        never, so that no query is answered: {missing}"
    metres, radians = found.error
    return (
        f"localized        after {found.after_s:.1f} s and {found.after_m:.1f} m; photos of places nearby {number(metres, 2, ' m')} "
        f"and {number(math.degrees(radians), 1, ' degrees')} off then"
    )


def _through_ros(arguments: argparse.Namespace, recording: Recording, queries: Sequence[Query]) -> Outcome:
    from kinaema_ros.nodes.client.player import play

    return play(recording, queries, arguments.node, progress)


def _describe(recording: Recording, queries: Sequence[Query]) -> str:
    import numpy as np

    seconds = (recording.odom.stamps_ns[-1] - recording.odom.stamps_ns[0]) * 1e-9
    steps = np.diff(recording.odom.poses[:, :2], axis=0)
    metres = float(np.hypot(steps[:, 0], steps[:, 1]).sum())
    camera = "no usable camera_info"
    if recording.camera is not None:
        lens = recording.camera.distortion_model
        camera = f"{math.degrees(recording.camera.hfov):.0f} degrees across, " + (
            "no distortion" if lens == "none" else f"distortion {lens}"
        )
    truth = recording.truth_topic.name if recording.truth_topic else "none in the bag: no errors can be told"
    lines = [
        f"drive     {recording.path}: {seconds:.0f} s, {metres:.0f} m",
        f"images    {recording.image_topic.name}: {recording.image_topic.count}, {camera}",
        f"odometry  {recording.odom_topic.name}",
        f"truth     {truth}",
        f"queries   {len(queries)}, {sum(query.seen for query in queries)} of them seen",
    ]
    for track, topic in ((recording.odom, recording.odom_topic), (recording.truth, recording.truth_topic)):
        if track is not None and topic is not None and track.rejected:
            lines.append(
                f"warning   {topic.name}: {track.rejected} messages without a valid pose were left out"
            )
    return "\n".join(lines)


def _by_distance(queries: list[dict[str, Any]]) -> str:
    """A table of how well the seen queries were located, by the distance of the place from the robot."""
    from kinaema_ros import metrics

    located = [query for query in queries if query["error_m"] is not None]
    rows = []
    for near, far in pairwise(DISTANCES_M):
        group = [query for query in located if near <= math.hypot(query["true_x"], query["true_y"]) < far]
        name = f"{near:.0f} to {far:.0f} m" if math.isfinite(far) else f"beyond {near:.0f} m"
        rows.append((name, *_accuracy_cells(group)))
    rows.append(("all seen queries", *_accuracy_cells(located)))
    header = ("distance", "queries", "median", "", *metrics.ACCURACY_NAMES)
    return table(rows, header)


def _accuracy_cells(group: list[dict[str, Any]]) -> tuple[str, ...]:
    import numpy as np

    from kinaema_ros import metrics

    position = [query["error_m"] for query in group]
    summary = metrics.accuracy_summary(position, np.radians([query["error_deg"] for query in group]))
    return (
        str(len(group)),
        number(summary["median_position_m"], 2, " m"),
        number(summary["median_yaw_deg"], 1, " deg"),
        *(percent(summary[key]) for key in metrics.ACCURACY_LEVELS),
    )


def _summary(summary: dict[str, Any]) -> str:
    dropped = "".join(f"; {count} x {reason}" for reason, count in summary["dropped"].items())
    accepted, wrongly = (percent(summary[f"accepted_{kind}"]) for kind in ("seen", "unseen"))
    sure, right = percent(summary["confident_share"]), percent(summary["confident_right"])
    seen = f"AUROC {number(summary['seen_auroc'], 3)}, calibration error {number(summary['seen_ece'], 3)}"
    inside = [percent(summary[f"inside_{level}_ellipse"]) for level in (50, 90)]
    used, skipped, unusable = (summary[f"frames_{what}"] for what in ("used", "skipped", "dropped"))
    update, query = number(summary["update_ms"], 1), number(summary["query_ms"], 1)
    megabytes = summary["state_bytes"] / 1e6
    return (
        f"seen or unseen   {seen}\n"
        f"accepted         {accepted} of the seen, {wrongly} of the unseen\n"
        f"sure             {sure} of the seen, of all that are {right} are right\n"
        f"covariance       {inside[0]} of the errors in the 50 % ellipse, {inside[1]} in the 90 % one\n"
        f"frames           {used} used, {skipped} passed over as too close, {unusable} unusable{dropped}\n"
        f"cost             {update} ms an update, {query} ms a query, {megabytes:.2f} MB of memory"
    )
