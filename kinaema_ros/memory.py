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
from kinaema_ros.anchoring import Anchoring, View
from kinaema_ros.baselines.network import load_network
from kinaema_ros.camera import Intrinsics, Mount
from kinaema_ros.errors import InputError, KinaemaError
from kinaema_ros.estimate import Alternative, Estimate, as_pose
from kinaema_ros.geometry import Array
from kinaema_ros.images import RGB
from kinaema_ros.model.answer import Answer
from kinaema_ros.model.cell import relocate
from kinaema_ros.model.checkpoint import CheckpointError, read_tensors, write_tensors
from kinaema_ros.model.kind import Memory, Network
from kinaema_ros.model.token_memory import TokenMemory
from kinaema_ros.model.tokens import Tokens

STATE_FORMAT = "kinaema-memory"
STATE_VERSION = 5
HFOV = math.radians(90.0)  # of a camera that nobody has described
MIN_SIDE = 32  # pixels of an image
MAX_ALTERNATIVES = 3
CANNOT_FIND_ITSELF = (
    "this kind of memory cannot find out where the robot is when its odometry begins anew: reset it, go on in the odom frame "
    "in which it was saved, or use a checkpoint of local tokens, such as the shipped models/kinaema.safetensors"
)
PROVING = 40  # views after the first anchor that are still asked, to give it up if the world contradicts it
MAX_COORDINATE = 1e7  # metres; beyond it odometry is broken, not far away


class EmptyMemoryError(KinaemaError, RuntimeError):
    """A question before the first ``update``."""


class NotLocalizedError(KinaemaError, RuntimeError):
    """A question while a loaded memory does not know yet where the robot is."""


class _Seeking:
    """A loaded memory whose odometry is unknown, and what speaks for where it lies."""

    def __init__(self, loaded: TokenMemory):
        # Asked, and gone back to if an anchor turns out wrong: it holds nothing of this drive.
        self.loaded = loaded
        self.anchoring = Anchoring(loaded.pose[loaded.count > 0].cpu().numpy())
        self.proving = PROVING


