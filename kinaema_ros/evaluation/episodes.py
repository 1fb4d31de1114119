"""Evaluation drives: in scenes never trained on, asked about at several lengths.

A drive of as many frames as the longest length serves all lengths: at length L the memory holds its first L
frames, and the questions are views near some of these (seen places) and as many views of places that were not
seen, half of them elsewhere in the same building as long as there is such a place, the rest in another one.
Everything depends on (seed, index of the drive) only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kinaema_ros.camera import photo_hfov
from kinaema_ros.geometry import Array
from kinaema_ros.images import RGB
from kinaema_ros.metrics import pose_errors
from kinaema_ros.sim import (
    Camera,
    Lighting,
    OdometryNoise,
    Scene,
    SceneConfig,
    explore,
    generate_scene,
    integrate_odometry,
    random_lighting,
    render,
    sample_unseen_viewpoints,
    sample_viewpoints,
)

FIRST_SEED = 2**31  # training draws the seeds of its scenes and textures below this
SCENES_PER_TEXTURE_POOL = 8
MIN_SIZE, MAX_SIZE = 8.0, 20.0  # metres; each side of a building's footprint lies between these
CAMERA_HEIGHT = (0.3, 0.8)  # metres
SEEN_DISTANCE, SEEN_ANGLE = 1.0, math.radians(40.0)  # of a seen place's view from a frame of the drive
PHONE_HFOV, PHONE_HEIGHT, PHONE_PITCH = (
    math.radians(70.0),
    (1.3, 1.6),
    math.radians(15.0),
)  # the last: at most
RENDERED_AT_ONCE = 32


@dataclass(frozen=True)
class EpisodeConfig:
    """What is driven and asked. ``queries`` seen and as many unseen places at each length."""

    seed: int
    lengths: tuple[int, ...] = (100, 200, 400, 800)
    queries: int = 16
    hfov_deg: float = 90.0  # of the robot's camera
    query_camera: str = "same"  # or "phone": held by a person, portrait or landscape
    size: tuple[float, float] | None = None  # metres, of the buildings' footprint; None: 8 to 20 either way

    def __post_init__(self) -> None:
        if not self.lengths or min(self.lengths) < 2 or len(set(self.lengths)) != len(self.lengths):
            raise ValueError(f"lengths {self.lengths}: they must be different and at least 2 frames")
        if self.queries < 2:
            raise ValueError(f"{self.queries} queries a length: there must be at least 2")
        if self.seed < 0:
            raise ValueError(f"seed {self.seed} must not be negative")
        if self.query_camera not in ("same", "phone"):
            raise ValueError(f"query_camera {self.query_camera!r}: it must be same or phone")


@dataclass
class Episode:
    """A drive of T frames. L lengths, Q seen and Q unseen views at each, in this order."""

    scene: Scene
    elsewhere: Scene
    camera: Camera
    lighting: Lighting
    poses: Array  # (T, 3) true, in the scene's frame
    views: Array  # (L, 2 Q, 3); those of another building are in that building's frame
    outside: NDArray[np.bool_]  # (L, 2 Q) whether the view is one of the other building
    query_cameras: list[list[Camera]]  # L lists of 2 Q
    same_camera: bool  # whether they are the robot's

    @property
    def num_seen(self) -> int:
        """Q: the first Q questions of each length are about seen places."""
        return self.views.shape[1] // 2

    def last_seen(self, which: int, length: int) -> NDArray[np.int64]:
        """Frames (Q,) of the first ``length`` at which the seen places of length ``which`` were last near."""
        near_enough = np.array([SEEN_DISTANCE, SEEN_ANGLE]) * (1 + 1e-6)
        view = self.views[which, : self.num_seen, None]
        distance, angle = pose_errors(self.poses[None, :length], view)
        near = (distance <= near_enough[0]) & (angle <= near_enough[1])
        nearest = np.argmin(distance + angle, axis=1)  # where the sampler fell back, none may be near
        return np.where(near.any(axis=1), length - 1 - np.argmax(near[:, ::-1], axis=1), nearest)

    def frames(self) -> Iterator[RGB]:
        """What the robot's camera sees on the way."""
        for start in range(0, len(self.poses), RENDERED_AT_ONCE):
            part = self.poses[start : start + RENDERED_AT_ONCE]
            # Noise of its own for each part of the drive, as for each frame of it
            lighting = replace(self.lighting, seed=self.lighting.seed + start)
            yield from render(self.scene, part, self.camera, lighting)

    def photos(self, which: int) -> Iterator[tuple[RGB, Camera]]:
        """The pictures asked about at length number ``which``, each with its camera."""
        of_length = zip(self.views[which], self.outside[which], self.query_cameras[which], strict=True)
        for number, (view, outside, camera) in enumerate(of_length):
            lighting = replace(self.lighting, seed=self.lighting.seed + len(self.poses) + number)
            yield render(self.elsewhere if outside else self.scene, view[None], camera, lighting)[0], camera


def plan_episode(config: EpisodeConfig, index: int) -> Episode:
    """Scene, path and questions of drive ``index``."""
    rng = np.random.default_rng([FIRST_SEED, config.seed, index])
    textures = FIRST_SEED + (config.seed * 65537 + index // SCENES_PER_TEXTURE_POOL) % 2**30
    scenes = SceneConfig(MIN_SIZE, MAX_SIZE, config.size, texture_seed=textures)
    scene, elsewhere = (generate_scene(FIRST_SEED + int(rng.integers(2**31)), scenes) for _ in range(2))
    poses = explore(scene, rng, max(config.lengths))
    other_path = explore(elsewhere, rng, 64)
    views, outside = [], []
    for length in config.lengths:
        seen, _ = sample_viewpoints(scene, rng, poses[:length], config.queries, SEEN_DISTANCE, SEEN_ANGLE)
        inside = sample_unseen_viewpoints(scene, rng, poses[:length], config.queries // 2)
        other, _ = sample_viewpoints(elsewhere, rng, other_path, config.queries - len(inside))
        views.append(np.concatenate([seen, inside, other]))
        outside.append(np.arange(2 * config.queries) >= config.queries + len(inside))
    height = float(rng.uniform(*CAMERA_HEIGHT))
    camera = Camera(hfov=math.radians(config.hfov_deg), z=height)
    lighting = random_lighting(rng)
    same = config.query_camera == "same"
    cameras = [[camera if same else phone(rng) for _ in range(2 * config.queries)] for _ in config.lengths]
    return Episode(
        scene, elsewhere, camera, lighting, poses, np.array(views), np.array(outside), cameras, same
    )


def phone(rng: np.random.Generator) -> Camera:
    """A phone in somebody's hands."""
    height, pitch = float(rng.uniform(*PHONE_HEIGHT)), float(rng.uniform(0.0, PHONE_PITCH))
    across = Camera(hfov=PHONE_HFOV, z=height, pitch=pitch)
    if rng.random() < 0.5:
        return across
    narrow = photo_hfov(across.height, across.width, PHONE_HFOV)
    return replace(across, width=across.height, height=across.width, hfov=narrow)


def odometry_of(episode: Episode, noise: OdometryNoise, seed: int, index: int) -> NDArray[np.float64]:
    """Odometry (T, 3) of the drive, from identity; the same drift in every run with the same seed."""
    return integrate_odometry(episode.poses, noise, np.random.default_rng([FIRST_SEED + 1, seed, index]))
