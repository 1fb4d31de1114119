"""The `kinaema` command.

Each command is a function `_name(commands)` that declares the arguments and names, as "module:function", what
is run with them: `run(arguments) -> exit status`. That module is imported only when the command is used, so
that `kinaema --help` is quick. To add a command, write such a function and put it into COMMANDS. Where
arguments are wrong together, `run` says so by `arguments.parser.error(message)`.

Exit status: 0 the job was done, 1 it failed, 2 wrong usage, 130 interrupted. What a user can cause is told in
one line; --debug shows the traceback.
"""

from __future__ import annotations

import argparse
import importlib
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, TypeVar

import kinaema_ros

T = TypeVar("T")
FAILED, USAGE, INTERRUPTED = 1, 2, 130


class Parser(argparse.ArgumentParser):
    """argparse with one line for wrong usage, as the rest of the command's errors have."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


# -- types of arguments: wrong ones are wrong usage, found before any work is begun ------------------------


def existing_path(text: str) -> Path:
    """A file or folder that exists."""
    path = Path(text).expanduser()
    if not path.exists():
        raise argparse.ArgumentTypeError(f"{text} does not exist")
    return path


def existing_file(text: str) -> Path:
    """A file that exists."""
    path = existing_path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"{text} is not a file")
    return path


def output_file(text: str) -> Path:
    """A file that can be made: its folder exists."""
    path = Path(text).expanduser()
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a folder, not a file")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"the folder {path.parent} does not exist")
    return path


def output_folder(text: str) -> Path:
    """A folder that exists or can be made."""
    path = Path(text).expanduser()
    if path.exists() and not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a file, not a folder")
    return path


def between(low: float, high: float, unit: str = "") -> Callable[[str], float]:
    """A number in a closed range."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high or math.isinf(value):
            upper = f" to {high:g}" if math.isfinite(high) else " or more"
            raise argparse.ArgumentTypeError(f"{text} is not a number of {low:g}{upper}{unit and ' ' + unit}")
        return value

    return parse


def whole_number(low: int) -> Callable[[str], int]:
    """An integer of at least `low`."""

    def parse(text: str) -> int:
        if not text.strip().isdecimal() or int(text) < low:
            raise argparse.ArgumentTypeError(f"{text} is not a whole number of {low} or more")
        return int(text)

    return parse


def listed(parse: Callable[[str], T]) -> Callable[[str], tuple[T, ...]]:
    """Values separated by commas, each once."""

    def parse_all(text: str) -> tuple[T, ...]:
        values = tuple(parse(part) for part in text.split(","))
        if len(set(values)) < len(values):
            raise argparse.ArgumentTypeError(f"{text} names something twice")
        return values

    return parse_all


def one_or_more_of(*names: str) -> Callable[[str], tuple[str, ...]]:
    """Names separated by commas."""

    def parse(text: str) -> str:
        if text not in names:
            raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(names)}")
        return text

    return listed(parse)


def odometry_noise(text: str) -> tuple[float, float]:
    """FRACTION,DEG."""
    parts = text.split(",")
    if len(parts) != 2:
        raise argparse.ArgumentTypeError(f"{text} is not FRACTION,DEG, such as 0.02,0.2")
    return between(0, 1)(parts[0]), between(0, 45, "degrees")(parts[1])


# -- arguments that several commands share -----------------------------------------------------------------


