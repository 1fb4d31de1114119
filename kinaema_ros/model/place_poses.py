"""Where the places with names lie in a memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from kinaema_ros import geometry
from kinaema_ros.camera import Mount
from kinaema_ros.errors import ForgottenPlaceError, InputError, UnsurePlaceError
from kinaema_ros.estimate import Estimate, Place, as_pose
from kinaema_ros.geometry import Array
from kinaema_ros.metrics import MIN_CONFIDENCE, MIN_SEEN
from kinaema_ros.model import pose_graph
from kinaema_ros.model.answer import Answer, base_pose
from kinaema_ros.model.camera_pose import planar_rotation
from kinaema_ros.model.cell import RELOCATED_POSITION, RELOCATED_YAW
from kinaema_ros.model.judge import within
from kinaema_ros.model.kind import Memory, Network
from kinaema_ros.model.network import Kinaema, unmodelled
from kinaema_ros.model.places import Places
from kinaema_ros.model.pose_graph import NONE
from kinaema_ros.model.se2 import apart, between, compose
from kinaema_ros.model.token_memory import TokenMemory

SURROUNDINGS = 3.0  # metres from a place within which an embedding knows what it looks like
BY_THE_ROBOT = (
    0.5  # metres; of a place so near, odometry says where it lies, whatever older embeddings are near, too
)
LEAST_VARIANCE = 1e-6  # of a place against its embedding, m^2 and rad^2


def with_places(network: Network, memory: Memory) -> tuple[Kinaema, TokenMemory]:
    """The network and its memory, if they are of the kind that keeps places. Raises InputError."""
    if not (isinstance(network, Kinaema) and isinstance(memory, TokenMemory)):
        raise InputError(
            "this kind of memory keeps no named places; use a checkpoint of local tokens, such as the shipped one"
        )
    return network, memory


def listed(memory: Memory, localized: bool) -> dict[str, Place]:
    """The named places, sorted, with their poses in the odom frame where it is known where that lies in the memory."""
    if not isinstance(memory, TokenMemory):
        return {}
    there = in_memory(memory).tolist()
    odom_T_place = compose(memory.odometry, between(memory.robot, poses(memory))).cpu().numpy()
    return {
        name: Place(name, there[row], as_pose(odom_T_place[row]) if there[row] and localized else None)
        for name, row in sorted(memory.places.rows().items())
    }


def add_for_robot(
    network: Kinaema,
    memory: TokenMemory,
    mount: Mount,
    name: str,
    found: Estimate | None = None,
    odom_T_place: Array | None = None,
) -> TokenMemory:
    """``add``, by what is known of a robot with its camera at ``mount``.

    found: where its photo was taken, which must be sure: else UnsurePlaceError is raised. odom_T_place (3,): if there is
    none; None: here.
    """
    robot_T_place: Array = np.zeros(3)
    covariance, confidence = None, 1.0
    if found is not None:
        _refuse_unsure(found)
        robot_T_place, confidence = np.array(found.pose), found.confidence
        covariance = torch.from_numpy(geometry.rotate_covariance(found.covariance, -found.pose[2]))
        covariance = covariance.to(memory.pose.device)
    elif odom_T_place is not None:
        robot_T_place = geometry.between(base_pose(memory.odometry, mount), odom_T_place)
    memory_T_place = torch.from_numpy(geometry.compose(base_pose(memory.robot, mount), robot_T_place))
    return add(network, memory, name, memory_T_place.to(memory.pose.device), covariance, confidence)


def _refuse_unsure(found: Estimate) -> None:
    if found.seen < MIN_SEEN:
        raise UnsurePlaceError(
            f"the photo shows a place that is probably not in memory (seen with probability {found.seen:.2f}); drive past "
            "it first, or take another photo"
        )
    if found.confidence < MIN_CONFIDENCE:
        raise UnsurePlaceError(
            f"where the photo was taken is not sure enough (right with probability {found.confidence:.2f}); take another "
            "photo that shows more of the place"
        )


def poses(memory: TokenMemory) -> Tensor:
    """(P, 3) of the places in the memory's frame; of those without an embedding, anything."""
    return compose(memory.pose[memory.places.embedding.clamp_min(0)], memory.places.embedding_T_place)


def in_memory(memory: TokenMemory) -> Tensor:
    """(P,) bool: the places whose surroundings the memory knows."""
    embedding = memory.places.embedding
    anchored = (embedding != NONE) & (memory.count[embedding.clamp_min(0)] > 0)
    there = poses(memory)
    distance = torch.cdist(there[:, :2], memory.pose[:, :2])
    near = (distance < SURROUNDINGS) & (memory.count > 0)
    return anchored & near.any(-1)


