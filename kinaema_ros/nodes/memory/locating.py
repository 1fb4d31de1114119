"""Answering a query: photo in, pose in the frame asked for out."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from kinaema_interfaces.srv import QueryPose
from kinaema_ros import geometry
from kinaema_ros.camera import Mount, level, photo_hfov
from kinaema_ros.errors import BadInput, KinaemaError
from kinaema_ros.estimate import Estimate, as_pose
from kinaema_ros.geometry import Array
from kinaema_ros.nodes.memory.inputs import MemoryInputs
from kinaema_ros.nodes.support import messages


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
    if now is None or not odom_frame:
        raise BadInput(
            "query_without_odometry",
            "there is no odometry, so where the robot is now is not known; check its publisher, or remap "
            "odom",
        )
    stamp, odom_T_base, memory_T_odom = now
    mount = inputs.mount()
    photo, hfov = _as_seen(inputs, mount, photo)
    try:
        estimate = memory.locate(photo, hfov=hfov)
    except KinaemaError as error:  # also where it was emptied since the check above
        raise BadInput("query_failed", f"the memory could not answer: {error}") from error
    # The estimate's covariance is in the robot's axes; turn it into the memory frame's with the pose.
    memory_T_query = np.array(estimate.odom_pose)
    turn = memory_T_query[2] - estimate.pose[2]
    covariance = geometry.rotate_covariance(estimate.covariance, turn)
    memory_T_query, covariance = mount.base_pose(memory_T_query, covariance)
    odom_T_query = geometry.between(memory_T_odom, memory_T_query)
    covariance = geometry.rotate_covariance(covariance, -memory_T_odom[2])
    pose, covariance, frame_id = _in_frame(
        inputs, request.frame_id, odom_frame, odom_T_base, odom_T_query, covariance
    )
    return Estimate(
        as_pose(pose), covariance, estimate.seen, estimate.num_updates, frame_id=frame_id, stamp_ns=stamp
    )


def _as_seen(
    inputs: MemoryInputs, mount: Mount, photo: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], float | None]:
    """The photo as a level camera would show it, and its field of view; None: that of the robot's camera."""
    height, width = photo.shape[:2]
    degrees, camera = inputs.parameters.query_hfov_deg, inputs.camera_in_use
    if degrees > 0.0:
        return photo, photo_hfov(width, height, math.radians(degrees))
    if camera is None:  # a loaded memory, and no image yet
        camera, _ = inputs.camera(width, height)
    if camera.has_aspect(width, height):  # the robot's, at whatever resolution
        return level(photo, camera.scaled_to(width, height), mount), None
    # Another camera's. Assume that it shows as much across its longer side as the robot's across its width.
    return photo, photo_hfov(width, height, camera.hfov)


def _in_frame(
    inputs: MemoryInputs,
    frame: str,
    odom_frame: str,
    odom_T_base: Array,
    odom_T_query: Array,
    covariance: Array,
) -> tuple[Array, Array, str]:
    if frame == odom_frame:
        return odom_T_query, covariance, frame
    if frame in ("", inputs.base_frame):
        frame_T_odom = geometry.inverse(odom_T_base)
    else:
        frame_T_odom = inputs.frames.planar(frame, odom_frame)
    return (
        geometry.compose(frame_T_odom, odom_T_query),
        geometry.rotate_covariance(covariance, frame_T_odom[2]),
        frame or inputs.base_frame,
    )
