"""What ``SpatialMemory`` and evaluation need of a network, whatever kind of memory it writes."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from kinaema_ros import geometry
from kinaema_ros.camera import Intrinsics, Mount
from kinaema_ros.comparison import Comparison
from kinaema_ros.geometry import Array
from kinaema_ros.model.answer import Answer


class Memory(Protocol):
    """The state, immutable by convention: an update makes a new one, a query keeps the one it read."""

    @property
    def robot(self) -> Tensor:
        """(3,) float64, the robot's camera in the memory's frame at the last update."""

    @property
    def odometry(self) -> Tensor:
        """(3,) float64, the same instant in the odom frame."""

    @property
    def updates(self) -> Tensor:
        """() int64."""

    @property
    def viewpoints(self) -> Tensor:
        """(P, 3) float64, of the camera at the places that it holds, in its own frame; none where it has no places."""

    @property
    def num_bytes(self) -> int:
        """Size of all tensors; it does not grow."""

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name."""

    @staticmethod
    def from_tensors(parts: dict[str, Tensor]) -> Any:
        """The reverse of ``tensors``."""

    def check(self) -> None:
        """Raises InputError where a value is none that updates write: what is read from a file may say anything."""


def memory_T_odom(memory: Memory) -> Array:
    """(3,) where the odom frame lies in the memory's, by the last update."""
    return geometry.compose(memory.robot.cpu().numpy(), geometry.inverse(memory.odometry.cpu().numpy()))


class Network(Protocol):
    """Frozen, in evaluation mode. A view is whatever it makes of an image."""

    @property
    def device(self) -> torch.device:
        """Where its weights are."""

    def to(self, device: torch.device | str) -> Network:
        """Move it there; returns itself."""

    def empty(self) -> Any:
        """A Memory that has seen nothing."""

    def view(self, rgb: Tensor, camera: Intrinsics, mount: Mount | None = None) -> Any:
        """What an image (H, W, 3) uint8 of the robot's own ``camera`` shows. mount: where it is; None: at the base, level."""

    def photo(self, rgb: Tensor, camera: Intrinsics, robots: Intrinsics) -> Any:
        """What a photo (H, W, 3) uint8 of another ``camera`` shows, to be asked of what ``robots``, the robot's own, saw."""

    def update(self, memory: Any, view: Any, odometry: Tensor, height: float = 0.0) -> Any:
        """Fold one view into the memory. odometry (3,) float64: the camera's planar pose in the odom frame; height: of its
        mount."""  # noqa: D205, D209

    def locate(self, memory: Any, photo: Any, height: float | None) -> list[Answer]:
        """Distinct places where the photo was taken, in the robot's frame, the likeliest first; at least one.

        height: metres, of the mount of the robot's own camera, if that took the photo; None: another one did.
        """

    def continues(self, before: Any, after: Any, view: Any) -> bool:
        """Whether the view that made ``after`` of ``before`` may follow those before it; True where that cannot be told."""

    def course(self, before: Any, after: Any, motion: Tensor) -> tuple[float, float] | None:
        """By how much (radians) two views show the camera to go further to the left than odometry's ``motion`` (3,), and the
        deviation of that; None where they do not tell."""  # noqa: D205, D209

    def compare(
        self, memory: Any, view: Any, odometry: Tensor, height: float, photo: Any, photo_height: float | None
    ) -> Comparison:
        """Whether the robot stands where the photo was taken, by what its camera sees from there; nothing is written."""

    def localization_covariance(self, memory: Any) -> Tensor | None:
        """(3, 3) of the robot's camera in the memory's frame; None where the memory does not correct its odometry."""
