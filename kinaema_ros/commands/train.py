"""`kinaema train`: the network, or the learned baselines that it is compared with."""

from __future__ import annotations

import argparse
import math

from kinaema_ros.commands.arguments import (
    add_command,
    between,
    existing_file,
    one_or_more_of,
    output_folder,
    whole_number,
)
from kinaema_ros.paths import default_checkpoint


def add_arguments(commands: argparse._SubParsersAction) -> None:
    """Declare the command and its arguments."""
    parser = add_command(
        commands,
        "train",
        run,
        "train the network, or the baselines it is compared with",
        "Train on drives through procedural scenes. The run lives in a folder; the same command continues it where it\n"
        "was stopped.",
    )
    parser.add_argument(
        "config",
        metavar="CONFIG",
        nargs="?",
        type=existing_file,
        help="YAML with fields of TrainConfig, or of BaselineConfig for a baseline (default: what config/train.yaml and\n"
        "config/train_baselines.yaml say)",
    )
    parser.add_argument("--out", metavar="DIR", type=output_folder, required=True, help="folder of the run")
    parser.add_argument(
        "--minutes",
        metavar="M",
        type=between(0, math.inf, "minutes"),
        help="stop after so many minutes; the same command continues",
    )
    parser.add_argument(
        "--method",
        metavar="LIST",
        type=one_or_more_of("kinaema", "paper", "gru", "attention"),
        default=("kinaema",),
        help="kinaema (the default), or of paper,gru,attention those that learn side by side, which see by trunk and\n"
        "descriptor of a shipped one",
    )
    parser.add_argument(
        "--features",
        metavar="DIR",
        type=output_folder,
        help="folder of the baselines' rendered drives, which grows large and serves many runs (default: drives, beside\n"
        "the run's folder)",
    )
    parser.add_argument(
        "--render",
        metavar="N",
        type=whole_number(2),
        help="render drives into the folder until there are N to learn from, and a sixth as many held out, and end",
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:1 (default: %(default)s)")
    parser.add_argument(
        "--compile",
        action="store_true",
        help="with --method paper: compile its cell (torch.compile), for a GPU, where many small operations wait for each\n"
        "other; takes minutes at the start, and a CPU gains nothing",
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback where something fails")


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit status; raises what `cli.main` tells the user."""
    from kinaema_ros.training.config import TrainConfig, read_config

    names = list(arguments.method)
    if "kinaema" in names and (arguments.render or arguments.features or arguments.compile):
        arguments.parser.error(
            "--render, --features and --compile are of the baselines: give --method, such as gru"
        )
    if "kinaema" in names:
        if len(names) > 1:
            arguments.parser.error("kinaema is trained by itself, the baselines side by side")
        from kinaema_ros.model.checkpoint import usable_device
        from kinaema_ros.training.train import train

        usable_device(arguments.device)  # refused before the run's folder is made
        config = TrainConfig() if arguments.config is None else read_config(TrainConfig, arguments.config)
        finished = train(config, arguments.out, arguments.device, arguments.minutes) is not None
    else:
        finished = _train_baselines(arguments, names)
    if not finished:
        print(f"time is up; the same command continues the run in {arguments.out}")
    return 0


def _train_baselines(arguments: argparse.Namespace, names: list[str]) -> bool:
    from kinaema_ros.model.checkpoint import usable_device
    from kinaema_ros.training.config import read_config
    from kinaema_ros.training.drive_folder import fill
    from kinaema_ros.training.train_baselines import PRETRAINED, BaselineConfig, train_baselines

    usable_device(arguments.device)
    config = BaselineConfig() if arguments.config is None else read_config(BaselineConfig, arguments.config)
    features = arguments.features or arguments.out.parent / "drives"
    if arguments.render:
        fill(features, config.data, arguments.render)
        return True
    pretrained = default_checkpoint().parent / PRETRAINED
    done = train_baselines(
        names,
        pretrained,
        config,
        features,
        arguments.out,
        arguments.minutes,
        arguments.device,
        arguments.compile,
    )
    return done >= config.sequences