class SpatialMemory:
    """A fixed-size memory of the places a robot has seen, after Kinaema (arXiv 2510.20261).

    ``update`` and ``locate`` may be called from different threads: a query reads the memory as it stood when the
    query began and never waits for an update. Images are RGB, of any size and aspect, from any pinhole or fisheye camera
    of 45 to 120 degrees across, rectified or not.
    """

    def __init__(
        self,
        network: Network,
        checkpoint_hash: str = "",
        hfov: float | None = None,
        device: torch.device | str = "cpu",
    ):
        """``hfov``: the camera's horizontal field of view in radians until ``set_camera``; None: 90 degrees."""
        self._network = network.to(device)
        self._device = torch.device(device)
        self._hash = checkpoint_hash
        self._hfov = HFOV if hfov is None else hfov
        Intrinsics.from_hfov(1, 1, self._hfov)  # refuses an impossible field of view now
        self._camera: Intrinsics | None = None
        self._mount = Mount()
        self._writing = threading.Lock()
        self._state: Memory = network.empty()
        self._seeking: _Seeking | None = None

    @classmethod
    def from_checkpoint(
        cls, path: str | Path, device: torch.device | str = "cpu", hfov: float | None = None
    ) -> SpatialMemory:
        """Raises ``CheckpointError`` (a ``ValueError``) for a missing, damaged or foreign file."""
        network, metadata = load_network(path, device)
        return cls(network, metadata["sha256"], hfov, device)

    def set_camera(self, camera: Intrinsics, mount: Mount | None = None) -> None:
        """The camera of the images to come, with its lens, and where it is on the robot (None: at its origin, level).

        Images may have another resolution than the camera, but not another aspect.
        """
        self._camera, self._mount = camera, mount or Mount()

    def update(self, rgb: RGB, odom_pose: ArrayLike) -> None:
        """Fold one frame into the memory.

        rgb: (H, W, 3) uint8. odom_pose: (x, y, yaw) of the robot in the odom frame when the image was taken; only
        its motion since the last update is used, so that distance from the origin costs no precision. Raises
        ``ValueError`` and changes nothing if either is not usable, or if the image has another aspect than the
        camera of ``set_camera``. After ``load(path, localize=True)`` nothing is written until the memory is ``localized``.
        """
        mount = self._mount  # once: another thread may set another one
        odometry = torch.from_numpy(mount.camera_pose(_checked_pose(odom_pose))).to(self._device)
        with torch.inference_mode(), self._writing:
            view = self._view(rgb, self._own_camera(rgb), mount)
            if self._seeking is not None and not self._seek(self._seeking, view, odometry, mount.z):
                return
            self._state = self._network.update(self._state, view, odometry, mount.z)

    def locate(self, query_rgb: RGB, hfov: float | None = None, camera: Intrinsics | None = None) -> Estimate:
        """Where was this photo taken?

        query_rgb: (H, W, 3) uint8. A photo by the robot's own camera is answered with where the robot was. For one that
        another camera took give its ``camera``, or ``hfov``, its horizontal field of view in radians: the answer is then
        the ground pose from where it was taken, whatever its height and tilt. Raises ``EmptyMemoryError`` before the
        first update, ``NotLocalizedError`` until the memory is ``localized``, and ``ValueError`` for an image that is not usable, or that without either has another aspect than
        the camera of ``set_camera``.
        """
        state, mount = (
            self._state,
            self._mount,
        )  # a snapshot: an update replaces the state, it never changes it
        if int(state.updates) == 0:
            raise EmptyMemoryError("the memory is empty: drive the robot (update) before asking")
        missing = self.missing
        if missing:
            raise NotLocalizedError(f"the memory does not know yet where the robot is: {missing}")
        height, width = _checked_image(query_rgb).shape[:2]
        if camera is None and hfov is not None:
            camera = Intrinsics.from_hfov(width, height, hfov)
        same = camera is None
        with torch.inference_mode():
            photo = self._view(query_rgb, camera or self._own_camera(query_rgb), mount if same else None)
            answers = self._network.locate(state, photo, mount.z if same else None)
        best, *others = [_of_robot(answer, mount, same) for answer in answers[: 1 + MAX_ALTERNATIVES]]
        odom_T_robot = geometry.compose(state.odometry.cpu().numpy(), geometry.inverse(mount.planar))
        return Estimate(
            pose=best.pose,
            covariance=best.covariance,
            seen=answers[0].seen,
            confidence=best.confidence,
            alternatives=tuple(others),
            odom_pose=as_pose(geometry.compose(odom_T_robot, best.pose)),
            num_updates=int(state.updates),
        )

    def reset(self) -> None:
        """Forget everything."""
        with self._writing:
            self._state = self._network.empty()
            self._seeking = None

    def localize(self) -> None:
        """From the next update on the odometry is another one: the memory is not written until it is ``localized`` again."""
        with self._writing:
            self._seek_in(self._state)

    @property
    def localized(self) -> bool:
        """Whether the memory knows where the robot is: always, but for some time after ``load(path, localize=True)``."""
        return not self.missing

    @property
    def missing(self) -> str:
        """What is needed until the memory is ``localized``, in words; "" once it is."""
        seeking = self._seeking
        if seeking is None or seeking.anchoring.memory_T_odom is not None:
            return ""
        return seeking.anchoring.missing

    @property
    def state_bytes(self) -> int:
        """Size of the latent memory; the same before the first update and after the millionth."""
        return self._state.num_bytes

    @property
    def num_updates(self) -> int:
        """Frames folded in since the last ``reset``, those of a loaded memory included."""
        return int(self._state.updates)

    @property
    def viewpoints(self) -> Array:
        """Poses (P, 3) of the camera at the places that the embeddings hold, in the robot's camera's frame at the last update."""
        state = self._state
        return geometry.between(state.robot.cpu().numpy(), state.viewpoints.cpu().numpy())

    @property
    def device(self) -> torch.device:
        """Where the network and the memory are."""
        return self._device

    def save(self, path: str | Path) -> None:
        """Write the latent memory (not the network) atomically, for the user's own eyes. Raises ``OSError``."""
        state = self._state
        metadata = {"format": STATE_FORMAT, "version": STATE_VERSION, "network": self._hash}
        write_tensors(Path(path), state.tensors(), metadata, mode=0o600)

    def load(self, path: str | Path, localize: bool = False) -> None:
        """Replace the latent memory by a saved one; on ``CheckpointError`` the present one stays.

        The odometry of later updates must be in the odom frame in which the memory was saved. Where it is not, because the
        robot was switched off, carried, or is another one, ``localize``: views are then asked of the memory, and not
        written, until enough of them agree where the robot is.
        """
        tensors, metadata = read_tensors(Path(path), STATE_FORMAT, STATE_VERSION, self._state.tensors())
        if metadata.get("network") != self._hash:
            raise CheckpointError(
                f"{path}: saved with another network; load the checkpoint that it was made with"
            )
        state = self._network.restored({n: t.to(self._device) for n, t in tensors.items()})
        try:
            state.check()
        except InputError as error:
            raise CheckpointError(f"{path}: not written by this program: {error}") from error
        with self._writing:
            self._seeking = None
            if localize:
                self._seek_in(state)
            self._state = state

    def _seek_in(self, state: Memory) -> None:
        """Where the robot is in ``state`` is not known; in an empty memory there is nothing to find."""
        if not int(state.updates):
            self._seeking = None
        elif isinstance(state, TokenMemory):
            self._seeking = _Seeking(state)
        else:
            raise InputError(CANNOT_FIND_ITSELF)

    def _seek(self, seeking: _Seeking, view: Tokens, odometry: Tensor, height: float) -> bool:
        """Ask a view of the loaded memory; returns whether it is known where the view was taken, so that it may be written."""
        anchoring, odom_T_view = seeking.anchoring, odometry.cpu().numpy()
        if not anchoring.wants(odom_T_view):
            return anchoring.memory_T_odom is not None
        before, loaded = anchoring.memory_T_odom, seeking.loaded
        answer = self._network.locate(loaded, view, height)[0]
        memory_T_view = geometry.compose(loaded.robot.cpu().numpy(), answer.pose.cpu().numpy())
        anchoring.add(View(odom_T_view, memory_T_view, answer.confidence))
        found = anchoring.memory_T_odom
        if found is None:
            self._state, seeking.proving = loaded, PROVING
        elif before is None:
            memory_T_camera = torch.from_numpy(geometry.compose(found, odom_T_view)).to(self._device)
            self._state = relocate(loaded, memory_T_camera, odometry)
        else:
            seeking.proving -= 1
            if seeking.proving == 0:
                self._seeking = None
        return found is not None

    def _own_camera(self, rgb: RGB) -> Intrinsics:
        """The robot's camera at the image's resolution."""
        height, width = _checked_image(rgb).shape[:2]
        camera = self._camera
        if camera is None:
            return Intrinsics.from_hfov(width, height, self._hfov)
        if not camera.has_aspect(width, height):
            raise InputError(
                f"image of {width} x {height} pixels: another aspect than the {camera.width} x {camera.height} "
                "of set_camera. For the robot's own images call set_camera with their intrinsics; for a photo "
                "that another camera took, pass its hfov or camera to locate"
            )
        return camera

    def _view(self, rgb: RGB, camera: Intrinsics, mount: Mount | None) -> Tokens:
        tensor = torch.from_numpy(np.ascontiguousarray(_checked_image(rgb))).to(self._device)
        return self._network.view(tensor, camera, mount)


