"""Mem-Nav: does the robot get to places it has seen before, shown to it as photos?

In a building never trained on, a robot explores (phase 1), then is shown photos of places it came by and drives to
each (phase 2). An episode succeeds if the robot stops by its own decision within 1 m of the viewpoint.
"""

from __future__ import annotations

import math
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kinaema_ros import metrics
from kinaema_ros.baselines.methods import LastViews, NetworkEncoder, NetworkMethod, Retrieval
from kinaema_ros.baselines.network import load_network
from kinaema_ros.evaluation.episodes import FIRST_SEED
from kinaema_ros.evaluation.memnav.agents import ComparingMemory
from kinaema_ros.evaluation.memnav.episodes import MemnavConfig, Result, cut_short, plan_building
from kinaema_ros.evaluation.memnav.rollout import by_memory, explore, no_memory, oracle
from kinaema_ros.model.kind import Network
from kinaema_ros.navigation.photo_drive import DriveLimits
from kinaema_ros.reporting import number, percent, progress, table
from kinaema_ros.sim import OdometryNoise

FALSE_REFUSALS = 0.05  # at which methods are compared in what they refuse


@dataclass(frozen=True)
class Task:
    """A building for one process."""

    config: MemnavConfig
    index: int
    episodes: int
    methods: tuple[str, ...]
    noise: OdometryNoise


def evaluate(
    config: MemnavConfig,
    episodes: int,
    methods: Sequence[str],
    noise: OdometryNoise,
    checkpoint: Path,
    device: str = "cpu",
) -> dict[str, list[Result]]:
    """Results of each method, one a building; by one process a core."""
    buildings = math.ceil(episodes / config.goals)
    tasks = [
        Task(config, index, min(config.goals, episodes - index * config.goals), tuple(methods), noise)
        for index in range(buildings)
    ]
    workers = min(buildings, len(os.sched_getaffinity(0)))
    done = progress(
        _by_building(tasks, workers, checkpoint, device), total=buildings, desc="episodes", unit="building"
    )
    of_buildings = list(done)
    results = {name: [of_building[name] for of_building in of_buildings] for name in methods}
    if "retrieval" in results:
        refuse_least_sure(results["retrieval"])
    return results


def refuse_least_sure(results: Sequence[Result]) -> None:
    """Refuses, in hindsight, the FALSE_REFUSALS of the goals that a method without a threshold was least sure of."""
    episodes = [episode for result in results for episode in result.episodes]
    threshold = metrics.refusal_threshold([episode.seen for episode in episodes], FALSE_REFUSALS)
    for episode in episodes:
        if episode.seen < threshold:
            episode.refused, episode.arrived, episode.message = True, False, ""
            episode.path, episode.believed_goals, episode.length, episode.collisions = (
                episode.path[:1],
                [],
                0.0,
                0,
            )


# -- in worker processes -----------------------------------------------------------------------------------

_network: Network


def _by_building(
    tasks: Sequence[Task], workers: int, checkpoint: Path, device: str
) -> Iterator[dict[str, Result]]:
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers, _start_worker, (checkpoint, device)) as pool:
        yield from pool.imap(run_task, tasks)


def _start_worker(checkpoint: Path, device: str) -> None:
    global _network
    torch.set_num_threads(1)
    _network, _ = load_network(checkpoint, device)


@torch.inference_mode()
def run_task(task: Task, network: Network | None = None) -> dict[str, Result]:
    """The building's results by method."""
    network, config = network or _network, task.config
    building = cut_short(plan_building(config, task.index), task.episodes)
    odometry = building.odometry(task.noise, config.seed, task.index)
    seeds = np.random.default_rng([FIRST_SEED + 4, config.seed, task.index]).integers(
        2**31, size=config.goals
    )
    encoder, limits = NetworkEncoder(network), DriveLimits()
    ours = NetworkMethod(network, encoder)
    explored = explore(  # all methods see by the same encoder
        ours, building, odometry, seeds.tolist(), config.sees_obstacles
    )
    results = {}
    for name in task.methods:
        if name == "kinaema":
            results[name] = by_memory(ours, explored, task.noise, limits, ComparingMemory)
        elif name == "kinaema_localized":
            results[name] = by_memory(ours, explored, task.noise, limits, ComparingMemory, localizes=True)
        elif name == "retrieval":  # what it refuses is decided once all its answers are known
            anything = replace(limits, min_seen=0.0, min_confidence=0.0)
            results[name] = by_memory(Retrieval(network, encoder), explored, task.noise, anything)
        elif name == "no_memory":
            results[name] = no_memory(LastViews(network, encoder), explored, task.noise, limits)
        else:
            results[name] = oracle(explored, limits)
    return results


# -- results -----------------------------------------------------------------------------------------------


