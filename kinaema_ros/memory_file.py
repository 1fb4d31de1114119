"""The file of a saved memory: its tensors, and what they were made with: network, camera and odometry."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from kinaema_ros.camera import Intrinsics, Mount
from kinaema_ros.errors import InputError
from kinaema_ros.estimate import as_pose
from kinaema_ros.model.checkpoint import CheckpointError, Shapes, read_tensors, write_tensors
from kinaema_ros.model.kind import Memory, Network
from kinaema_ros.model.network import Kinaema
from kinaema_ros.model.token_memory import TokenMemory
from kinaema_ros.odometry import OdomFrame

FORMAT = "kinaema-memory"
VERSION = 8


@dataclass(frozen=True)
class SavedRobot:
    """None where the file does not say: it is older, or nobody told the memory."""

    camera: Intrinsics | None = None
    mount: Mount | None = None
    odom: OdomFrame | None = None
    localized: bool = True  # whether it was known where the robot is

    def to_json(self) -> dict[str, Any]:
        """What ``from_json`` reads."""
        return asdict(self)

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
                bool(robot.get("localized", True)),
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


def read(path: Path, network: Network, name: str) -> tuple[Memory, SavedRobot]:
    """A memory for ``network``, on its device; one of fewer embeddings has then free ones. name: the hash of its checkpoint.

    Raises ``CheckpointError`` for one that this checkpoint did not make, or that has more embeddings.
    """
    empty = network.empty()

    def layout(shapes: Shapes) -> dict[str, Tensor]:
        return _as_saved(path, network, shapes).tensors()

    tensors, metadata = read_tensors(path, FORMAT, VERSION, layout)
    if metadata.get("network") != name:
        raise CheckpointError(
            f"{path}: saved with another network; load the checkpoint that it was made with"
        )
    state = empty.from_tensors({name: tensor.to(network.device) for name, tensor in tensors.items()})
    try:
        state.check()
        robot = SavedRobot.from_json(metadata.get("robot"))
    except InputError as error:
        raise CheckpointError(f"{path}: not written by this program: {error}") from error
    return (state.enlarged(empty) if isinstance(state, TokenMemory) else state), robot


def _as_saved(path: Path, network: Network, shapes: Shapes) -> Memory:
    """An empty memory of as many embeddings as a file's, whose tensors have these shapes."""
    if not isinstance(network, Kinaema):
        return network.empty()
    room, saved = network.config.num_embeddings, math.prod(shapes.get("count", ()))
    if saved > room:
        raise CheckpointError(
            f"{path}: a memory of {saved} embeddings, for which this one of {room} has no room; the file is as it was. Set "
            f"num_embeddings (kinaema replay: --embeddings) to {saved} or more, and load it again"
        )
    return TokenMemory.empty(replace(network.config, num_embeddings=max(saved, 2)), network.device)
