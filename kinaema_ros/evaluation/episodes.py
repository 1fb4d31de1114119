"""Evaluation drives: rendered in scenes never trained on, encoded once, asked about at several lengths.

A drive of as many frames as the longest length serves all lengths: at length L the memory holds its first L
frames, and the questions are views near some of these (seen places) and as many views of places that were not
seen, half of them elsewhere in the same building as long as there is such a place, the rest in another one.
Everything depends on (seed, index of the drive) only.
"""

from __future__ import annotations

import hashlib
import math
import multiprocessing
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kinaema_ros.errors import InputError
from kinaema_ros.metrics import pose_errors
from kinaema_ros.model.encoder import Trunk
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
from kinaema_ros.training.data import ENCODE_BATCH, encode

FIRST_SEED = 2**31  # training draws the seeds of its scenes and textures below this
SCENES_PER_TEXTURE_POOL = 8
MIN_SIZE, MAX_SIZE = 8.0, 20.0  # metres; each side of a building's footprint lies between these
CAMERA_HEIGHT = (0.3, 0.8)  # metres
SEEN_DISTANCE, SEEN_ANGLE = 1.0, math.radians(40.0)  # of a seen place's view from a frame of the drive
COMPILE_FROM = 8000  # images a process: below, compiling the trunk takes longer than it saves


@dataclass(frozen=True)
class EpisodeConfig:
    """What is driven and asked. ``queries`` seen and as many unseen places at each length."""

    seed: int
    lengths: tuple[int, ...] = (100, 200, 400, 800)
    queries: int = 16

    def __post_init__(self) -> None:
        if not self.lengths or min(self.lengths) < 2 or len(set(self.lengths)) != len(self.lengths):
            raise ValueError(f"lengths {self.lengths}: they must be different and at least 2 frames")
        if self.queries < 2:
            raise ValueError(f"{self.queries} queries a length: there must be at least 2")
        if self.seed < 0:
            raise ValueError(f"seed {self.seed} must not be negative")


@dataclass
class Plan:
    """A drive before it is rendered. L lengths, Q seen and Q unseen views at each, in this order."""

    scene: Scene
    elsewhere: Scene
    camera: Camera
    lighting: Lighting
    poses: NDArray[np.float64]  # (T, 3)
    views: NDArray[np.float64]  # (L, 2 Q, 3)
    outside: NDArray[np.bool_]  # (L, 2 Q) whether the view is one of the other building


@dataclass
class Episode:
    """An encoded drive and its questions; frames and queries of the same robot in the same light."""

    features: Tensor  # (T, FEATURE_DIM) float16
    queries: Tensor  # (L, 2 Q, FEATURE_DIM) float16
    poses: NDArray[np.float64]  # (T, 3) true, in the scene's frame
    views: NDArray[np.float64]  # (L, 2 Q, 3); those of another building are in that building's frame
    outside: NDArray[np.bool_]  # (L, 2 Q)

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