def record(name: str, results: Sequence[Result], seed: int, noise: OdometryNoise) -> dict[str, Any]:
    """One line of the result; see `kinaema evaluate memnav --help` for what the keys mean."""
    episodes = [episode for result in results for episode in result.episodes]
    unseen = np.array([score for result in results for score in result.unseen])
    success = np.array([episode.success for episode in episodes])
    driven = np.array([episode.length for episode in episodes])
    stops = [episode.stop_distance for episode in episodes if episode.success]
    other = np.array([episode.other_room for episode in episodes])
    return {
        "method": name,
        "episodes": len(episodes),
        "seed": seed,
        "success_rate": float(success.mean()),
        "spl": metrics.success_weighted_by_path_length(
            success, [episode.shortest for episode in episodes], driven
        ),
        "mean_path_m": float(driven.mean()),
        "refused": sum(episode.refused for episode in episodes),
        "collisions": sum(episode.collisions for episode in episodes),
        "mean_shortest_m": float(np.mean([episode.shortest for episode in episodes])),
        "success_rate_other_rooms": float(success[other].mean()) if other.any() else None,
        "median_stop_m": float(np.median(stops)) if stops else None,
        "gave_up": sum(bool(episode.message) for episode in episodes),
        "arrived_elsewhere": sum(episode.elsewhere for episode in episodes),
        "misjudged_arrivals": sum(episode.misjudged for episode in episodes),
        **_restarts(results),
        **_refusals(name, [episode.seen for episode in episodes], unseen),
        "odom_noise": [noise.fraction, noise.degrees],
    }


def _restarts(results: Sequence[Result]) -> dict[str, Any]:
    restarts = [result.restart for result in results if result.restart is not None]
    found = [restart for restart in restarts if not math.isnan(restart.seconds)]
    if not restarts:
        return {}
    return {
        "restarts": len(restarts),
        "localized": len(found),
        "median_localized_after_s": float(np.median([restart.seconds for restart in found]))
        if found
        else None,
        "median_localized_after_m": float(np.median([restart.metres for restart in found]))
        if found
        else None,
    }


def _refusals(name: str, seen: list[float], unseen: np.ndarray) -> dict[str, Any]:
    if not len(unseen):
        return {"unseen_photos": 0, "unseen_refused": None, "unseen_refused_at_5": None, "seen_auroc": None}
    at_5 = metrics.refusal_threshold(seen, FALSE_REFUSALS)
    own = at_5 if name == "retrieval" else DriveLimits.min_seen
    return {
        "unseen_photos": len(unseen),
        "unseen_refused": float(np.mean(unseen < own)),
        "unseen_refused_at_5": float(np.mean(unseen < at_5)),
        "seen_auroc": metrics.auroc([*seen, *unseen], [*(True for _ in seen), *(False for _ in unseen)]),
    }


def episodes_json(name: str, results: Sequence[Result]) -> list[dict[str, Any]]:
    """One record an episode; poses as x, y (m), yaw (rad) on the map."""
    return [
        {
            "method": name,
            "building": index,
            "goal": episode.goal.tolist(),
            "other_room": episode.other_room,
            "shortest_m": episode.shortest,
            "path_m": episode.length,
            "success": episode.success,
            "stopped": episode.path[-1].tolist(),
            "stopped_m": episode.stop_distance,
            "first_error_m": episode.first_error[0],
            "first_error_deg": math.degrees(episode.first_error[1]),
            "seen": episode.seen,
            "queries": episode.queries,
            "collisions": episode.collisions,
            "refused": episode.refused,
            "message": episode.message,
            "verdicts": [[verdict.name.lower(), metres] for verdict, metres in episode.verdicts],
        }
        for index, result in enumerate(results)
        for episode in result.episodes
    ]


def records_table(records: Sequence[dict[str, Any]]) -> str:
    """For the terminal."""
    rows = [
        (
            entry["method"],
            str(entry["episodes"]),
            percent(entry["success_rate"]),
            percent(entry["success_rate_other_rooms"]),
            number(entry["spl"], 3),
            number(entry["mean_path_m"], 1, " m"),
            number(entry["median_stop_m"], 2, " m"),
            str(entry["refused"]),
            str(entry["gave_up"]),
            str(entry["arrived_elsewhere"]),
            str(entry["collisions"]),
            percent(entry["unseen_refused"]),
            percent(entry["unseen_refused_at_5"]),
        )
        for entry in records
    ]
    header = (
        "method",
        "episodes",
        "success",
        "other rooms",
        "SPL",
        "path",
        "stops at",
        "refused",
        "gave up",
        "elsewhere",
    )
    return table(rows, (*header, "collisions", "unseen refused", "at 5 % false"))
