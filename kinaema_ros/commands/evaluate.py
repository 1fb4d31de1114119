"""`kinaema evaluate rpe` and `kinaema evaluate memnav`: the memory in scenes that it was never trained on."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from kinaema_ros.commands.arguments import (
    add_command,
    add_embeddings,
    add_network,
    add_results,
    between,
    existing_path,
    footprint,
    listed,
    odometry_noise,
    one_or_more_of,
    whole_number,
)
from kinaema_ros.paths import default_checkpoint
from kinaema_ros.reporting import write_json


def add_arguments(commands: argparse._SubParsersAction) -> None:
    """Declare the command and its arguments."""
    description = "Measure the memory in procedural scenes that it was never trained on."
    parser = commands.add_parser(
        "evaluate", help="measure the memory in unseen scenes", description=description
    )
    kinds = parser.add_subparsers(title="what", metavar="WHAT", required=True)
    _add_rpe(kinds)
    _add_memnav(kinds)


def _add_rpe(kinds: argparse._SubParsersAction) -> None:
    methods = ("kinaema", "paper", "gru", "attention", "retrieval", "retrieval_pair", "own_pose")
    parser = add_command(
        kinds,
        "rpe",
        run_rpe,
        "relative pose of places seen in the past",
        "Drive through unseen buildings and ask, after some numbers of frames, where views of past\n"
        "places lie relative to the robot, and whether views of new places were seen.",
    )
    parser.epilog = (
        "example:\n"
        "  kinaema evaluate rpe --method kinaema,retrieval --lengths 100,400 --scenes 16 --out out/rpe"
    )
    _add_methods(parser, methods)
    parser.add_argument(
        "--lengths",
        metavar="LIST",
        type=listed(whole_number(2)),
        default=(100, 200, 400, 800),
        help="frames after which is asked (default: 100,200,400,800)",
    )
    parser.add_argument(
        "--scenes", metavar="N", type=whole_number(1), default=32, help="default: %(default)s"
    )
    parser.add_argument(
        "--queries",
        metavar="N",
        type=whole_number(2),
        default=16,
        help="seen places asked for in each scene at each length, and as many unseen ones (default: %(default)s)",
    )
    parser.add_argument("--seed", type=whole_number(0), default=0, help="of scenes and drives (default: 0)")
    parser.add_argument(
        "--size",
        metavar="M[,M]",
        type=footprint,
        help="sides of the buildings in metres, such as 40 or 70,30 (default: each between 8 and 20)",
    )
    add_embeddings(parser)
    _add_odometry_noise(parser, (0.0, 0.0), "exact odometry")
    parser.add_argument(
        "--baselines",
        metavar="DIR",
        type=existing_path,
        help="folder of baseline-paper.safetensors, baseline-gru.safetensors and so on (default: models/)",
    )
    parser.add_argument(
        "--hfov-deg",
        metavar="DEG",
        type=between(45, 120, "degrees"),
        default=90.0,
        help="horizontal field of view of the robot's camera (default: 90)",
    )
    parser.add_argument(
        "--query-camera",
        choices=("same", "phone"),
        default="same",
        help="who takes the photos: the robot's camera, or a phone 1.3 to 1.6 m high, held upright or across, up to 15\n"
        "degrees down (default: same)",
    )
    add_network(parser)
    add_results(parser, "pictures and a table by age and distance")


def _add_memnav(kinds: argparse._SubParsersAction) -> None:
    methods = ("kinaema", "kinaema_localized", "retrieval", "no_memory", "oracle")
    parser = add_command(
        kinds,
        "memnav",
        run_memnav,
        "drives to photos of places seen before",
        "Explore unseen buildings of 8 to 20 m, then drive to photos of places that were passed: at least 4 m away,\n"
        "a third or more in other rooms, planning on the building's map, localised by odometry only, which is right\n"
        "when a drive begins and drifts from there on. Success: the robot stops by itself within 1 m of where the\n"
        "photo was taken. As many photos of places never seen are asked for, which should be refused.",
    )
    parser.epilog = (
        "methods:\n"
        "  kinaema    the memory, driven by the navigator's own logic\n"
        "  kinaema_localized  the same, and the robot is localised by the memory instead of by odometry only\n"
        "  retrieval  the same with the pose of the most similar of all frames, kept with their odometry;\n"
        "             refuses the 5 % of the goals that it is least sure of\n"
        "  no_memory  tours the building, with true localisation, until its newest views show the photo's place; 60 m at\n"
        "             most\n"
        "  oracle     knows the true goal and pose: what planner and robot can do\n\n"
        "keys of --json whose names do not say it all:\n"
        "  spl                  success weighted by path length (arXiv 1807.06757), against the shortest path\n"
        "  refused              goals refused though their place had been seen\n"
        "  gave_up              goals without a path, not found, or not reached in time\n"
        "  arrived_elsewhere    goals that the robot says it reached, more than 1 m away from where the photo was taken\n"
        "  misjudged_arrivals   goals that the robot reached, and took for another place\n"
        "  collisions           times that a robot touched something\n"
        "  unseen_photos        photos of never-seen places, half of them of another building, or all where every\n"
        "                       place of this one was seen; unseen_refused: the share refused\n"
        "  unseen_refused_at_5  the share refused if as many are refused as gives 5 % false refusals\n"
        "  localized            restarts (--restart) after which the memory found the robot\n\n"
        "example:\n"
        "  kinaema evaluate memnav --method kinaema,oracle --episodes 40 --out out/memnav"
    )
    _add_methods(parser, methods)
    parser.add_argument(
        "--episodes",
        metavar="N",
        type=whole_number(1),
        default=200,
        help="drives of each method, eight in a building (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=whole_number(0), default=0, help="of buildings and drives (default: 0)"
    )
    _add_odometry_noise(parser, (0.02, 0.2), "0.02,0.2")
    parser.add_argument(
        "--sees-obstacles",
        action="store_true",
        help="the robot drives round what is there, as by Nav2's costmaps that its sensors fill, and is mistaken about where\n"
        "the goal lies only; else it trusts the building's map, and gets stuck where its localisation is off",
    )
    parser.add_argument(
        "--through-ros",
        action="store_true",
        help="drive by simulator_node, memory_node and navigator_node instead, five photos one after the other in a\n"
        "building; --method kinaema, and about a minute an episode",
    )
    parser.add_argument(
        "--restart",
        action="store_true",
        help="with --through-ros: end memory_node after the exploration, set the robot down elsewhere with its odometry\n"
        "at zero, and start the node with what it had saved; drive on until it has found the robot",
    )
    add_network(parser)
    add_results(parser, "a picture of each method's episodes, and a table of them,")


def _add_methods(parser: argparse.ArgumentParser, methods: tuple[str, ...]) -> None:
    parser.add_argument(
        "--method",
        metavar="LIST",
        type=one_or_more_of(*methods),
        default=methods,
        help=f"of {', '.join(methods)} (default: all)",
    )


def _add_odometry_noise(
    parser: argparse.ArgumentParser, default: tuple[float, float], default_in_words: str
) -> None:
    parser.add_argument(
        "--odom-noise",
        metavar="FRACTION,DEG",
        type=odometry_noise,
        default=default,
        help="noise of each step of about 0.25 m: fraction of its length, degrees of its turn "
        f"(default: {default_in_words})",
    )


def run_rpe(arguments: argparse.Namespace) -> int:
    """Returns the exit status; raises what `cli.main` tells the user."""
    from kinaema_ros.evaluation.episodes import EpisodeConfig
    from kinaema_ros.evaluation.rpe import Task, evaluate, groups_table, records_table
    from kinaema_ros.evaluation.rpe_answers import groups
    from kinaema_ros.sim import OdometryNoise

    config = EpisodeConfig(
        arguments.seed,
        tuple(sorted(arguments.lengths)),
        arguments.queries,
        arguments.hfov_deg,
        arguments.query_camera,
        arguments.size,
    )
    task = Task(
        config,
        arguments.method,
        OdometryNoise(*arguments.odom_noise),
        arguments.checkpoint or default_checkpoint(),
        arguments.baselines or default_checkpoint().parent,
        arguments.device,
        arguments.embeddings,
    )
    records, answers = evaluate(task, arguments.scenes)
    print(f"\n{records_table(records)}\n\n{groups_table(answers, config.lengths)}")
    if arguments.json:
        write_json(arguments.json, records)
    if arguments.out:
        from kinaema_ros.evaluation.rpe_plots import write_plots

        arguments.out.mkdir(parents=True, exist_ok=True)
        details = [entry for name in answers for entry in groups(name, answers[name], config.lengths)]
        write_json(arguments.out / "groups.json", details)
        for path in write_plots(arguments.out, answers, config.lengths):
            print(f"wrote {path}")
    return 0


def run_memnav(arguments: argparse.Namespace) -> int:
    """Returns the exit status; raises what `cli.main` tells the user."""
    from kinaema_ros.baselines.network import load_network
    from kinaema_ros.evaluation.memnav.episodes import MemnavConfig
    from kinaema_ros.evaluation.memnav.evaluate import episodes_json, evaluate, record, records_table
    from kinaema_ros.sim import OdometryNoise

    checkpoint = arguments.checkpoint or default_checkpoint()
    load_network(checkpoint, arguments.device)  # refused now rather than by a worker
    noise = OdometryNoise(*arguments.odom_noise)
    if arguments.restart and not arguments.through_ros:
        arguments.parser.error("--restart is of the nodes; add --through-ros --method kinaema")
    if arguments.through_ros:
        if arguments.method != ("kinaema",):
            arguments.parser.error("--through-ros drives by the nodes, which are --method kinaema alone")
        from kinaema_ros.evaluation.memnav.through_nodes import GOALS, drive_through_nodes

        config = MemnavConfig(arguments.seed, goals=GOALS, sees_obstacles=arguments.sees_obstacles)
        logs = arguments.out / "log" if arguments.out else Path(tempfile.mkdtemp(prefix="kinaema-memnav-"))
        driven = drive_through_nodes(
            config, arguments.episodes, noise, checkpoint, arguments.device, logs, arguments.restart
        )
        results = {"kinaema": driven}
    else:
        config = MemnavConfig(arguments.seed, sees_obstacles=arguments.sees_obstacles)
        results = evaluate(config, arguments.episodes, arguments.method, noise, checkpoint, arguments.device)
    records = [record(name, results[name], config.seed, noise) for name in arguments.method]
    print(f"\n{records_table(records)}")
    if arguments.json:
        write_json(arguments.json, records)
    if arguments.out:
        from kinaema_ros.evaluation.memnav.pictures import write_pictures

        arguments.out.mkdir(parents=True, exist_ok=True)
        details = [entry for name in arguments.method for entry in episodes_json(name, results[name])]
        write_json(arguments.out / "episodes.json", details)
        for path in write_pictures(arguments.out, results):
            print(f"wrote {path}")
    return 0
