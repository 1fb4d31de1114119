"""Arguments of the commands: types that refuse what is wrong, and options that several commands share."""

from __future__ import annotations

import argparse
import functools
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

from kinaema_ros.model.config import MIN_EMBEDDINGS

if TYPE_CHECKING:
    from kinaema_ros.camera import Mount

T = TypeVar("T")
USAGE = 2  # exit status of wrong usage, as argparse has it


class Parser(argparse.ArgumentParser):
    """argparse with one line for wrong usage, as the rest of the command's errors have."""

    def error(self, message: str) -> NoReturn:
        """End the program with status 2 and one line of the error."""
        self.exit(USAGE, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


# -- types of arguments: wrong ones are wrong usage, found before any work is begun ------------------------


def looked_up(parse: Callable[[str], Path]) -> Callable[[str], Path]:
    """Tells as wrong usage, too, that a name is too long, a folder may not be entered, or a user has no home."""

    @functools.wraps(parse)
    def told(text: str) -> Path:
        try:
            return parse(text)
        except (OSError, RuntimeError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise argparse.ArgumentTypeError(f"{text[:60]} cannot be used: {reason}") from error

    return told


@looked_up
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


@looked_up
def output_file(text: str) -> Path:
    """A file that can be made: its folder exists, and may be written to."""
    path = Path(text).expanduser()
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a folder, not a file")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"the folder {path.parent} does not exist")
    if not os.access(path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"the folder {path.parent} may not be written to")
    return path


@looked_up
def output_folder(text: str) -> Path:
    """A folder that exists or can be made."""
    path = Path(text).expanduser()
    if path.exists() and not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a file, not a folder")
    return path


def ros_name(text: str) -> str:
    """A name of ROS, or a namespace: words separated by slashes; "" and "/" are the root."""
    if not re.fullmatch(r"/?|(/?[A-Za-z_]\w*)(/[A-Za-z_]\w*)*", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is not a name in ROS, such as /robot1")
    return text


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


def planar_pose(text: str) -> tuple[float, float, float]:
    """X,Y,DEG as metres and radians."""
    parts = text.split(",")
    if len(parts) != 3:
        raise argparse.ArgumentTypeError(f"{text} is not X,Y,DEG, such as 1.5,-2,90")
    x, y = (between(-1e6, 1e6, "metres")(part) for part in parts[:2])
    return x, y, math.radians(between(-360, 360, "degrees")(parts[2]))


def odometry_noise(text: str) -> tuple[float, float]:
    """FRACTION,DEG."""
    parts = text.split(",")
    if len(parts) != 2:
        raise argparse.ArgumentTypeError(f"{text} is not FRACTION,DEG, such as 0.02,0.2")
    return between(0, 1)(parts[0]), between(0, 45, "degrees")(parts[1])


def footprint(text: str) -> tuple[float, float]:
    """M or M,M: the sides of a building."""
    sides = [between(4, 100, "metres")(part) for part in text.split(",")]
    if len(sides) > 2:
        raise argparse.ArgumentTypeError(f"{text} is not M or M,M, such as 40 or 70,30")
    return sides[0], sides[-1]


def field_of_view(text: str) -> tuple[float, float | None]:
    """DEG or DEGxDEG, across and down, as radians."""
    across, x, down = text.partition("x")
    if "x" in down or (x and not (across and down)):
        raise argparse.ArgumentTypeError(f"{text} is not DEG or DEGxDEG, such as 69 or 69x42")
    degrees = between(10, 150, "degrees")
    return math.radians(degrees(across)), math.radians(degrees(down)) if x else None


def camera_mount(text: str) -> Mount | str:
    """tf, or X,Y,Z,ROLL,PITCH,YAW."""
    from kinaema_ros.camera import Mount  # not before it is needed: OpenCV takes its time to load

    if text == "tf":
        return text
    parts = text.split(",")
    if len(parts) != 6:
        raise argparse.ArgumentTypeError(
            f"{text} is neither tf nor X,Y,Z,ROLL,PITCH,YAW, such as 0.1,0,0.5,0,20,0"
        )
    x, y, z = (between(-10, 10, "metres")(part) for part in parts[:3])
    roll, pitch, yaw = (math.radians(between(-180, 180, "degrees")(part)) for part in parts[3:])
    return Mount(x, y, z, yaw, pitch, roll)


# -- arguments that several commands share -----------------------------------------------------------------


def add_command(
    commands: argparse._SubParsersAction,
    name: str,
    run: Callable[[argparse.Namespace], int],
    help: str,
    description: str,
) -> Parser:
    """A command, and what runs it; `description` is what `kinaema NAME --help` begins with."""
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
        help="network weights (default: those that ship with the package)",
    )
    group.add_argument("--device", default="cpu", help="cpu, cuda or cuda:1 (default: %(default)s)")


def add_embeddings(parser: argparse._ActionsContainer) -> None:
    """--embeddings."""
    parser.add_argument(
        "--embeddings",
        metavar="N",
        type=whole_number(MIN_EMBEDDINGS),
        help="places that the memory holds, about one for each square metre (default: the checkpoint's)",
    )


def add_goal(parser: argparse.ArgumentParser) -> None:
    """IMAGE or --place, and the photo's field of view."""
    parser.add_argument(
        "image", metavar="IMAGE", type=existing_file, nargs="?", help="the photo: JPEG, PNG, ..."
    )
    parser.add_argument(
        "--place",
        metavar="NAME",
        default="",
        help="instead of a photo: a place that `kinaema place add` named",
    )
    add_photo_hfov(parser)


def check_goal(arguments: argparse.Namespace) -> None:
    """Ends the program unless exactly one of IMAGE and --place is given."""
    if (arguments.image is None) != bool(arguments.place):
        arguments.parser.error("give either a photo or --place NAME")


def add_photo_hfov(parser: argparse.ArgumentParser) -> None:
    """--hfov-deg."""
    parser.add_argument(
        "--hfov-deg",
        metavar="DEG",
        type=between(20, 150, "degrees"),
        default=0.0,
        help="field of view across the longer side of a photo that another camera took, such as a phone (default:\n"
        "what the photo's EXIF data says, or the robot's camera)",
    )


def add_robot(parser: argparse.ArgumentParser) -> None:
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