def plan_episode(config: EpisodeConfig, index: int) -> Plan:
    """Scene, path and questions of drive ``index``."""
    rng = np.random.default_rng([FIRST_SEED, config.seed, index])
    textures = FIRST_SEED + (config.seed * 65537 + index // SCENES_PER_TEXTURE_POOL) % 2**30
    scenes = SceneConfig(size_min=MIN_SIZE, size_max=MAX_SIZE, texture_seed=textures)
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
    camera = Camera(z=float(rng.uniform(*CAMERA_HEIGHT)))
    return Plan(scene, elsewhere, camera, random_lighting(rng), poses, np.array(views), np.array(outside))


def odometry_of(episode: Episode, noise: OdometryNoise, seed: int, index: int) -> NDArray[np.float64]:
    """Odometry (T, 3) of the drive, from identity; the same drift in every run with the same seed."""
    return integrate_odometry(episode.poses, noise, np.random.default_rng([FIRST_SEED + 1, seed, index]))


def render_plan(plan: Plan) -> Tensor:
    """Images (T + 2 Q L, 3, H, W) uint8: the frames, then the views of all lengths."""
    views, outside = plan.views.reshape(-1, 3), plan.outside.ravel()
    frames = render(plan.scene, plan.poses, plan.camera, plan.lighting)
    pictures = np.empty((len(views), *frames.shape[1:]), np.uint8)
    for scene, chosen in ((plan.scene, ~outside), (plan.elsewhere, outside)):
        if chosen.any():
            pictures[chosen] = render(scene, views[chosen], plan.camera, plan.lighting)
    images = torch.from_numpy(np.concatenate([frames, pictures]))
    return images.permute(0, 3, 1, 2).contiguous()


def encode_plan(plan: Plan, trunk: nn.Module) -> Episode:
    """Render and encode."""
    features = encode(trunk, render_plan(plan))
    frames, queries = features.split([len(plan.poses), len(features) - len(plan.poses)])
    return Episode(frames, queries.reshape(*plan.views.shape[:2], -1), plan.poses, plan.views, plan.outside)


# -- many episodes, by several processes -------------------------------------------------------------------

_trunk: nn.Module  # of this worker process
_trunk_hash: str


def episodes(config: EpisodeConfig, count: int, trunk: Trunk, cache: Path | None = None) -> Iterator[Episode]:
    """Drives 0 to ``count`` - 1 in order, encoded on the CPU, by one process a core, wherever ``trunk`` is.

    ``cache``: folder in which encoded drives are kept and found again by a later run that would make the very
    same ones (the same simulator, trunk, seed and lengths).
    """
    workers = min(count, len(os.sched_getaffinity(0)))
    images = count * (max(config.lengths) + 2 * config.queries * len(config.lengths)) // workers
    if cache is not None:
        cache.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.cpu() for name, tensor in trunk.state_dict().items()}
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers, _start_worker, (weights, images)) as pool:
        for arrays in pool.imap(_encoded, [(config, index, cache) for index in range(count)]):
            yield _from_arrays(arrays)


def _start_worker(weights: dict[str, Tensor], images: int) -> None:
    global _trunk, _trunk_hash
    torch.set_num_threads(1)
    trunk = Trunk().eval()
    trunk.load_state_dict(weights)
    digest = hashlib.sha256()
    for name, tensor in weights.items():
        digest.update(name.encode() + tensor.numpy().tobytes())
    _trunk_hash = digest.hexdigest()
    _trunk = _compiled(trunk) if images >= COMPILE_FROM else trunk


def _compiled(trunk: Trunk) -> nn.Module:
    """The trunk compiled, which halves its time; as it is where there is no compiler."""
    compiled = cast(nn.Module, torch.compile(trunk))
    try:
        compiled(torch.zeros(ENCODE_BATCH, 3, 120, 160, dtype=torch.uint8))
    except Exception:  # whatever the compiler's trouble is, the eager trunk gives the same features
        return trunk
    return compiled


def _encoded(task: tuple[EpisodeConfig, int, Path | None]) -> dict[str, NDArray]:
    config, index, cache = task
    plan = plan_episode(config, index)
    if cache is None:
        return _to_arrays(encode_plan(plan, _trunk))
    path = cache / f"{_fingerprint(config, plan)}.npz"
    if path.exists():
        try:
            with np.load(path) as saved:
                return dict(saved)
        except (ValueError, EOFError, BadZipFile) as error:
            raise InputError(f"{path} is damaged ({error}); delete it") from error
    arrays = _to_arrays(encode_plan(plan, _trunk))
    partial = path.with_name(f".{path.stem}.{os.getpid()}.npz")
    np.savez(partial, **arrays)  # type: ignore[arg-type]
    partial.replace(path)
    return arrays


def _fingerprint(config: EpisodeConfig, plan: Plan) -> str:
    """Differs where configuration, trunk, or what the simulator makes of the seed differ."""
    some = [
        render(scene, plan.poses[:2], plan.camera, plan.lighting) for scene in (plan.scene, plan.elsewhere)
    ]
    digest = hashlib.sha256(repr((asdict(config), _trunk_hash)).encode())
    for array in (plan.poses, plan.views, plan.outside, *some):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:32]


def _to_arrays(episode: Episode) -> dict[str, NDArray]:
    return {
        "features": episode.features.numpy(),
        "queries": episode.queries.numpy(),
        "poses": episode.poses,
        "views": episode.views,
        "outside": episode.outside,
    }


def _from_arrays(arrays: dict[str, NDArray]) -> Episode:
    features, queries = (torch.from_numpy(arrays[name]) for name in ("features", "queries"))
    return Episode(features, queries, arrays["poses"], arrays["views"], arrays["outside"])
