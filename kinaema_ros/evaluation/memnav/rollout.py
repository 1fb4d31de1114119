"""Mem-Nav episodes driven by each method: by a memory, by looking for the photo's view, by an oracle.

All drive by the navigator's own logic (kinaema_ros.navigation.photo_drive) on the building's map, localised by odometry
that is right at the start and drifts from there on. They differ in whom they ask where the photo was taken.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinaema_ros import geometry
from kinaema_ros.baselines.methods import Method
from kinaema_ros.estimate import Estimate, as_pose
from kinaema_ros.evaluation.memnav.agents import STEPS_PER_IMAGE, Agent, Memories, rows
from kinaema_ros.evaluation.memnav.episodes import Building, Episode, Result
from kinaema_ros.geometry import Array
from kinaema_ros.keyframes import KeyframeSelector
from kinaema_ros.model.estimates import Estimates
from kinaema_ros.model.network import Kinaema
from kinaema_ros.navigation.photo_drive import DriveLimits
from kinaema_ros.sim import OdometryNoise, render
from kinaema_ros.sim.simulated_robot import STEP_HZ, SimulatedRobot
from kinaema_ros.sim.tour import Tour
from kinaema_ros.training.data import ENCODE_BATCH

TOUR_METRES = 60.0  # that no_memory looks for a photo before it gives up: about as long as the exploration
# A photo's likeness to the view from which on no_memory takes it to be found. Of 0.75 to 0.95, tried in five buildings
# of seed 1: lower ones find hardly more goals and several times as many look-alikes, higher ones pass goals by.
FOUND = 0.85
MAX_KEYFRAMES = 1200  # room for what a method keeps on the way; a drive of goal_timeout brings no more
NO_NOISE = OdometryNoise(0.0, 0.0)


@dataclass
class ExploredScene:
    """A building after phase 1, encoded. T frames, G goals, U never-seen places."""

    building: Building
    odometry: Array  # (T, 3)
    frames: Tensor  # (T, FEATURE_DIM)
    photos: Tensor  # (G, FEATURE_DIM)
    unseen: Tensor  # (U, FEATURE_DIM)
    seeds: list[int]  # (G,) of the odometry's errors on the way to each goal

    def episode(self, n: int) -> Episode:
        """To goal ``n``, not begun yet."""
        b = self.building
        return Episode(b.goals[n], float(b.shortest[n]), bool(b.other_room[n]))

    def robot(self, n: int, noise: OdometryNoise, start: Array | None = None) -> SimulatedRobot:
        """The robot that goes to goal ``n``, from ``start`` (3,) or from where the exploration ended."""
        start = self.building.walk[-1] if start is None else start
        return SimulatedRobot(self.building.scene, self.seeds[n], noise, "odometry", start)


class ObservationEncoder:
    """Renders and encodes what a robot sees."""

    def __init__(self, network: Kinaema):
        self._trunk, self._device = network.trunk, network.temperature.device

    def __call__(self, building: Building, poses: Array, elsewhere: bool = False) -> Tensor:
        """Features (B, FEATURE_DIM) of views (B, 3) of the building, or of the other one."""
        scene = building.elsewhere if elsewhere else building.scene
        return self._encode(render(scene, poses, building.camera, building.lighting))

    def each(self, buildings: Sequence[Building], poses: Array) -> Tensor:
        """Features (B, FEATURE_DIM) of views (B, 3), each of another building."""
        views = zip(buildings, poses, strict=True)
        return self._encode(
            np.concatenate([render(b.scene, pose[None], b.camera, b.lighting) for b, pose in views])
        )

    def _encode(self, images: NDArray[np.uint8]) -> Tensor:
        parts = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().to(self._device).split(ENCODE_BATCH)
        return torch.cat([self._trunk(part).float() for part in parts])

    def explored(self, building: Building, odometry: Array, seeds: list[int]) -> ExploredScene:
        """Phase 1 as the camera saw it, and the photos to be asked for."""
        frames, photos = self(building, building.walk), self(building, building.goals)
        inside = building.unseen[~building.outside]  # they come first
        unseen = [self(building, inside)] if len(inside) else []
        if building.outside.any():
            unseen.append(self(building, building.unseen[building.outside], elsewhere=True))
        return ExploredScene(building, odometry, frames, photos, torch.cat(unseen), seeds)


def by_memory(
    method: Method,
    group: Sequence[ExploredScene],
    noise: OdometryNoise,
    limits: DriveLimits,
    encoder: ObservationEncoder,
) -> list[Result]:
    """Phase 1 and 2 in several buildings side by side; the walks are equally long."""
    frames = torch.stack([e.frames for e in group], dim=1)  # (T, B, FEATURE_DIM)
    odometry = torch.from_numpy(np.stack([e.odometry for e in group], axis=1)).to(frames.device)
    state = method.start(len(group), len(frames) + MAX_KEYFRAMES)
    for seen, where in zip(frames, odometry, strict=True):
        state = method.update(state, seen, where)
    results = []
    for b, e in enumerate(group):
        unseen = method.query(rows(state, slice(b, b + 1)), e.unseen[None]).seen[0]
        results.append(
            Result(e.building, [e.episode(n) for n in range(len(e.photos))], unseen.double().tolist())
        )
    tasks = [(b, n) for b, e in enumerate(group) for n in range(len(e.photos))]
    memories = Memories(
        method,
        rows(state, torch.tensor([b for b, _ in tasks], device=frames.device)),
        torch.cat([e.photos for e in group]),
        np.stack([group[b].odometry[-1] for b, _ in tasks]),
    )
    agents = [
        Agent(
            results[b].episodes[n],
            group[b].robot(n, noise),
            group[b].odometry[-1],
            partial(memories.ask, which),
            limits,
        )
        for which, (b, n) in enumerate(tasks)
    ]
    drive_together(agents, memories, [group[b].building for b, _ in tasks], encoder)
    return results


def no_memory(
    network: Kinaema,
    group: Sequence[ExploredScene],
    noise: OdometryNoise,
    limits: DriveLimits,
    encoder: ObservationEncoder,
) -> list[Result]:
    """Looks for the photo's view on a tour of the building, with true localisation, and goes there on sight.

    The tour is the same whatever the photo, so that it is driven once a building. A goal's ``seen`` is the best match
    on all of it; a photo that nothing matched was not found.
    """
    method, limits = CurrentView(network), replace(limits, min_seen=FOUND)
    results: list[Result] = []
    found: list[OnSight] = []
    for e in group:
        tour = take_tour(e, noise)
        views = encoder(e.building, tour.map_T_base[tour.keyframes])
        photos = torch.cat([e.photos, e.unseen])
        matches = [method.query(views, photo.expand(len(views), 1, -1)).seen[:, 0] for photo in photos]
        episodes = [e.episode(n) for n in range(len(e.photos))]
        results.append(
            Result(e.building, episodes, [float(match.max()) for match in matches[len(episodes) :]])
        )
        for n, (episode, match) in enumerate(zip(episodes, matches, strict=False)):
            on_sight = torch.nonzero(match >= FOUND).flatten().tolist()
            at = tour.keyframes[on_sight[0]] if on_sight else len(tour.map_T_base) - 1
            episode.path, episode.length = list(tour.map_T_base[: at + 1]), float(tour.travelled[at])
            episode.collisions, episode.seen = int(tour.collisions[at]), float(match.max())
            if on_sight:
                found.append(
                    OnSight(e, n, episode, tour.map_T_base[at], tour.odom_T_base[at], views[on_sight[0]])
                )
            else:
                episode.message = f"not found within {TOUR_METRES:g} m"
    if found:
        odometry = np.stack([f.odom_T_base for f in found])
        photos = torch.stack([f.explored.photos[f.n] for f in found])
        memories = Memories(method, torch.stack([f.view for f in found]), photos, odometry)
        agents = [
            Agent(
                f.episode,
                f.explored.robot(f.n, noise, f.map_T_base),
                f.odom_T_base,
                partial(memories.ask, which),
                limits,
            )
            for which, f in enumerate(found)
        ]
        drive_together(agents, memories, [f.explored.building for f in found], encoder)
    return results


def oracle(group: Sequence[ExploredScene], limits: DriveLimits) -> list[Result]:
    """Knows where the photo was taken, and where it is."""
    results = [Result(e.building, [e.episode(n) for n in range(len(e.photos))], []) for e in group]
    for e, result in zip(group, results, strict=True):
        for n, episode in enumerate(result.episodes):
            goal = geometry.compose(e.odometry[-1], geometry.between(e.building.walk[-1], episode.goal))
            ask = partial(Estimate, as_pose(goal), np.zeros((3, 3)), 1.0)
            agent = Agent(episode, e.robot(n, NO_NOISE), e.odometry[-1], ask, limits)
            while agent.advance():
                pass
    return results


class CurrentView:
    """A Method that remembers nothing: a photo is compared with what the robot sees now. The state is features."""

    def __init__(self, network: Kinaema):
        self._network = network

    def start(self, batch: int, capacity: int) -> None:
        """Nothing is kept."""
        return None

    def update(self, state: Tensor | None, features: Tensor, odometry: Tensor) -> Tensor:
        """Return the features (B, F) of the newest frame as the state; the odometry plays no part."""
        return features

    def query(self, state: Tensor, features: Tensor) -> Estimates:
        """Compare features (B, Q, F) with the newest frame; `seen` is 0 for those that do not match it."""
        key, content, _ = self._network.descriptor(state)
        asked, _, probe = self._network.descriptor(features)
        estimate = self._network.head(probe, content[:, None])
        likeness = (1.0 + (asked * key[:, None]).sum(-1)) / 2.0
        # A planar Laplace distribution's deviation on one axis is sqrt(3) times its scale.
        return Estimates(
            estimate.pose, math.sqrt(3.0) * estimate.scale, torch.where(estimate.match > 0.0, likeness, 0.0)
        )

    def num_bytes(self, state: Tensor) -> int:
        """Zero: the newest frame is not memory."""
        return 0


@dataclass
class OnSight:
    """Where on a tour a photo's view was recognised."""

    explored: ExploredScene
    n: int  # the goal
    episode: Episode
    map_T_base: Array  # (3,)
    odom_T_base: Array  # (3,)
    view: Tensor  # (FEATURE_DIM,)


