"""The `kinaema` command.

Each command is a function `add_name(commands)` in kinaema_ros/commands that declares the arguments and names, as
"module:function", what is run with them: `run(arguments) -> exit status`. That module is imported only when the
command is used, so that `kinaema --help` is quick. To add a command, write such a function and put it into
COMMANDS. Where arguments are wrong together, `run` says so by `arguments.parser.error(message)`.

Exit status: 0 the job was done, 1 it failed, 2 wrong usage, 130 interrupted. What a user can cause is told in
one line; --debug shows the traceback.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import kinaema_ros
from kinaema_ros.commands import learning, robot, simulation
from kinaema_ros.commands.arguments import Parser

FAILED, INTERRUPTED = 1, 130

COMMANDS = (
    simulation.add_demo,
    robot.add_query,
    robot.add_goto,
    robot.add_replay,
    simulation.add_world,
    learning.add_train,
    learning.add_evaluate,
    learning.add_bench,
)


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
