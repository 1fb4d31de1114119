"""The file of a saved memory: its tensors, and what they were made with: network, camera and odometry."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kinaema_ros.camera import Intrinsics, Mount
from kinaema_ros.errors import InputError
from kinaema_ros.estimate import as_pose
from kinaema_ros.model.checkpoint import CheckpointError, read_tensors, write_tensors
from kinaema_ros.model.kind import Memory
from kinaema_ros.odometry import OdomFrame

FORMAT = "kinaema-memory"
VERSION = 6


@dataclass(frozen=True)
class SavedRobot:
    """None where the file does not say: it is older, or nobody told the memory."""

    camera: Intrinsics | None = None
    mount: Mount | None = None
    odom: OdomFrame | None = None

    def to_json(self) -> dict[str, Any]:
        """What ``from_json`` reads."""
        return {name: None if part is None else asdict(part) for name, part in vars(self).items()}

    @classmethod
    def from_json(cls, robot: Any) -> SavedRobot:
        """Raises ``InputError`` for values that no robot has: a file may say anything."""
        if robot is None:
            return cls()
        try:
            camera, mount, odom = robot["camera"], robot["mount"], robot["odom"]
            _check_finite("the camera's mount", (mount or {}).values())
            return cls(
                camera and Intrinsics(**{**camera, "distortion": tuple(camera["distortion"])}),
                mount and Mount(**mount),
                odom and OdomFrame(odom["name"], as_pose(odom["memory_T_odom"]), odom["run"]),
            )
        except InputError:
            raise
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise InputError(f"what it says of camera and odometry cannot be read ({error})") from error


def _check_finite(what: str, values: Any) -> None:
    if not all(math.isfinite(value) for value in values):
        raise InputError(f"{what} is not finite")


def write(path: Path, state: Memory, network: str, robot: SavedRobot) -> None:
    """Write atomically, for the user's own eyes. network: the hash of its checkpoint. Raises ``OSError``."""
    metadata = {"format": FORMAT, "version": VERSION, "network": network, "robot": robot.to_json()}
    write_tensors(path, state.tensors(), metadata, mode=0o600)


def read(path: Path, like: Memory, network: str) -> tuple[Memory, SavedRobot]:
    """A memory with the layout of ``like``, on its device. Raises ``CheckpointError`` for one that ``network`` did not make."""
    tensors, metadata = read_tensors(path, FORMAT, VERSION, like.tensors())
    if metadata.get("network") != network:
        raise CheckpointError(
            f"{path}: saved with another network; load the checkpoint that it was made with"
        )
    state = like.from_tensors({name: tensor.to(like.odometry.device) for name, tensor in tensors.items()})
    try:
        state.check()
        return state, SavedRobot.from_json(metadata.get("robot"))
    except InputError as error:
        raise CheckpointError(f"{path}: not written by this program: {error}") from error