def _of_robot(answer: Answer, mount: Mount, same_camera: bool) -> Alternative:
    """The answer for the robot's base instead of its camera, in the frame of the base."""
    assert answer.covariance is not None
    pose = geometry.compose(mount.planar, answer.pose.cpu().numpy())
    covariance = geometry.rotate_covariance(answer.covariance.cpu().numpy(), mount.yaw)
    if same_camera:
        pose, covariance = mount.base_pose(pose, covariance)
    return Alternative(as_pose(pose), covariance, answer.confidence)


def _checked_pose(odom_pose: ArrayLike) -> Array:
    pose = np.asarray(odom_pose, dtype=np.float64)
    if pose.shape != (3,):
        raise InputError(f"odometry pose of shape {pose.shape}: it must be (x, y, yaw)")
    if not np.isfinite(pose).all() or np.abs(pose[:2]).max() > MAX_COORDINATE:
        raise InputError(f"odometry pose {pose.tolist()} is not finite or beyond 10,000 km")
    return pose


def _checked_image(rgb: RGB) -> RGB:
    rgb = np.asarray(rgb)
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise InputError(f"image of shape {rgb.shape} and type {rgb.dtype}: it must be (H, W, 3) uint8 RGB")
    if min(rgb.shape[:2]) < MIN_SIDE:
        raise InputError(
            f"image of {rgb.shape[1]} x {rgb.shape[0]} pixels: it must be at least {MIN_SIDE} x {MIN_SIDE}"
        )
    return rgb