def add_command(
    commands: argparse._SubParsersAction, name: str, run: str, help: str, description: str
) -> Parser:
    """A command that runs "module:function"; `description` is what `kinaema NAME --help` begins with."""
    parser: Parser = commands.add_parser(
        name, help=help, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.set_defaults(run=run, parser=parser)
    return parser


def add_results(parser: argparse.ArgumentParser, pictures: str = "") -> None:
    """--json, --debug, and --out where the command makes pictures."""
    group = parser.add_argument_group("results")
    group.add_argument("--json", metavar="FILE", type=output_file, help="write the result as JSON")
    if pictures:
        group.add_argument(
            "--out", metavar="DIR", type=output_folder, help=f"write {pictures} into this folder"
        )
    group.add_argument("--debug", action="store_true", help="show the traceback where something fails")


def add_network(parser: argparse.ArgumentParser) -> None:
    """--checkpoint and --device."""
    group = parser.add_argument_group("network")
    group.add_argument(
        "--checkpoint",
        metavar="FILE",
        type=existing_file,
        help="network weights (default: the ones that come along)",
    )
    group.add_argument("--device", default="cpu", help="cpu, cuda or cuda:1 (default: %(default)s)")


# -- commands ----------------------------------------------------------------------------------------------


def _replay(commands: argparse._SubParsersAction) -> None:
    parser = add_command(
        commands,
        "replay",
        "kinaema_ros.replay_command:run",
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


def _evaluate(commands: argparse._SubParsersAction) -> None:
    description = "Measure the memory in procedural scenes that it was never trained on."
    parser = commands.add_parser("evaluate", help="measure the memory in unseen scenes", description=description)
    kinds = parser.add_subparsers(title="what", metavar="WHAT", required=True)
    _evaluate_rpe(kinds)


def _evaluate_rpe(kinds: argparse._SubParsersAction) -> None:
    methods = ("kinaema", "gru", "attention", "retrieval", "retrieval_pair", "own_pose")
    parser = add_command(
        kinds,
        "rpe",
        "kinaema_ros.training.evaluate:run",
        "relative pose of places seen in the past",
        "Drive through unseen scenes of 8 to 20 m and ask, after some numbers of frames, where views of past\n"
        "places lie relative to the robot, and whether views of new places were seen.",
    )
    parser.epilog = (
        "example:\n"
        "  kinaema evaluate rpe --method kinaema,retrieval --lengths 100,400 --scenes 16 --out out/rpe"
    )
    parser.add_argument(
        "--method",
        metavar="LIST",
        type=one_or_more_of(*methods),
        default=methods,
        help=f"of {', '.join(methods)} (default: all)",
    )
    parser.add_argument(
        "--lengths",
        metavar="LIST",
        type=listed(whole_number(2)),
        default=(100, 200, 400, 800),
        help="frames after which is asked (default: 100,200,400,800)",
    )
    parser.add_argument("--scenes", metavar="N", type=whole_number(1), default=64, help="default: %(default)s")
    parser.add_argument(
        "--queries",
        metavar="N",
        type=whole_number(2),
        default=16,
        help="seen places asked for in each scene at each length, and as many unseen ones (default: %(default)s)",
    )
    parser.add_argument("--seed", type=whole_number(0), default=0, help="of scenes and drives (default: 0)")
    parser.add_argument(
        "--odom-noise",
        metavar="FRACTION,DEG",
        type=odometry_noise,
        default=(0.0, 0.0),
        help="noise of each step: fraction of its length, degrees of its turn (default: exact odometry)",
    )
    parser.add_argument(
        "--baselines",
        metavar="DIR",
        type=existing_path,
        help="folder of baseline-gru.safetensors and baseline-attention.safetensors (default: models/)",
    )
    parser.add_argument(
        "--cache",
        metavar="DIR",
        type=output_folder,
        help="keep the encoded drives here, and use those of an earlier run; 8 MB a scene",
    )
    add_network(parser)
    add_results(parser, "pictures and a table by age and distance")


def _bench(commands: argparse._SubParsersAction) -> None:
    parser = add_command(
        commands,
        "bench",
        "kinaema_ros.training.bench:run",
        "time updates and queries as the drive grows longer",
        "Time an update and a query after 10, 100, 1,000 and 10,000 frames, of the memory and of attention over\n"
        "the whole history, one image at a time on one thread.",
    )
    parser.add_argument(
        "--rounds",
        metavar="N",
        type=whole_number(10),
        default=200,
        help="times that each is measured (default: %(default)s)",
    )
    add_network(parser)
    add_results(parser)


COMMANDS = (_replay, _evaluate, _bench)


def make_parser() -> Parser:
    """The parser of the whole command."""
    parser = Parser(prog="kinaema", description=kinaema_ros.__doc__)
    parser.add_argument("--version", action="version", version=f"kinaema {kinaema_ros.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in COMMANDS:
        add(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    arguments = make_parser().parse_args(argv)
    module, _, function = arguments.run.partition(":")
    prog = arguments.parser.prog
    try:
        return getattr(importlib.import_module(module), function)(arguments)
    except KeyboardInterrupt:
        print(f"{prog}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except (OSError, ValueError, RuntimeError, ModuleNotFoundError) as error:
        if arguments.debug or (
            isinstance(error, ModuleNotFoundError) and (error.name or "").startswith("kinaema_ros.")
        ):
            raise
        print(f"{prog}: error: {_explain(error)}", file=sys.stderr)
        return FAILED


def _explain(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError):
        if error.name in ("rclpy", "kinaema_interfaces"):
            return f"{error.name} is missing: run `make setup`, or source a ROS 2 workspace with this package"
        return f"the Python package {error.name} is missing: run `make setup`"
    return str(error) or type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