@dataclass
class TourTrack:
    """A robot's tour, T images long."""

    map_T_base: Array  # (T, 3)
    odom_T_base: Array  # (T, 3)
    travelled: Array  # (T,) metres
    collisions: Array  # (T,) so far
    keyframes: list[int]


def take_tour(e: ExploredScene, noise: OdometryNoise) -> TourTrack:
    """Drives TOUR_METRES from where the exploration ended, to near places not yet visited on this tour."""
    robot = e.robot(0, noise)
    tour = Tour(e.building.scene, np.random.default_rng(e.seeds[0]))
    selector = KeyframeSelector()
    dt = 1.0 / STEP_HZ
    true, odom, travelled, collisions, keyframes = [], [], [0.0], [], []
    while travelled[-1] < TOUR_METRES:
        now = robot.snapshot()
        true.append(now.map_T_base)
        odom.append(geometry.compose(e.odometry[-1], now.odom_T_base))
        collisions.append(robot.collisions)
        if selector.reason_to_skip(round(now.seconds * 1e9), odom[-1]) is None:
            keyframes.append(len(true) - 1)
        for _ in range(STEPS_PER_IMAGE):
            robot.command(*tour.command(robot.snapshot().map_T_base.tolist(), dt), dt)
            robot.step(dt)
        travelled.append(travelled[-1] + math.hypot(*(robot.snapshot().map_T_base[:2] - now.map_T_base[:2])))
    return TourTrack(
        np.array(true), np.array(odom), np.array(travelled[: len(true)]), np.array(collisions), keyframes
    )


def drive_together(
    agents: Sequence[Agent], memories: Memories, buildings: Sequence[Building], encoder: ObservationEncoder
) -> None:
    """Drives all to their ends. ``buildings``: where each of the agents is.

    Each drives until its next keyframe; then all keyframes are encoded and folded into the memories in one batch, so
    that an update costs a fraction of one made alone. A memory gets what it would get if its robot drove alone.
    """
    active = list(range(len(agents)))
    while active:
        active = [n for n in active if agents[n].advance()]
        if active:
            views = np.stack([agents[n].map_T_base for n in active])
            odometry = np.stack([agents[n].odom_T_base for n in active])
            memories.update(active, encoder.each([buildings[n] for n in active], views), odometry)
