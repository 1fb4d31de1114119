"""Answering a query: photo in, pose in the frame asked for out."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from kinaema_interfaces.srv import QueryPose
from kinaema_ros import geometry
from kinaema_ros.camera import MAX_HFOV_DEG, MIN_HFOV_DEG
from kinaema_ros.errors import BadInput, KinaemaError
from kinaema_ros.estimate import Estimate
from kinaema_ros.geometry import Array
from kinaema_ros.nodes.memory.inputs import MemoryInputs
from kinaema_ros.nodes.support import messages
from kinaema_ros.photos import photo_camera


def locate(inputs: MemoryInputs, request: QueryPose.Request) -> Estimate:
    """Asks the memory; raises ``BadInput`` for a request or a situation that has no answer."""
    photo = messages.query_to_rgb(request)
    # Each once, the frame before the pose: a cleanup or a reset in another thread empties them.
    memory, odom_frame = inputs.memory, inputs.odom_frame
    now = inputs.tracker.now()
    if memory is None or not inputs.active:
        raise BadInput("query_inactive", "the node is not active; configure and activate it first")
    if memory.num_updates == 0:
        raise BadInput(
            "query_before_update",
            "nothing is remembered yet: drive the robot with camera and odometry running; ~/status says "
            "what is missing",
        )
    if inputs.tracker.held:
        raise BadInput(
            "query_on_hold", f"the robot's place in its memory is not known: waiting for {inputs.missing()}"
        )
    if not memory.localized:
        raise BadInput(
            "query_localizing", f"where the robot is in its memory is not known yet: {memory.missing}"
        )
    if now is None or not odom_frame:
        raise BadInput(
            "query_without_odometry",
            "there is no odometry, so where the robot is now is not known; check its publisher, or remap "
            "odom",
        )
    stamp, odom_T_base, memory_T_odom = now
    height, width = photo.shape[:2]
    camera = photo_camera(
        bytes(request.compressed_image.data),
        width,
        height,
        inputs.known_camera(memory, width, height),
        asked=math.radians(_checked_hfov_deg(request.hfov_deg)),
        usual=math.radians(inputs.parameters.query_hfov_deg),
    )
    try:
        estimate = memory.locate(photo, camera=camera)
    except KinaemaError as error:  # also where it was emptied since the check above
        raise BadInput("query_failed", f"the memory could not answer: {error}") from error
    assert estimate.odom_pose is not None
    # From the robot's frame at the memory's last update to the odometry's, and from there to the one asked for.
    memory_T_robot = geometry.compose(estimate.odom_pose, geometry.inverse(estimate.pose))
    odom_T_robot = geometry.between(memory_T_odom, memory_T_robot)
    frame_T_odom, frame_id = _frame(inputs, request.frame_id, odom_frame, odom_T_base)
    frame_T_robot = geometry.compose(frame_T_odom, odom_T_robot)

    def to_frame(pose: Array, covariance: Array) -> tuple[Array, Array]:
        return (
            geometry.compose(frame_T_robot, pose),
            geometry.rotate_covariance(covariance, frame_T_robot[2]),
        )

    return replace(estimate.moved(to_frame), odom_pose=None, frame_id=frame_id, stamp_ns=stamp)


def _checked_hfov_deg(asked_deg: float) -> float:
    if not (asked_deg == 0.0 or MIN_HFOV_DEG <= asked_deg <= MAX_HFOV_DEG):  # NaN too
        raise BadInput(
            "query_hfov",
            f"hfov_deg is {asked_deg:g}; it must be 0 or between {MIN_HFOV_DEG:g} and {MAX_HFOV_DEG:g}",
        )
    return asked_deg


def _frame(inputs: MemoryInputs, frame: str, odom_frame: str, odom_T_base: Array) -> tuple[Array, str]:
    """The pose (3,) of the odometry's frame in the one asked for, and its name."""
    if frame == odom_frame:
        return np.zeros(3), frame
    if frame in ("", inputs.base_frame):
        return geometry.inverse(odom_T_base), frame or inputs.base_frame
    map_T_odom = inputs.map_T_odom
    if frame == inputs.parameters.memory_frame and map_T_odom is not None:
        return map_T_odom, frame
    return inputs.frames.planar(frame, odom_frame), frame
