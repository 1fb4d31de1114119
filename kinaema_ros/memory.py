"""The library's front door: ``SpatialMemory``."""

from __future__ import annotations

import math
import threading
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from kinaema_ros import geometry
from kinaema_ros.camera import Intrinsics, resample
from kinaema_ros.errors import InputError, KinaemaError
from kinaema_ros.estimate import Estimate, as_pose
from kinaema_ros.images import RGB
from kinaema_ros.model.cell import MemoryState
from kinaema_ros.model.checkpoint import CheckpointError, load_network, read_tensors, write_tensors
from kinaema_ros.model.network import Kinaema

STATE_FORMAT = "kinaema-memory"
STATE_VERSION = 3
MAX_COORDINATE = 1e7  # metres; beyond it odometry is broken, not far away


class EmptyMemoryError(KinaemaError, RuntimeError):
    """A question before the first ``update``."""


class SpatialMemory:
    """A fixed-size memory of the places a robot has seen, after Kinaema (arXiv 2510.20261).

    ``update`` and ``locate`` may be called from different threads: a query reads the memory as it stood when the
    query began and never waits for an update. Images are RGB, rectified, from any camera with 60 to 110 degrees
    of horizontal field of view.
    """

    def __init__(
        self,
        network: Kinaema,
        checkpoint_hash: str = "",
        hfov: float | None = None,
        device: torch.device | str = "cpu",
    ):
        """``hfov``: the camera's horizontal field of view in radians; None: that of the canonical camera."""
        self._network = network.to(device).eval()
        self._device = torch.device(device)
        self._hash = checkpoint_hash
        config = network.config
        self._canonical = Intrinsics.from_hfov(
            config.image_width, config.image_height, math.radians(config.hfov_deg)
        )
        self._hfov = math.radians(config.hfov_deg) if hfov is None else hfov
        Intrinsics.from_hfov(1, 1, self._hfov)  # refuses an impossible field of view now
        self._camera: Intrinsics | None = None
        self._writing = threading.Lock()
        self._state = MemoryState.empty(config, device=self._device)

    @classmethod
    def from_checkpoint(
        cls, path: str | Path, device: torch.device | str = "cpu", hfov: float | None = None
    ) -> SpatialMemory:
        """Raises ``CheckpointError`` (a ``ValueError``) for a missing, damaged or foreign file."""
        network, metadata = load_network(path, device)
        return cls(network, metadata["sha256"], hfov, device)

    def set_camera(self, camera: Intrinsics) -> None:
        """The camera of the images to come, which may have another resolution, but not another aspect.

        Raises ``ValueError`` for a camera with distortion: this network takes rectified images.
        """
        if any(camera.distortion):
            raise InputError(
                f"camera with {camera.distortion_model} distortion: rectify its images, as image_proc does, and give "
                "the intrinsics of the rectified ones"
            )
        self._camera = camera

    def update(self, rgb: RGB, odom_pose: ArrayLike) -> None:
        """Fold one frame into the memory.

        rgb: (H, W, 3) uint8. odom_pose: (x, y, yaw) of the robot in the odom frame when the image was taken; only
        its motion since the last update is used, so that distance from the origin costs no precision. Raises
        ``ValueError`` and changes nothing if either is not usable, or if the image has another aspect than the
        camera of ``set_camera``.
        """
        odometry = self._checked_pose(odom_pose)
        with torch.inference_mode(), self._writing:
            features = self._encode(rgb, None)
            self._state = self._network.update(self._state, features, odometry)

    def locate(self, query_rgb: RGB, hfov: float | None = None) -> Estimate:
        """Where was the robot when it would have seen this?

        query_rgb: (H, W, 3) uint8; ``hfov``, its horizontal field of view in radians, if it was taken by another
        camera than the robot's. Raises ``EmptyMemoryError`` before the first update and ``ValueError`` for an image
        that is not usable, or that without ``hfov`` has another aspect than the camera of ``set_camera``.
        """
        state = self._state  # a snapshot: an update replaces the state, it never changes it
        if int(state.updates[0]) == 0:
            raise EmptyMemoryError("the memory is empty: drive the robot (update) before asking")
        with torch.inference_mode():
            answer = self._network.query(state, self._encode(query_rgb, hfov)[None])
        robot_T_query = answer.pose[0, 0].double().cpu().numpy()
        assert answer.std is not None
        position_std, yaw_std = answer.std[0, 0].tolist()
        odom_pose = geometry.compose(state.odometry[0].cpu().numpy(), robot_T_query)
        return Estimate(
            pose=as_pose(robot_T_query),
            covariance=np.diag([position_std**2, position_std**2, yaw_std**2]),
            seen=float(answer.seen[0, 0]),
            odom_pose=as_pose(odom_pose),
            num_updates=int(state.updates[0]),
        )

    def reset(self) -> None:
        """Forget everything."""
        with self._writing:
            self._state = MemoryState.empty(self._network.config, device=self._device)

    @property
    def state_bytes(self) -> int:
        """Size of the latent memory; the same before the first update and after the millionth."""
        return self._state.num_bytes

    @property
    def num_updates(self) -> int:
        """Frames folded in since the last ``reset``, those of a loaded memory included."""
        return int(self._state.updates[0])

    @property
    def device(self) -> torch.device:
        """Where the network and the memory are."""
        return self._device

    def save(self, path: str | Path) -> None:
        """Write the latent memory (not the network) atomically. Raises ``OSError``."""
        state = self._state
        metadata = {"format": STATE_FORMAT, "version": STATE_VERSION, "network": self._hash}
        write_tensors(Path(path), state.tensors(), metadata)

    def load(self, path: str | Path) -> None:
        """Replace the latent memory by a saved one; on ``CheckpointError`` the present one stays.

        The odometry of later updates must be in the odom frame in which the memory was saved.
        """
        tensors, metadata = read_tensors(Path(path), STATE_FORMAT, STATE_VERSION)
        if metadata.get("network") != self._hash:
            raise CheckpointError(
                f"{path}: saved with another network; load the checkpoint that it was made with"
            )
        for name, expected in self._state.tensors().items():
            tensor = tensors.get(name)
            if tensor is None or tensor.shape != expected.shape or tensor.dtype != expected.dtype:
                raise CheckpointError(f"{path}: '{name}' is missing or has another shape than this network's")
        with self._writing:
            self._state = MemoryState.from_tensors({n: t.to(self._device) for n, t in tensors.items()})

    def _checked_pose(self, odom_pose: ArrayLike) -> Tensor:
        pose = np.asarray(odom_pose, dtype=np.float64)
        if pose.shape != (3,):
            raise InputError(f"odometry pose of shape {pose.shape}: it must be (x, y, yaw)")
        if not np.isfinite(pose).all() or np.abs(pose[:2]).max() > MAX_COORDINATE:
            raise InputError(f"odometry pose {pose.tolist()} is not finite or beyond 10,000 km")
        return torch.from_numpy(pose)[None].to(self._device)

    def _encode(self, rgb: RGB, hfov: float | None) -> Tensor:
        """Features (1, FEATURE_DIM) of an image of any camera."""
        rgb = np.asarray(rgb)
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
            raise InputError(
                f"image of shape {rgb.shape} and type {rgb.dtype}: it must be (H, W, 3) uint8 RGB"
            )
        height, width = rgb.shape[:2]
        if height < 8 or width < 8:
            raise InputError(f"image of {width} x {height} pixels: it must be at least 8 x 8")
        image = resample(rgb, self._intrinsics(width, height, hfov), self._canonical)
        tensor = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
        return self._network.trunk(tensor.to(self._device))

    def _intrinsics(self, width: int, height: int, hfov: float | None) -> Intrinsics:
        camera = self._camera
        if hfov is not None:
            return Intrinsics.from_hfov(width, height, hfov)
        if camera is None:
            return Intrinsics.from_hfov(width, height, self._hfov)
        if not camera.has_aspect(width, height):
            raise InputError(
                f"image of {width} x {height} pixels: another aspect than the {camera.width} x {camera.height} "
                "of set_camera. For the robot's own images call set_camera with their intrinsics; for a photo "
                "that another camera took, pass its hfov to locate"
            )
        return camera.scaled_to(width, height)  # the robot's camera, perhaps at another resolution
