"""`kinaema evaluate rpe`: how well places are located and recognised, by length of the drive, method by method."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kinaema_ros import geometry, metrics
from kinaema_ros.baselines.checkpoint import KINDS, load_baseline
from kinaema_ros.baselines.methods import (
    Learned,
    Method,
    NetworkEncoder,
    NetworkMethod,
    OwnPose,
    Retrieval,
    RetrievalPair,
)
from kinaema_ros.baselines.network import load_network
from kinaema_ros.evaluation.episodes import Episode, EpisodeConfig, odometry_of, plan_episode
from kinaema_ros.evaluation.rpe_answers import LabelledEstimates, groups, heading_p90_deg
from kinaema_ros.evaluation.timing import milliseconds
from kinaema_ros.model.checkpoint import CheckpointError
from kinaema_ros.model.kind import Network
from kinaema_ros.reporting import number, percent, progress, table
from kinaema_ros.sim import OdometryNoise
from kinaema_ros.training.drives import intrinsics, mounted

METHODS = ("kinaema", "paper", "gru", "attention", "retrieval", "retrieval_pair", "own_pose")
TIMED = 5  # updates and queries of a drive that a cost is the median of


@dataclass(frozen=True)
class Task:
    """What is measured, and by what."""

    config: EpisodeConfig
    methods: tuple[str, ...]
    noise: OdometryNoise
    checkpoint: Path
    baselines: Path  # folder of the learned ones
    device: str
    embeddings: int | None = None  # N of the memory; None: the checkpoint's


@dataclass
class Outcome:
    """Of one method in one drive at one length."""

    answers: LabelledEstimates
    update_ms: float
    query_ms: float
    state_bytes: int


def evaluate(task: Task, scenes: int) -> tuple[list[dict[str, Any]], dict[str, list[LabelledEstimates]]]:
    """One record for each method and length, and the answers of each method, one at each length.

    Raises ``CheckpointError`` where a learned baseline is missing.
    """
    load_methods(task)  # refused now rather than by a worker
    drives = list(progress(_drives(task, scenes), total=scenes, desc="drives", unit="drive"))
    records: list[dict[str, Any]] = []
    answers: dict[str, list[LabelledEstimates]] = {}
    for name in task.methods:
        answers[name] = []
        for which, length in enumerate(task.config.lengths):
            outcomes = [drive[name][which] for drive in drives]
            together = LabelledEstimates.joined([outcome.answers for outcome in outcomes])
            cost = {
                key: float(np.median([getattr(outcome, key) for outcome in outcomes]))
                for key in ("update_ms", "query_ms", "state_bytes")
            }
            answers[name].append(together)
            records.append(record(name, length, together, cost, task.config, task.noise))
    return records, answers


def load_methods(task: Task) -> dict[str, Method]:
    """The methods by name, with the network of the checkpoint. ``CheckpointError`` where a file is missing or wrong."""
    network, _ = load_network(task.checkpoint, task.device, task.embeddings)
    return make_methods(task, network)


def make_methods(task: Task, network: Network) -> dict[str, Method]:
    """The methods by name; those of the checkpoint share an encoder. ``CheckpointError`` where a baseline is missing."""
    encoder = NetworkEncoder(network)
    of_checkpoint: dict[str, Callable[[Network, NetworkEncoder], Method]] = {
        "kinaema": NetworkMethod,
        "retrieval": Retrieval,
        "retrieval_pair": RetrievalPair,
    }
    methods: dict[str, Method] = {}
    for name in task.methods:
        if name in KINDS:
            path = task.baselines / f"baseline-{name}.safetensors"
            if not path.is_file():
                raise CheckpointError(f"{path}: no such file; train it: kinaema train --method {name}")
            methods[name] = Learned(load_baseline(path, name).to(task.device))
        elif name in of_checkpoint:
            methods[name] = of_checkpoint[name](network, encoder)
        else:
            methods[name] = OwnPose(encoder)
    return methods


def _drives(task: Task, scenes: int) -> Iterator[dict[str, list[Outcome]]]:
    """What came of drives 0 to ``scenes`` - 1 in order, by one process a core."""
    workers = min(scenes, len(os.sched_getaffinity(0)))
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers, _start_worker, (task,)) as pool:
        yield from pool.imap(_driven, range(scenes))


_task: Task
_methods: dict[str, Method]


def _start_worker(task: Task) -> None:
    global _task, _methods
    torch.set_num_threads(1)
    _task = task
    _methods = load_methods(task)


def _driven(index: int) -> dict[str, list[Outcome]]:
    episode = plan_episode(_task.config, index)
    odometry = odometry_of(episode, _task.noise, _task.config.seed, index)
    return drive(_methods, episode, odometry, _task.config.lengths)


@torch.inference_mode()
def drive(
    methods: dict[str, Method], episode: Episode, odometry: geometry.Array, lengths: Sequence[int]
) -> dict[str, list[Outcome]]:
    """Take all methods through one drive and ask each at each length."""
    states = {name: method.start(max(lengths)) for name, method in methods.items()}
    camera, mount = intrinsics(episode.camera), mounted(episode.camera)
    outcomes: dict[str, list[Outcome]] = {name: [] for name in methods}
    update_ms: dict[str, list[float]] = {name: [] for name in methods}
    for t, rgb in enumerate(episode.frames()):
        pose = torch.from_numpy(odometry[t])
        observed: dict[Any, tuple[Any, float]] = {}
        for name, method in methods.items():
            if method.encoder not in observed:
                observed[method.encoder] = milliseconds(method.encoder, rgb, camera, mount)
            observation, taken = observed[method.encoder]
            states[name], own = milliseconds(method.update, states[name], observation, pose)
            update_ms[name] = [*update_ms[name][1 - TIMED :], taken + own]
        if t + 1 in lengths:
            which = list(lengths).index(t + 1)
            truth = geometry.between(episode.poses[t], episode.views[which, : episode.num_seen])
            age = (t - episode.last_seen(which, t + 1)) / (t + 1)
            for name, (answers, query_ms) in _asked(methods, states, episode, which).items():
                outcomes[name].append(
                    Outcome(
                        LabelledEstimates.of_drive(answers, truth, age),
                        float(np.median(update_ms[name])),
                        query_ms,
                        methods[name].num_bytes(states[name]),
                    )
                )
    return outcomes


def _asked(
    methods: dict[str, Method], states: dict[str, Any], episode: Episode, which: int
) -> dict[str, tuple[list[Any], float]]:
    """The answers about the photos of a length, and the median time of one."""
    answers: dict[str, list[Any]] = {name: [] for name in methods}
    times: dict[str, list[float]] = {name: [] for name in methods}
    for rgb, camera in episode.photos(which):
        mount = mounted(camera) if episode.same_camera else None
        observed: dict[Any, tuple[Any, float]] = {}
        for name, method in methods.items():
            if method.encoder not in observed:
                observed[method.encoder] = milliseconds(method.encoder, rgb, intrinsics(camera), mount)
            observation, taken = observed[method.encoder]
            answer, own = milliseconds(method.query, states[name], observation, episode.same_camera)
            answers[name].append(answer)
            times[name].append(taken + own)
    return {name: (answers[name], float(np.median(times[name]))) for name in methods}


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
        **metrics.decision_summary(answers.seen, answers.confidence, answers.is_seen, answers.is_right),
        **coverage,
        "heading_p90_deg": heading_p90_deg(answers.heading_errors()),
        **cost,
        "odom_noise": [noise.fraction, noise.degrees],
        "size": config.size,
        "groups": [
            {key: entry[key] for key in ("by", "group", "queries", "acc_1m_20deg", "heading_p90_deg")}
            for entry in groups(name, [answers], [length])
        ],
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
            number(entry["heading_p90_deg"], 1, " deg"),
            number(entry["update_ms"], 1, " ms"),
            number(entry["query_ms"], 1, " ms"),
            number(entry["state_bytes"] / 1e6, 2, " MB"),
        )
        for entry in records
    ]
    header = ("method", "frames", "median", "", *metrics.ACCURACY_NAMES, "AUROC")
    return table(rows, (*header, "in 50 %", "in 90 %", "heading 90 %", "update", "query", "state"))


def groups_table(answers: dict[str, list[LabelledEstimates]], lengths: Sequence[int]) -> str:
    """Accuracy within 1 m and 20 degrees by age and distance of the places at each length, and how many were asked for."""
    rows, header = [], ("method", "frames")
    for name, of_lengths in answers.items():
        for length, answer in zip(lengths, of_lengths, strict=True):
            entries = groups(name, [answer], [length])
            header = ("1 m & 20 deg", "frames", *(entry["group"] for entry in entries))
            cells = (f"{percent(entry['acc_1m_20deg'])} of {entry['queries']}" for entry in entries)
            rows.append((name, str(length), *cells))
    return table(rows, header)
