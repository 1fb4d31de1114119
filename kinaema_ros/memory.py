"""The library's front door: ``SpatialMemory``."""

from __future__ import annotations

import math
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from kinaema_ros import geometry, memory_file
from kinaema_ros.baselines.network import load_network
from kinaema_ros.camera import Intrinsics, Mount
from kinaema_ros.comparison import Comparison
from kinaema_ros.errors import InputError, KinaemaError
from kinaema_ros.estimate import Estimate, Localization, Place, as_pose
from kinaema_ros.geometry import Array
from kinaema_ros.images import RGB, checked_image
from kinaema_ros.memory_file import SavedRobot
from kinaema_ros.model import place_poses
from kinaema_ros.model.answer import as_estimate, of_base
from kinaema_ros.model.checkpoint import CheckpointError
from kinaema_ros.model.kind import Memory, Network
from kinaema_ros.model.mount_check import MountCheck, MountError
from kinaema_ros.model.places import checked_name
from kinaema_ros.model.seeking import Seeking
from kinaema_ros.model.token_memory import TokenMemory
from kinaema_ros.model.tokens import Tokens
from kinaema_ros.odometry import LEVEL, OdomFrame, checked_odometry, checked_tilt

HFOV = math.radians(90.0)  # of a camera that nobody has described
UNKNOWN_SIZE = (4, 3)  # the aspect of its images


class EmptyMemoryError(KinaemaError, RuntimeError):
    """A question before the first ``update``."""


class NotLocalizedError(KinaemaError, RuntimeError):
    """A question while a loaded memory does not know yet where the robot is."""


