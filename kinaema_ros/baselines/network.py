"""The paper's memory as a ``Network``: what ``SpatialMemory``, nodes, replay and Mem-Nav run, beside the shipped kind."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kinaema_ros.baselines import checkpoint
from kinaema_ros.baselines.baseline import Baseline
from kinaema_ros.baselines.decoder import Calibration
from kinaema_ros.baselines.encoder import resample
from kinaema_ros.baselines.paper import Paper, PaperState
from kinaema_ros.camera import Intrinsics, Mount
from kinaema_ros.comparison import Comparison, Verdict
from kinaema_ros.errors import InputError
from kinaema_ros.model.answer import Answer
from kinaema_ros.model.checkpoint import CheckpointError, format_of, usable_device
from kinaema_ros.model.checkpoint import load_network as load_kinaema
from kinaema_ros.model.kind import Network
from kinaema_ros.model.se2 import between, inverse

LARGEST = 1e9  # of any number in a memory


def load_network(
    path: str | Path, device: torch.device | str = "cpu", num_embeddings: int | None = None
) -> tuple[Network, dict[str, Any]]:
    """The network of a checkpoint of either kind, in evaluation mode, and its metadata (config, training, sha256).

    num_embeddings: N of the memory; None: the checkpoint's. Raises ``CheckpointError``, or ``InputError`` for a device that
    this machine does not have, or a number of embeddings that no memory has.
    """
    if format_of(Path(path)) != checkpoint.FORMAT:
        network, metadata = load_kinaema(path, device)
        if num_embeddings is not None:
            network = network.with_config(network.config.of_size(num_embeddings))
        return network, metadata
    if num_embeddings is not None:
        raise CheckpointError(
            f"{path}: the number of embeddings of the paper's memory is fixed by its training; leave num_embeddings "
            "(--embeddings) out, or use a checkpoint of local tokens, such as the shipped one"
        )
    device = usable_device(device)
    baseline, metadata = checkpoint.read_baseline(Path(path), Paper.name)
    return PaperNetwork(baseline).to(device), metadata


def seen_by(baseline: Baseline, rgb: Tensor, camera: Intrinsics, mount: Mount | None) -> Tensor:
    """The view (V,) of an image (H, W, 3) uint8, as the baseline's own level camera would have taken it."""
    config = baseline.config
    canonical = Intrinsics.from_hfov(config.image_width, config.image_height, math.radians(config.hfov_deg))
    tilt = (0.0, 0.0) if mount is None else (mount.roll, mount.pitch)
    image = resample(rgb.cpu().numpy(), camera.scaled_to(rgb.shape[1], rgb.shape[0]), canonical, tilt)
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
    return baseline.encode(pixels.to(baseline.device))[0]


def answer_of(baseline: Baseline, state: Any, view: Tensor) -> Answer:
    """What a baseline that remembers one drive reads out for a view (V,), in the robot's frame."""
    estimate, robot = baseline.estimate(state, view[None, None])
    estimate = estimate.moved(inverse(robot)[:, None].float())
    evidence = Calibration.evidence(estimate)
    deviations = baseline.calibration.deviations(evidence)[0, 0].double()
    seen = float(baseline.calibration.probability(evidence)[0, 0])
    covariance = torch.diag(deviations[[0, 0, 1]].square())
    return Answer(estimate.pose[0, 0].double(), covariance, seen, seen)


@dataclass
class PaperMemory:
    """What one robot's memory holds."""

    embeddings: Tensor  # (N, E)
    first: Tensor  # (3,) float64, odometry at the first update
    odometry: Tensor  # (3,) float64, at the last one
    updates: Tensor  # () int64

    @property
    def robot(self) -> Tensor:
        """(3,) float64, in the frame of the drive's start."""
        return between(self.first, self.odometry)

    @property
    def viewpoints(self) -> Tensor:
        """None: no embedding belongs to a place."""
        return self.odometry.new_zeros(0, 3)

    @property
    def num_bytes(self) -> int:
        """Size of all tensors; it does not grow."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors().values())

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @staticmethod
    def from_tensors(parts: dict[str, Tensor]) -> PaperMemory:
        """The reverse of ``tensors``."""
        return PaperMemory(**parts)

    def check(self) -> None:
        """Raises InputError where a value is none that updates write."""
        for name, tensor in self.tensors().items():
            least = 0.0 if name == "updates" else -LARGEST
            if not bool(((tensor >= least) & (tensor <= LARGEST)).all()):
                raise InputError(f"the tensor {name!r} holds values outside of {least} to {LARGEST}")


class PaperNetwork:
    """Says where a photo was taken, with a covariance that its training calibrated; knows no alternatives."""

    def __init__(self, baseline: Baseline):
        self.baseline = baseline.requires_grad_(False).eval()

    def to(self, device: torch.device | str) -> PaperNetwork:
        """Move it there."""
        self.baseline.to(device)
        return self

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self.baseline.device

    def empty(self) -> PaperMemory:
        """The learned initial values."""
        return self._alone(self.baseline.start(1, 0))

    def view(self, rgb: Tensor, camera: Intrinsics, mount: Mount | None = None) -> Tensor:
        """(V,) of an image (H, W, 3) uint8 of ``camera``."""
        return seen_by(self.baseline, rgb, camera, mount)

    def photo(self, rgb: Tensor, camera: Intrinsics, robots: Intrinsics) -> Tensor:
        """(V,), as of a level camera; the robot's own plays no part."""
        return seen_by(self.baseline, rgb, camera, None)

    def update(self, memory: PaperMemory, view: Tensor, odometry: Tensor, height: float = 0.0) -> PaperMemory:
        """Fold one view into the embeddings; the camera's height plays no part."""
        return self._alone(self.baseline.update(self._batch(memory), view[None], odometry[None]))

    def locate(self, memory: PaperMemory, photo: Tensor, height: float | None) -> list[Answer]:
        """One answer, in the robot's frame."""
        return [answer_of(self.baseline, self._batch(memory), photo)]

    def continues(self, before: PaperMemory, after: PaperMemory, view: Tensor) -> bool:
        """True: it cannot be told."""
        return True

    def course(self, before: Tensor, after: Tensor, motion: Tensor) -> None:
        """None: its views have no points."""
        return None

    def compare(
        self,
        memory: PaperMemory,
        view: Tensor,
        odometry: Tensor,
        height: float,
        photo: Tensor,
        photo_height: float | None,
    ) -> Comparison:
        """Undecided, always."""
        return Comparison(
            Verdict.UNDECIDED, "this kind of memory cannot compare a photo with the robot's view"
        )

    def localization_covariance(self, memory: PaperMemory) -> None:
        """None: it takes the odometry as it comes."""
        return None

    @staticmethod
    def _alone(state: PaperState) -> PaperMemory:
        return PaperMemory(state.embeddings[0], state.first[0], state.odometry[0], state.updates)

    @staticmethod
    def _batch(memory: PaperMemory) -> PaperState:
        return PaperState(memory.embeddings[None], memory.first[None], memory.odometry[None], memory.updates)
