"""Answering a query: photo in, pose in the frame asked for out."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from kinaema_interfaces.srv import AddPlace, CompareView, QueryPose
from kinaema_ros import geometry
from kinaema_ros.camera import MAX_HFOV_DEG, MIN_HFOV_DEG, Intrinsics
from kinaema_ros.errors import BadInput, ForgottenPlaceError, KinaemaError
from kinaema_ros.estimate import Estimate
from kinaema_ros.geometry import Array
from kinaema_ros.images import RGB
from kinaema_ros.nodes.memory.inputs import MemoryInputs
from kinaema_ros.nodes.support import messages
from kinaema_ros.photos import photo_camera

if TYPE_CHECKING:  # torch takes seconds to load
    from kinaema_ros.memory import SpatialMemory


@dataclass(frozen=True)
class Situation:
    """A memory that can be asked, and where the robot is by its newest odometry."""

    memory: SpatialMemory
    odom_frame: str
    stamp: int  # nanoseconds
    odom_T_base: Array  # (3,)
    memory_T_odom: Array  # (3,)

    def odom_pose(self, memory_pose: ArrayLike) -> Array:
        """A pose (3,) of the frame that the memory calls odom in the odometry's own."""
        return geometry.between(self.memory_T_odom, memory_pose)


def situation(inputs: MemoryInputs) -> Situation:
    """The present one; raises ``BadInput`` for one that has no answer."""
    # Each once, the frame before the pose: a cleanup or a reset in another thread empties them.
    odom_frame = inputs.odom_frame
    now = inputs.tracker.now()
    memory = localized_memory(inputs)
    if now is None or not odom_frame:
        raise BadInput(
            "query_without_odometry",
            "there is no odometry, so where the robot is now is not known; check its publisher, or remap "
            "odom",
        )
    return Situation(memory, odom_frame, *now)


def locate(inputs: MemoryInputs, request: QueryPose.Request) -> Estimate:
    """Asks the memory; raises ``BadInput`` for a request or a situation that has no answer."""
    photo = messages.photo_or_none(request, bool(request.place))
    now = situation(inputs)
    try:
        if photo is None:
            estimate = now.memory.locate_place(request.place)
        else:
            estimate = now.memory.locate(photo, camera=camera_of(inputs, now.memory, photo, request))
    except BadInput:
        raise
    except LookupError as error:
        gone = isinstance(error, ForgottenPlaceError)
        raise BadInput("place_forgotten" if gone else "no_such_place", str(error)) from error
    except KinaemaError as error:  # also where it was emptied since the check above
        raise BadInput("query_failed", f"the memory could not answer: {error}") from error
    assert estimate.odom_pose is not None
    # From the robot's frame at the memory's last update to the odometry's, and from there to the one asked for.
    memory_T_robot = geometry.compose(estimate.odom_pose, geometry.inverse(estimate.pose))
    frame_T_odom, frame_id = frame(inputs, request.frame_id, now)
    frame_T_robot = geometry.compose(frame_T_odom, now.odom_pose(memory_T_robot))

    def to_frame(pose: Array, covariance: Array) -> tuple[Array, Array]:
        return (
            geometry.compose(frame_T_robot, pose),
            geometry.rotate_covariance(covariance, frame_T_robot[2]),
        )

    return replace(estimate.moved(to_frame), odom_pose=None, frame_id=frame_id, stamp_ns=now.stamp)


def localized_memory(inputs: MemoryInputs) -> SpatialMemory:
    """The memory, where it can be asked. Raises ``BadInput`` where it cannot."""
    memory = inputs.memory  # once: a cleanup in another thread sets it to None
    if memory is None or not inputs.active:
        raise BadInput("query_inactive", "the node is not active; configure and activate it first")
    if memory.num_updates == 0:
        raise BadInput(
            "query_before_update",
            "nothing is remembered yet: drive the robot with camera and odometry running; ~/status says "
            "what is missing",
        )
    if inputs.tracker.held_by:
        raise BadInput(
            "query_on_hold", f"the robot's place in its memory is not known: waiting for {inputs.missing()}"
        )
    if not memory.localized:
        raise BadInput(
            "query_localizing", f"where the robot is in its memory is not known yet: {memory.missing}"
        )
    return memory


def camera_of(
    inputs: MemoryInputs,
    memory: SpatialMemory,
    photo: RGB,
    request: QueryPose.Request | CompareView.Request | AddPlace.Request,
) -> Intrinsics | None:
    """The camera that took a request's photo; None: the robot's own."""
    height, width = photo.shape[:2]
    return photo_camera(
        bytes(request.compressed_image.data),
        width,
        height,
        inputs.known_camera(memory, width, height),
        asked=math.radians(_checked_hfov_deg(request.hfov_deg)),
        usual=math.radians(inputs.parameters.query_hfov_deg),
    )


def _checked_hfov_deg(asked_deg: float) -> float:
    if not (asked_deg == 0.0 or MIN_HFOV_DEG <= asked_deg <= MAX_HFOV_DEG):  # NaN too
        raise BadInput(
            "query_hfov",
            f"hfov_deg is {asked_deg:g}; it must be 0 or between {MIN_HFOV_DEG:g} and {MAX_HFOV_DEG:g}",
        )
    return asked_deg


def frame(inputs: MemoryInputs, name: str, now: Situation) -> tuple[Array, str]:
    """The pose (3,) of the odometry's frame in the one of this name ("": the base's), and its name."""
    if name == now.odom_frame:
        return np.zeros(3), name
    if name in ("", inputs.base_frame):
        return geometry.inverse(now.odom_T_base), name or inputs.base_frame
    map_T_odom = inputs.map_T_odom
    if name == inputs.parameters.memory_frame and map_T_odom is not None:
        return map_T_odom, name
    return inputs.frames.planar(name, now.odom_frame), name
