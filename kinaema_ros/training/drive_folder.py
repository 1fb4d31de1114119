"""Rendered drives in a folder outside the repository: the trunk's features, so that a training step costs the memory alone.

One file a drive, ``000123.safetensors``, which depends on the configuration's seed and the drive's number only. Several
processes may render into one folder while another one learns from it.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from kinaema_ros.errors import InputError
from kinaema_ros.reporting import progress
from kinaema_ros.training.trajectories import DataConfig, Trajectory, drifting_odometry, stream

PARTS, HELD_OUT = ("train", "held"), 6


def fill(folder: Path, config: DataConfig, count: int) -> None:
    """Render what is missing until there are ``count`` drives to learn from, by ``config.workers`` processes.

    Every HELD_OUT-th drive is held out: it goes to ``held`` instead of ``train``.
    """
    for part in PARTS:
        (folder / part).mkdir(parents=True, exist_ok=True)
    missing = [k for k in range(count * HELD_OUT // (HELD_OUT - 1)) if not _path(folder, k).exists()]
    drives = progress(stream(config, missing), total=len(missing), desc="rendering", unit="drive")
    for index, drive in zip(missing, drives, strict=True):
        path = _path(folder, index)
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        save_file(vars(drive), partial)
        os.replace(partial, path)


def _path(folder: Path, index: int) -> Path:
    return folder / PARTS[index % HELD_OUT == HELD_OUT - 1] / f"{index:06d}.safetensors"


class DriveFolder:
    """The drives of a folder in memory, described by a baseline's descriptor: 0.2 MB each."""

    def __init__(self, folder: Path, describe: Callable[[Tensor], Tensor]):
        self.folder, self.describe = folder, describe
        self.names: set[str] = set()
        self.views = self.poses = self.source = torch.empty(0)
        self.refresh()
        if len(self.views) < 2:
            raise InputError(
                f"{folder}: holds {len(self.views)} drives; render some with kinaema train --method ... --render N"
            )

    def __len__(self) -> int:
        return len(self.views)

    @property
    def frames(self) -> int:
        """T, of each drive; the other views are what is asked about."""
        return self.views.shape[1] - self.source.shape[1]

    def refresh(self) -> None:
        """Read the drives that have come since."""
        fresh = sorted(path for path in self.folder.glob("[0-9]*.safetensors") if path.name not in self.names)
        if not fresh:
            return
        self.names |= {path.name for path in fresh}
        drives = [_read(path) for path in fresh]
        views = [self.describe(drive.features.float()).half() for drive in drives]
        for name, new in (
            ("views", views),
            ("poses", [drive.poses for drive in drives]),
            ("source", [drive.source for drive in drives]),
        ):
            old = getattr(self, name)
            setattr(self, name, torch.cat([*([old] if len(old) else []), torch.stack(new)]))


def _read(path: Path) -> Trajectory:
    with safe_open(str(path), framework="pt") as file:
        return Trajectory(**{name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118


@dataclasses.dataclass
class Questions:
    """What B drives are asked when they have gone on to some frame. Poses are true and those of the scene."""

    views: Tensor  # (B, Q, V) of places on the way
    poses: Tensor  # (B, Q, 3) float64
    unseen: Tensor  # (B, U, V) of other drives' places


@dataclasses.dataclass
class DriveBatch:
    """Parts of B drives, of T frames each."""

    views: Tensor  # (B, T, V)
    poses: Tensor  # (B, T, 3) float64, true
    odometry: Tensor  # (B, T, 3) float64, drifting
    asked_views: Tensor  # (B, A, V) further views of each drive
    asked_poses: Tensor  # (B, A, 3) float64
    source: Tensor  # (B, A) frame near which each was taken; it may lie outside the part
    elsewhere: Tensor  # (B, A, V) further views of another drive

    def to(self, device: torch.device | str) -> DriveBatch:
        """The same on a device."""
        return DriveBatch(**{name: part.to(device, non_blocking=True) for name, part in vars(self).items()})

    def questions(
        self, since: int, until: int, count: int, recall: bool, generator: torch.Generator
    ) -> Questions:
        """``count`` views near frames from ``since`` to before ``until``, with ``recall`` as many of those frames, too,
        and as many views of other places. What is random is drawn on the CPU."""  # noqa: D205, D209
        size, device = (len(self.views), count), self.views.device
        chosen = self._near(since, until, torch.rand(*size, generator=generator).to(device))
        frames = torch.randint(since, until, size, generator=generator).to(device)
        row = torch.arange(size[0], device=device)[:, None]
        views, poses = [self.asked_views[row, chosen]], [self.asked_poses[row, chosen]]
        if recall:
            views.append(self.views[row, frames])
            poses.append(self.poses[row, frames])
        return Questions(torch.cat(views, dim=1), torch.cat(poses, dim=1), self.elsewhere[row, chosen])

    def _near(self, since: int, until: int, random: Tensor) -> Tensor:
        """Which views (B, Q) were taken near those frames; where none was, near others, by random numbers (B, Q) in [0, 1)."""
        outside = (since - self.source).clamp_min(0) + (self.source - until + 1).clamp_min(0)
        shares = torch.softmax(-8.0 * outside.float(), dim=1).cumsum(1)
        return torch.searchsorted(shares, random).clamp_max(shares.shape[1] - 1)


def draw(
    drives: DriveFolder, batch: int, frames: int, max_noise: tuple[float, float], generator: torch.Generator
) -> DriveBatch:
    """Parts of ``frames`` frames of ``batch`` drives, each another one while there are enough.

    max_noise: of a drive's odometry, the deviation of a step's motion relative to its length, and of its turn in degrees.
    """
    order, turn = torch.randperm(len(drives), generator=generator), torch.arange(batch)
    which, other = order[turn % len(drives)], order[(turn + 1) % len(drives)]
    start = torch.randint(drives.frames - frames + 1, (batch, 1), generator=generator)
    row, at = which[:, None], start + torch.arange(frames)
    poses = drives.poses[row, at].double()
    strength = torch.rand(batch, 1, generator=generator, dtype=torch.float64) ** 2
    return DriveBatch(
        drives.views[row, at].float(),
        poses,
        drifting_odometry(poses, strength * max_noise[0], strength * max_noise[1], generator),
        drives.views[which, drives.frames :].float(),
        drives.poses[which, drives.frames :].double(),
        drives.source[which] - start,
        drives.views[other, drives.frames :].float(),
    )
