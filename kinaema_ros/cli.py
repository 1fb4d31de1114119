"""The `kinaema` command.

Each command is a module in kinaema_ros/commands with two functions: `add_arguments(commands)` declares the command
and its arguments, `run(arguments) -> exit status` does the job. What is slow to import is imported inside `run`, so
that `kinaema --help` is quick. To add a command, write such a module and put it into COMMANDS. Where arguments are
wrong together, `run` says so by `arguments.parser.error(message)`.

Exit status: 0 the job was done, 1 it failed, 2 wrong usage, 130 interrupted. What a user can cause (KinaemaError,
OSError, a missing package) is told in one line; --debug adds the traceback. Any other exception is a fault of the
program: the traceback is shown, with a line that asks to report it.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from logging import StreamHandler

import kinaema_ros
from kinaema_ros.commands import bench, demo, evaluate, goto, place, query, replay, train, web, world
from kinaema_ros.commands.arguments import Parser
from kinaema_ros.errors import KinaemaError, missing_package

FAILED, INTERRUPTED = 1, 130

COMMANDS = (demo, query, goto, place, web, replay, world, train, evaluate, bench)


def make_parser() -> Parser:
    """The parser of the whole command."""
    parser = Parser(prog="kinaema", description=kinaema_ros.__doc__)
    parser.add_argument("--version", action="version", version=f"kinaema {kinaema_ros.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_arguments(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    parser = make_parser()
    if "_ARGCOMPLETE" in os.environ:  # the shell asks what could follow
        import argcomplete

        argcomplete.autocomplete(parser)
    arguments = parser.parse_args(argv)
    prog = arguments.parser.prog
    with _log_shown(prog, logging.DEBUG if arguments.debug else logging.INFO), _terminations_as_interrupts():
        try:
            return arguments.run(arguments)
        except KeyboardInterrupt:
            print(f"{prog}: interrupted", file=sys.stderr)
            return INTERRUPTED
        except Exception as error:
            explanation = _explain(error)
            if arguments.debug or not explanation:
                traceback.print_exc()
            fault = "this is a fault of kinaema_ros; please report it with the lines above"
            print(f"{prog}: error: {explanation or fault}", file=sys.stderr)
            return FAILED


@contextmanager
def _log_shown(prog: str, level: int) -> Iterator[None]:
    """Show what the package logs: the progress of the work on stdout as it is, warnings on stderr."""
    log, out, err = (
        logging.getLogger(kinaema_ros.__name__),
        StreamHandler(sys.stdout),
        StreamHandler(sys.stderr),
    )
    log.setLevel(level)
    out.addFilter(lambda record: record.levelno < logging.WARNING)
    err.setLevel(logging.WARNING)
    err.setFormatter(logging.Formatter(f"{prog}: %(message)s"))
    log.addHandler(out)
    log.addHandler(err)
    try:
        yield
    finally:
        log.removeHandler(out)
        log.removeHandler(err)


@contextmanager
def _terminations_as_interrupts() -> Iterator[None]:
    """SIGTERM and a closed terminal end a command as Ctrl-C does: with its processes. What nohup ignores stays ignored."""
    before = {
        number: signal.signal(number, signal.default_int_handler)
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _explain(error: Exception) -> str:
    """What is told of an error that a user can cause; "" for a fault of the program."""
    if isinstance(error, ModuleNotFoundError):
        return missing_package(error)
    if isinstance(error, (KinaemaError, OSError)):
        return str(error) or type(error).__name__
    return ""


if __name__ == "__main__":
    sys.exit(main())
