"""`kinaema train`: the network, or the learned baselines that it is compared with."""

from __future__ import annotations

import argparse

from kinaema_ros.model.checkpoint import load_network
from kinaema_ros.paths import default_checkpoint
from kinaema_ros.training.config import TrainConfig


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit status; raises what `cli.main` tells the user."""
    names = list(arguments.method)
    config = TrainConfig() if arguments.config is None else TrainConfig.from_yaml(arguments.config)
    if "kinaema" in names:
        if len(names) > 1:
            arguments.parser.error("kinaema is trained by itself: the baselines begin with its descriptor")
        if arguments.checkpoint:
            arguments.parser.error("--checkpoint is what the baselines begin with; kinaema begins anew")
        from kinaema_ros.training.train import train

        finished = train(config, arguments.out, arguments.device, arguments.minutes) is not None
    else:
        if arguments.device != "cpu":
            arguments.parser.error("the baselines are trained on the CPU")
        from kinaema_ros.training.train_baselines import BaselineConfig, train_baselines

        network, _ = load_network(arguments.checkpoint or default_checkpoint())
        like_ours = BaselineConfig(
            batch=config.memory_batch,
            queries=config.memory_queries,
            frames=config.memory_frames,
            max_odometry_noise=config.max_odometry_noise,
            seed=config.seed,
            data=config.data,
        )
        finished = bool(train_baselines(names, network, like_ours, arguments.out, arguments.minutes))
    if not finished:
        print(f"time is up; the same command goes on with the run in {arguments.out}")
    return 0