class OdomFrameError(CheckpointError):
    """A memory that was saved with odometry in another frame, and is to go on without localizing."""


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
        self._stood: Mount | None = None  # the mount at the last update, against a level base
        self._writing = threading.RLock()
        self._state: Memory = network.empty()
        self._seeking: Seeking | None = None
        self._mount_check = MountCheck()
        self.num_lifts = 0  # how often views have shown that the robot is elsewhere than its odometry said

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path,
        device: torch.device | str = "cpu",
        hfov: float | None = None,
        num_embeddings: int | None = None,
    ) -> SpatialMemory:
        """Raises ``CheckpointError`` (a ``ValueError``) for a missing, damaged or foreign file.

        num_embeddings: N, about one for each square metre; None: the checkpoint's. ``InputError`` for a number below 16 or
        above 65536, ``CheckpointError`` for a checkpoint of the paper's memory, whose number is fixed.
        """
        network, metadata = load_network(path, device, num_embeddings)
        return cls(network, metadata["sha256"], hfov, device)

    def set_camera(self, camera: Intrinsics, mount: Mount | None = None) -> None:
        """The camera of the images to come, with its lens, and where it is on the robot (None: at its origin, level).

        Images may have another resolution than the camera, but not another aspect. Another mount than before is a better
        knowledge of it, no motion of the camera.
        """
        mount = mount or Mount()
        with self._writing:
            if mount != self._mount:
                self._mount_check = MountCheck()
                self._state = _mounted(self._state, self._mount, mount)
            self._camera, self._mount = camera, mount

    def update(self, rgb: RGB, odom_pose: ArrayLike, tilt: tuple[float, float] = LEVEL) -> None:
        """Fold one frame into the memory.

        rgb: (H, W, 3) uint8. odom_pose: (x, y, yaw) of the robot in the odom frame when the image was taken; only
        its motion since the last update is used, so that distance from the origin costs no precision. tilt: roll and pitch of
        the base in radians (pitch > 0: down), where odometry carries them. Raises
        ``ValueError`` and changes nothing if either is not usable, or if the image has another aspect than the
        camera of ``set_camera``. After ``load(path, localize=True)`` nothing is written until the memory is ``localized``.
        """
        mount = self._mount.on_tilted_base(*checked_tilt(tilt))  # once: another thread may set another one
        odometry = torch.from_numpy(mount.camera_pose(checked_odometry(odom_pose))).to(self._device)
        with torch.inference_mode(), self._writing:
            view = self._view(rgb, mount)
            self._mount_check.add(view, odometry)
            if self._seeking is not None and not self._seek(self._seeking, view, odometry, mount.z):
                return
            before = self._state
            self._stood, self._state = mount, self._network.update(before, view, odometry, mount.z)
            if self._seeking is None and not self._network.continues(before, self._state, view):
                self._seeking = Seeking(_that_finds_itself(before), doubted=True)
                self._seek(self._seeking, view, odometry, mount.z)

    def locate(self, query_rgb: RGB, hfov: float | None = None, camera: Intrinsics | None = None) -> Estimate:
        """Where was this photo taken?

        query_rgb: (H, W, 3) uint8. A photo by the robot's own camera is answered with where the robot was. For one that
        another camera took give its ``camera``, or ``hfov``, its horizontal field of view in radians: the answer is then
        the ground pose from where it was taken, whatever its height and tilt. Raises ``EmptyMemoryError`` before the
        first update, ``NotLocalizedError`` until the memory is ``localized``, and ``ValueError`` for an image that is not
        usable, or that without either has another aspect than the camera of ``set_camera``.
        """
        state, stood = self._known()
        with torch.inference_mode():
            photo, mount = self._photo(query_rgb, hfov, camera)
            answers = self._network.locate(state, photo, mount.z if mount else None)
        return as_estimate(answers, state, stood, mount)

    def add_place(
        self,
        name: str,
        photo: RGB | None = None,
        hfov: float | None = None,
        camera: Intrinsics | None = None,
        odom_pose: ArrayLike | None = None,
    ) -> bool:
        """Give a place a name: where the robot was at the last update, where a photo was taken, or an ``odom_pose``.

        name: 1 to 64 characters, none of them a control character; kept in composed form (NFC). photo, hfov, camera: as in
        ``locate``. odom_pose: (x, y, yaw) of the robot in the odom frame. Returns whether another place had the name, which
        is replaced. The place is kept with the memory and moves with it, also where it turns out later that the robot had been
        lifted. Raises ``UnsurePlaceError`` for a photo that is not recognised surely, ``ValueError`` for a name or an image that
        is not usable, a pose that the robot was never near, and where there are 256 places, and else as ``locate``.
        """
        name = checked_name(name)
        if photo is not None and odom_pose is not None:
            raise InputError("a place is where a photo was taken or an odom_pose, not both; pass one of them")
        with torch.inference_mode(), self._writing:
            state, stood = self._known()
            network, memory = place_poses.with_places(self._network, state)
            found = None if photo is None else self.locate(photo, hfov, camera)
            odom_T_place = None if odom_pose is None else checked_odometry(odom_pose)
            self._state = place_poses.add_for_robot(network, memory, stood, name, found, odom_T_place)
            if self._seeking is not None:
                self._seeking.add_place(network, self._state, name)
            return name in memory.places.rows()

    @property
    def places(self) -> dict[str, Place]:
        """The places that have names, sorted by them."""
        return place_poses.listed(self._state, self.localized)

    def locate_place(self, name: str) -> Estimate:
        """Where is the place of this name? ``seen`` is 1; ``confidence`` is less where the robot's odometry has drifted.

        Raises ``NoSuchPlaceError``, ``ForgottenPlaceError`` where its surroundings are no longer in memory, and as ``locate``.
        """
        state, stood = self._known()
        with torch.inference_mode():
            answer = place_poses.locate(*place_poses.with_places(self._network, state), name)
        return as_estimate([answer], state, stood, None)

    def remove_place(self, name: str) -> None:
        """Forget the name of a place. Raises ``NoSuchPlaceError``."""
        with torch.inference_mode(), self._writing:
            _, memory = place_poses.with_places(self._network, self._state)
            self._state = place_poses.remove(memory, name)
            if self._seeking is not None:
                self._seeking.remove_place(name)

    def compare(
        self,
        photo_rgb: RGB,
        view_rgb: RGB,
        odom_pose: ArrayLike,
        hfov: float | None = None,
        camera: Intrinsics | None = None,
        tilt: tuple[float, float] = LEVEL,
    ) -> Comparison:
        """Does the robot, that sees ``view_rgb``, stand where this photo was taken?

        view_rgb, odom_pose and tilt are as in ``update``, but nothing is written; photo_rgb, hfov and camera are as in ``locate``,
        but the photo is compared with the view and the newest updates alone, not with the memory. Raises as these do.
        """
        # Once: an update may come meanwhile.
        state, mount = self._state, self._mount.on_tilted_base(*checked_tilt(tilt))
        if int(state.updates) == 0:
            raise EmptyMemoryError("the memory is empty: drive the robot (update) before comparing")
        odometry = torch.from_numpy(mount.camera_pose(checked_odometry(odom_pose))).to(self._device)
        with torch.inference_mode():
            view = self._view(view_rgb, mount)
            photo, taken = self._photo(photo_rgb, hfov, camera)
            comparison = self._network.compare(
                state, view, odometry, mount.z, photo, taken.z if taken else None
            )
        if comparison.pose is None or comparison.covariance is None:
            return comparison
        pose, covariance = of_base(np.array(comparison.pose), comparison.covariance, mount, taken)
        return replace(comparison, pose=as_pose(pose), covariance=covariance)

    def localization(self) -> Localization | None:
        """Where the robot is, by the drift-corrected memory.

        None before the first update, while not ``localized``, and of a kind of memory that does not correct its odometry.
        """
        state, mount, missing = self._snapshot()
        if int(state.updates) == 0 or missing:
            return None
        with torch.inference_mode():
            of_camera = self._network.localization_covariance(state)
        if of_camera is None:
            return None
        memory_T_robot, covariance = mount.base_pose(state.robot.cpu().numpy(), of_camera.cpu().numpy())
        odom_T_robot = geometry.compose(state.odometry.cpu().numpy(), geometry.inverse(mount.planar))
        return Localization(as_pose(memory_T_robot), covariance, as_pose(odom_T_robot))

    def reset(self) -> None:
        """Forget everything."""
        with self._writing:
            self._stood, self._state = None, self._network.empty()
            self._seeking = None

    def localize(self) -> None:
        """From the next update on the odometry is another one: the memory is not written until it is ``localized`` again."""
        with self._writing:
            self._seek_in(self._state)

    @property
    def localized(self) -> bool:
        """Whether the memory knows where the robot is.

        Always, but for some time after ``load(path, localize=True)``, ``localize()``, or a lift that its views have shown.
        """
        return not self.missing

    @property
    def missing(self) -> str:
        """What is needed until the memory is ``localized``, in words; "" once it is."""
        seeking = self._seeking
        return "" if seeking is None else seeking.missing

    @property
    def state_bytes(self) -> int:
        """Size of the latent memory; the same before the first update and after the millionth."""
        return self._state.num_bytes

    @property
    def num_updates(self) -> int:
        """Frames folded in since the last ``reset``, those of a loaded memory included."""
        return int(self._state.updates)

    @property
    def camera(self) -> Intrinsics | None:
        """Of ``set_camera``, or of the memory that was loaded; None: nobody has described it."""
        return self._camera

    @property
    def mount(self) -> Mount:
        """Where that camera is on the robot."""
        return self._mount

    def check_mount(self) -> MountError | None:
        """See whether the camera looks where its mount says, by the newest straight stretch of the way.

        Takes some milliseconds; call it after an ``update``, when there is time. Returns by how much the mount's yaw is off, by up to 64
        stretches; None before 24 of them, and where none has ended since the last call.
        """
        with torch.inference_mode():
            return self._mount_check.look(self._network)

    @property
    def mount_error(self) -> MountError | None:
        """What ``check_mount`` knows by all of the newest stretches."""
        return self._mount_check.error

    @property
    def viewpoints(self) -> Array:
        """Poses (P, 3) of the camera at the places that the embeddings hold, in the robot's camera's frame at the last update."""
        return _viewpoints(self._state)

    @property
    def odom_viewpoints(self) -> Array:
        """The same in the odom frame: those poses (P, 3) of the camera, as they are known by the last update."""
        state = self._state
        return geometry.compose(state.odometry.cpu().numpy(), _viewpoints(state))

    @property
    def device(self) -> torch.device:
        """Where the network and the memory are."""
        return self._device

    def save(self, path: str | Path, odom: OdomFrame | None = None) -> None:
        """Write the latent memory (not the network) and its camera atomically, for the user's own eyes. Raises ``OSError``.

        Where odometry is doubted and views say that the robot is elsewhere, what was written since then is not saved.

        odom: of ``update``'s poses, for ``load`` to compare with and to return.
        """
        with self._writing:
            state, localized, seeking = self._state, self.localized, self._seeking
            if seeking is not None and seeking.contradicts(state):
                state, localized = seeking.asked, False
            mount = None if self._camera is None else self._mount
            robot = SavedRobot(self._camera, mount, odom, localized)
        memory_file.write(Path(path), state, self._hash, robot)

    def load(self, path: str | Path, localize: bool = False, odom_frame: str = "") -> OdomFrame | None:
        """Replace the latent memory by a saved one; on ``CheckpointError`` the present one stays.

        One of fewer embeddings than this memory has is taken in, and has then room for more; one of more is refused.

        The odometry of later updates must be in the odom frame in which the memory was saved. Where it is not, because the
        robot was switched off, carried, or is another one, ``localize``: views are then asked of the memory, and not
        written, until enough of them agree where the robot is. A memory that was saved while it was not ``localized`` does so
        in any case.

        odom_frame: name of the frame of this robot's odometry, "" if it is not known. Raises ``OdomFrameError``, a
        ``CheckpointError``, if the memory was saved with odometry in another one, unless it is to ``localize``. Returns
        what was told ``save`` of the odometry. The memory's camera counts until ``set_camera``, where there was none.
        """
        state, robot = memory_file.read(Path(path), self._network, self._hash)
        localize = localize or not robot.localized
        saved = robot.odom.name if robot.odom is not None else ""
        if not localize and saved and odom_frame not in ("", saved):
            raise OdomFrameError(
                f"{path}: saved with odometry in the frame {saved!r}, and now it comes in {odom_frame!r}, so where the "
                "robot is in it is not known: load it with localize, and the robot is looked for by what its camera sees"
            )
        with self._writing:
            self._seeking = None
            if localize:
                self._seek_in(state)
            if self._camera is None and robot.camera is not None:
                self.set_camera(robot.camera, robot.mount)
            self._stood, self._state = None, state  # whose odometry is by that mount already
        return robot.odom

    def _seek_in(self, state: Memory) -> None:
        """Where the robot is in ``state`` is not known; in an empty memory there is nothing to find."""
        self._seeking = Seeking(_that_finds_itself(state)) if int(state.updates) else None

    def _seek(self, seeking: Seeking, view: Tokens, odometry: Tensor, height: float) -> bool:
        """Ask a view where the robot is; returns whether that is known, so that the view may be written."""
        doubted = seeking.doubted
        self._state = seeking.look(self._network, _that_finds_itself(self._state), view, odometry, height)
        self.num_lifts += doubted and not seeking.doubted
        if seeking.left == 0:
            self._seeking = None
        return not seeking.missing

    def _known(self) -> tuple[Memory, Mount]:
        """A snapshot (an update replaces the state, it never changes it) in which it is known where the robot is.

        The memory, and the mount when the robot last saw something.
        """
        state, stood, missing = self._snapshot()
        if int(state.updates) == 0:
            raise EmptyMemoryError("the memory is empty: drive the robot (update) before asking")
        if missing:
            raise NotLocalizedError(f"the memory does not know yet where the robot is: {missing}")
        return state, stood

    def _snapshot(self) -> tuple[Memory, Mount, str]:
        """The memory, the mount when the robot last saw something, and what is ``missing``: three that belong together."""
        state, stood, seeking = self._state, self._stood or self._mount, self._seeking
        if seeking is None:
            return state, stood, ""
        with self._writing:  # a view that tells where the robot is changes one after the other
            return self._state, self._stood or self._mount, self.missing

    def _own_camera(self, rgb: RGB) -> Intrinsics:
        """The robot's camera at the image's resolution."""
        height, width = checked_image(rgb).shape[:2]
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

    def _photo(self, rgb: RGB, hfov: float | None, camera: Intrinsics | None) -> tuple[Tokens, Mount | None]:
        """A photo's tokens, and the mount of the robot's own camera, if that took it; None: another one did."""
        height, width = checked_image(rgb).shape[:2]
        if camera is None and hfov is not None:
            camera = Intrinsics.from_hfov(width, height, hfov)
        if camera is not None and not camera.has_aspect(width, height):
            raise InputError(
                f"photo of {width} x {height} pixels: another aspect than its camera's {camera.width} x {camera.height}; pass "
                "the camera that took it, turned as the photo is, or its hfov"
            )
        if camera is None:
            mount = self._mount
            return self._view(rgb, mount), mount
        robots = self._camera or Intrinsics.from_hfov(*UNKNOWN_SIZE, self._hfov)
        return self._network.photo(self._tensor(rgb), camera, robots), None

    def _view(self, rgb: RGB, mount: Mount) -> Tokens:
        """What an image of the robot's own camera shows."""
        camera = self._own_camera(rgb)
        return self._network.view(self._tensor(rgb), camera, mount)

    def _tensor(self, rgb: RGB) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(checked_image(rgb))).to(self._device)


def _mounted(state: Memory, before: Mount, now: Mount) -> Memory:
    """The memory as if the camera's mount had been taken for ``now`` at the last update; the paper's takes it for a motion."""
    if not isinstance(state, TokenMemory) or int(state.updates) == 0:
        return state
    odom_T_robot = geometry.compose(state.odometry.cpu().numpy(), geometry.inverse(before.planar))
    odom_T_camera = torch.from_numpy(geometry.compose(odom_T_robot, now.planar))
    return replace(state, odometry=odom_T_camera.to(state.odometry))


def _viewpoints(state: Memory) -> Array:
    return geometry.between(state.robot.cpu().numpy(), state.viewpoints.cpu().numpy())


def _that_finds_itself(state: object) -> TokenMemory:
    if not isinstance(state, TokenMemory):
        raise InputError(
            "this kind of memory cannot find out where the robot is when its odometry begins anew; reset it, go on with the "
            "odometry that it was saved with, or use a checkpoint of local tokens, such as the shipped one"
        )
    return state