def add(
    network: Kinaema,
    memory: TokenMemory,
    name: str,
    memory_T_place: Tensor,
    covariance: Tensor | None = None,
    confidence: float = 1.0,
) -> TokenMemory:
    """The memory with a place of this name, in the form of ``checked_name``, at memory_T_place (3,).

    covariance (3, 3): in the place's axes, of a photo's answer, as seen from the robot; None: the place is where it is
    said to be. Raises InputError where the robot was never near it.
    """
    nearest = memory.nearest(memory_T_place)
    distance, _ = apart(memory_T_place, memory.pose)
    if not bool(((memory.count > 0) & (distance < SURROUNDINGS)).any()):
        raise InputError(
            f"the robot was never within {SURROUNDINGS:g} m of there, so that the memory cannot keep the place; drive "
            "there, or choose a place that it has seen"
        )
    if covariance is None:
        if float(apart(memory_T_place, memory.robot)[0]) < BY_THE_ROBOT:
            nearest = memory.graph.anchor.clamp_min(0)
        own = torch.zeros(3, 3, dtype=torch.float64, device=nearest.device)
    else:  # what lies between the robot and the embedding now is added again when the place is asked for
        own = covariance - uncertainty(network, memory, nearest, between(memory.robot, memory_T_place))
    values, axes = torch.linalg.eigh(own)
    own = axes @ torch.diag(values.clamp_min(LEAST_VARIANCE)) @ axes.mT
    relative = between(memory.pose[nearest], memory_T_place)
    return replace(memory, places=memory.places.put(name, nearest, relative, own, confidence))


def is_of_before(network: Kinaema, memory: TokenMemory, embedding: Tensor, before: TokenMemory) -> bool:
    """Whether an embedding () of ``memory`` is in ``before``, an earlier state of it: nothing else has its number since."""
    limits = network.config.fold
    distance, turn = apart(memory.pose[embedding], before.pose[embedding])
    near = distance < limits.max_distance and turn < limits.max_angle
    return bool(near and before.count[embedding] > 0)


def take_over(memory: TokenMemory, places: Places, name: str) -> TokenMemory:
    """The memory with the place of this name that ``places`` has."""
    row = places.row(name)
    values = (places.embedding[row], places.embedding_T_place[row], places.covariance[row])
    return replace(memory, places=memory.places.put(name, *values, float(places.confidence[row])))


def move(memory: TokenMemory, name: str, memory_T_place: Tensor) -> TokenMemory:
    """The memory with a place of it at memory_T_place (3,), which odometry says from where the robot was found."""
    places = memory.places
    row = places.row(name)
    nearest = memory.nearest(memory_T_place)
    found = torch.tensor([RELOCATED_POSITION, RELOCATED_POSITION, RELOCATED_YAW]).to(memory_T_place)
    return replace(memory, places=places.put(
        name, nearest, between(memory.pose[nearest], memory_T_place),
        places.covariance[row] + torch.diag(found**2), float(places.confidence[row]),
    ))  # fmt: skip


def remove(memory: TokenMemory, name: str) -> TokenMemory:
    """The memory without the place of this name. Raises NoSuchPlaceError."""
    return replace(memory, places=memory.places.without(memory.places.row(name)))


def locate(network: Kinaema, memory: TokenMemory, name: str) -> Answer:
    """Where a place lies, in the frame of the robot's camera. Raises NoSuchPlaceError, ForgottenPlaceError."""
    row = memory.places.row(name)
    if not bool(in_memory(memory)[row]):
        raise ForgottenPlaceError(
            "what it looked like around this place is no longer in memory, so where it lies is not known; drive past it "
            "and add it again, or remove it"
        )
    places = memory.places
    pose = between(memory.robot, poses(memory)[row])
    turn = planar_rotation(pose[2])
    between_them = uncertainty(network, memory, places.embedding[row], pose)
    confidence = float(places.confidence[row]) * float(within(between_them))
    return Answer(pose, turn @ places.covariance[row] @ turn.mT + between_them, 1.0, confidence)


def uncertainty(network: Kinaema, memory: TokenMemory, embedding: Tensor, pose: Tensor) -> Tensor:
    """(3, 3), the same in all axes: what is not known between the robot and an embedding at about ``pose`` (3,) from it."""
    drift = pose_graph.drift(network.config.pose_graph, memory.graph, memory.pose, embedding[None])[0]
    return network.judge.drift_covariance(drift) + unmodelled(pose)
