"""`kinaema evaluate rpe`: how well places are located and recognised, by length of the drive, method by method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kinaema_ros import geometry, metrics
from kinaema_ros.baselines.learned import KINDS, load_baseline
from kinaema_ros.baselines.methods import KinaemaMethod, Method, OwnPose, Retrieval, RetrievalPair
from kinaema_ros.evaluation.episodes import Episode, EpisodeConfig, episodes, odometry_of
from kinaema_ros.evaluation.rpe_answers import LabelledEstimates, groups
from kinaema_ros.evaluation.timing import milliseconds, one_thread
from kinaema_ros.geometry import Array
from kinaema_ros.model.checkpoint import CheckpointError
from kinaema_ros.model.encoder import Trunk
from kinaema_ros.model.estimates import Estimates
from kinaema_ros.model.network import Kinaema
from kinaema_ros.reporting import number, percent, progress, table
from kinaema_ros.sim import OdometryNoise

METHODS = ("kinaema", "gru", "attention", "retrieval", "retrieval_pair", "own_pose")
DRIVES_AT_ONCE = 16
TIMED = 15  # updates and queries that a cost is the median of


def evaluate(
    config: EpisodeConfig,
    scenes: int,
    names: Sequence[str],
    noise: OdometryNoise,
    network: Kinaema,
    baselines: Path,
    device: str,
    cache: Path | None = None,
) -> tuple[list[dict[str, Any]], dict[str, list[LabelledEstimates]]]:
    """One record for each method and length, and the answers of each method, one at each length.

    ``baselines``: folder of the learned baselines; ``cache``: folder where the encoded drives are kept. Raises
    ``CheckpointError`` where a learned baseline is missing.
    """
    methods = {name: make_method(name, network, baselines) for name in names}
    drives = list(
        progress(
            episodes(config, scenes, network.trunk, cache=cache),
            total=scenes,
            desc="drives rendered and encoded",
            unit="drive",
        )
    )
    odometry = np.stack([odometry_of(drive, noise, config.seed, i) for i, drive in enumerate(drives)])
    records: list[dict[str, Any]] = []
    answers: dict[str, list[LabelledEstimates]] = {}
    for name, method in methods.items():
        answers[name] = ask(method, drives, odometry, config.lengths, device, name)
        costs = measure_costs(method, network.trunk, drives[0], odometry[0], config.lengths)
        for length, answer, cost in zip(config.lengths, answers[name], costs, strict=True):
            records.append(record(name, length, answer, cost, config, noise))
    return records, answers


def make_method(name: str, network: Kinaema, baselines: Path) -> Method:
    """``CheckpointError`` where a learned baseline is missing in the folder ``baselines``."""
    if name in KINDS:
        path = baselines / f"baseline-{name}.safetensors"
        if not path.is_file():
            raise CheckpointError(f"{path}: no such file; train it: kinaema train --method {name}")
        return load_baseline(path, name).to(network.temperature.device)  # type: ignore[return-value]
    with_network: dict[str, Callable[[Kinaema], Method]] = {
        "kinaema": KinaemaMethod,
        "retrieval": Retrieval,
        "retrieval_pair": RetrievalPair,
    }
    return with_network[name](network) if name in with_network else OwnPose()


@torch.inference_mode()
def ask(
    method: Method,
    drives: list[Episode],
    odometry: Array,
    lengths: Sequence[int],
    device: str,
    name: str = "",
) -> list[LabelledEstimates]:
    """Drive all drives through the method and ask it at each length; ``name`` stands before the progress bar."""
    collected: list[list[LabelledEstimates]] = [[] for _ in lengths]
    starts = range(0, len(drives), DRIVES_AT_ONCE)
    tick = iter(progress(range(len(starts) * max(lengths)), desc=name, unit="frame"))
    for start in starts:
        batch = drives[start : start + DRIVES_AT_ONCE]
        features = torch.stack([drive.features for drive in batch])
        poses = torch.from_numpy(odometry[start : start + DRIVES_AT_ONCE]).to(device)
        state = method.start(len(batch), max(lengths))
        for t in range(max(lengths)):
            state = method.update(state, features[:, t].float().to(device), poses[:, t])
            next(tick)
            if t + 1 in lengths:
                which = list(lengths).index(t + 1)
                questions = torch.stack([drive.queries[which] for drive in batch]).float().to(device)
                answer = method.query(state, questions)
                collected[which].append(
                    LabelledEstimates(
                        Estimates(
                            answer.pose.double().cpu(),
                            None if answer.std is None else answer.std.double().cpu(),
                            answer.seen.double().cpu(),
                        ),
                        np.stack([_truth(drive, which, t) for drive in batch]),
                        np.stack([(t - drive.last_seen(which, t + 1)) / (t + 1) for drive in batch]),
                    )
                )
    return [LabelledEstimates.joined(parts) for parts in collected]


def _truth(drive: Episode, which: int, last: int) -> Array:
    return geometry.between(drive.poses[last], drive.views[which, : drive.num_seen])


@one_thread()
@torch.inference_mode()
def measure_costs(
    method: Method, trunk: Trunk, drive: Episode, odometry: Array, lengths: Sequence[int]
) -> list[dict[str, float]]:
    """At each length the median time of an update and of a query, one image at a time on one thread, and the size."""
    device = next(trunk.parameters()).device
    image = torch.randint(0, 256, (1, 3, 120, 160), dtype=torch.uint8, device=device)
    poses = torch.from_numpy(odometry)[:, None].to(device)

    def update(state: Any, pose: Tensor) -> None:
        method.update(state, trunk(image), pose)

    def query(state: Any) -> None:
        method.query(state, trunk(image)[None]).pose.cpu()

    state, costs = method.start(1, max(lengths) + 1), []
    for t in range(max(lengths)):
        state = method.update(state, drive.features[t : t + 1].float().to(device), poses[t])
        if t + 1 in lengths:
            works = (partial(update, state, poses[t]), partial(query, state))
            times = [[milliseconds(work, device) for work in works] for _ in range(TIMED)]
            update_ms, query_ms = np.median(times, axis=0).tolist()
            size = method.num_bytes(state)
            costs.append({"update_ms": update_ms, "query_ms": query_ms, "state_bytes": size})
    return costs


def record(
    name: str,
    length: int,
    answers: LabelledEstimates,
    cost: dict[str, float],
    config: EpisodeConfig,
    noise: OdometryNoise,
) -> dict[str, Any]:
    """One line of the result. Accuracies are over seen places; ``queries`` counts these."""
    levels = answers.levels()
    coverage = metrics.coverage_summary([] if levels is None else levels)
    return {
        "method": name,
        "length": length,
        "scenes": len(answers.truth),
        "queries": answers.truth[..., 0].size,
        "seed": config.seed,
        **metrics.accuracy_summary(*metrics.pose_errors(answers.located, answers.truth)),
        "seen_auroc": metrics.auroc(answers.estimates.seen, answers.is_seen),
        **coverage,
        **cost,
        "odom_noise": [noise.fraction, noise.degrees],
    }


def records_table(records: list[dict[str, Any]]) -> str:
    """The records of `evaluate` for the terminal."""
    rows = [
        (
            entry["method"],
            str(entry["length"]),
            number(entry["median_position_m"], 2, " m"),
            number(entry["median_yaw_deg"], 1, " deg"),
            *(percent(entry[key]) for key in metrics.ACCURACY_LEVELS),
            number(entry["seen_auroc"], 3),
            percent(entry["inside_50_ellipse"]),
            percent(entry["inside_90_ellipse"]),
            number(entry["update_ms"], 1, " ms"),
            number(entry["query_ms"], 1, " ms"),
            number(entry["state_bytes"] / 1e6, 2, " MB"),
        )
        for entry in records
    ]
    header = ("method", "frames", "median", "", "0.5 m & 10 deg", "1 m & 20 deg", "2 m & 30 deg", "AUROC")
    return table(rows, (*header, "in 50 %", "in 90 %", "update", "query", "state"))


def groups_table(answers: dict[str, list[LabelledEstimates]], lengths: Sequence[int]) -> str:
    """Accuracy within 1 m and 20 degrees at the longest length."""
    rows, header = [], ("method", "frames")
    for name, of_lengths in answers.items():
        entries = groups(name, of_lengths[-1:], lengths[-1:])
        header = ("1 m & 20 deg", "frames", *(entry["group"] for entry in entries))
        rows.append((name, str(lengths[-1]), *(percent(entry["acc_1m_20deg"]) for entry in entries)))
    return table(rows, header)
