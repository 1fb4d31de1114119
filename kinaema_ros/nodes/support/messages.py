"""Conversion between ROS messages and arrays.

Every function that reads a message checks it and raises ``BadInput`` with a reason to count by and a remedy
to show; what passes is safe to hand to the memory.
"""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Pose, PoseStamped, PoseWithCovariance, PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from numpy.typing import ArrayLike, NDArray
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from kinaema_interfaces.msg import Place as PlaceMessage
from kinaema_interfaces.srv import CompareView, QueryPose
from kinaema_ros import geometry, images
from kinaema_ros.camera import Intrinsics
from kinaema_ros.comparison import Comparison, Verdict
from kinaema_ros.errors import BadInput, InputError
from kinaema_ros.estimate import Alternative, Estimate, Place, as_pose
from kinaema_ros.geometry import Array
from kinaema_ros.nodes.support import bridge
from kinaema_ros.odometry import tilt_of
from kinaema_ros.stamps import NANOSECONDS

MAX_NAME = 255  # characters of a frame's name; it is repeated in every answer


def stamp_ns(stamp: Time) -> int:
    """Nanoseconds since the epoch of the stamp's clock."""
    return stamp.sec * NANOSECONDS + stamp.nanosec


def time_msg(nanoseconds: int) -> Time:
    """A stamp from nanoseconds since its clock's epoch."""
    return Time(sec=nanoseconds // NANOSECONDS, nanosec=nanoseconds % NANOSECONDS)


def check_stamp(stamp: Time, now: int, tolerance: float, kind: str) -> int:
    """The stamp in nanoseconds if it can be used; ``now`` is the node's clock, ``tolerance`` in seconds.

    An old stamp is fine (a bag is old). One from the future would make every later message look late.
    """
    nanoseconds = stamp_ns(stamp)
    if nanoseconds <= 0:
        raise BadInput(
            f"{kind}_stamp_zero",
            f"the {kind} message has no time in header.stamp; its publisher must fill it, or it cannot be "
            "paired",
        )
    ahead = (nanoseconds - now) / NANOSECONDS
    if ahead > tolerance:
        raise BadInput(
            f"{kind}_stamp_future",
            f"the {kind} message's stamp is {ahead:.3f} s ahead of the node's clock (tolerance {tolerance:g} "
            "s). Synchronise the machines' clocks (chrony); in simulation set use_sim_time and publish "
            "/clock",
        )
    return nanoseconds


def image_to_rgb(message: Image | CompressedImage, kind: str = "image") -> NDArray[np.uint8]:
    """The pixels as RGB uint8 (H, W, 3). ``kind`` begins the reason of a ``BadInput``: "image" or "query"."""
    try:
        if isinstance(message, CompressedImage):
            if len(message.data) == 0:
                raise BadInput(f"{kind}_empty", "the compressed image has no data; check the camera's driver")
            return images.decode_compressed(message.format, np.frombuffer(message.data, dtype=np.uint8))
        _check_layout(message, kind)
        rgb = bridge.decode(message)
        if rgb is not None:
            return rgb
        return images.decode_image(
            message.encoding,
            message.height,
            message.width,
            message.step,
            bool(message.is_bigendian),
            np.frombuffer(message.data, dtype=np.uint8),
        )
    except BadInput:
        raise
    except InputError as error:
        raise BadInput(f"{kind}_undecodable", f"{error}; re-encode it as rgb8, jpeg or png") from error


def rgb_msg(rgb: NDArray[np.uint8]) -> Image:
    """An rgb8 message of an array (H, W, 3)."""
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise ValueError(f"image of shape {rgb.shape} and type {rgb.dtype}: it must be (H, W, 3) uint8 RGB")
    message = Image(height=rgb.shape[0], width=rgb.shape[1], encoding="rgb8", step=3 * rgb.shape[1])
    message.data = array("B", rgb.tobytes())  # of bytes, rclpy would check every single one
    return message


def _check_layout(message: Image, kind: str) -> None:
    """Raises ``BadInput`` for contradicting fields, with a reason of its own for each kind of fault."""
    if message.height == 0 or message.width == 0:
        raise BadInput(
            f"{kind}_empty",
            f"the image has no pixels ({message.width} x {message.height}); check the camera's driver",
        )
    try:
        images.check_encoding(message.encoding)
    except InputError as error:
        raise BadInput(f"{kind}_encoding", f"{error} (image_proc converts)") from error
    if message.is_bigendian not in (0, 1):
        raise BadInput(
            f"{kind}_endianness",
            f"is_bigendian is {message.is_bigendian}, must be 0 or 1; the driver must be fixed",
        )
    row = message.width * images.bytes_per_pixel(message.encoding)
    if message.step < row:
        raise BadInput(
            f"{kind}_step",
            f"step is {message.step} bytes, but {message.width} pixels of {message.encoding} take {row}; the "
            "driver must be fixed",
        )
    if len(message.data) < message.step * message.height:
        raise BadInput(
            f"{kind}_truncated",
            f"the image has {len(message.data)} bytes where step * height is "
            f"{message.step * message.height}; the driver must be fixed",
        )


def has_image(request: Any) -> bool:
    """Whether a request carries ``image`` or ``compressed_image``."""
    return _has_raw(request) or _has_compressed(request)


def _has_raw(request: Any) -> bool:
    return bool(len(request.image.data) or request.image.width or request.image.height)


def _has_compressed(request: Any) -> bool:
    return bool(len(request.compressed_image.data))


def query_to_rgb(request: Any) -> NDArray[np.uint8]:
    """The photo of a request that carries ``image`` and ``compressed_image``, of which one is filled."""
    photo = photo_or_none(request)
    assert photo is not None
    return photo


def photo_or_none(request: Any, *instead: bool) -> NDArray[np.uint8] | None:
    """The photo of a request that carries ``image`` and ``compressed_image``, or None where it is without.

    instead: whether each of the request's other fields is filled, of which, with the two images, exactly one may be.
    """
    raw, compressed = _has_raw(request), _has_compressed(request)
    filled = sum((raw, compressed, *instead))
    if filled > 1:
        raise BadInput(
            "query_two_images",
            "more than one of image, compressed_image and place or pose is filled; fill exactly one",
        )
    if not filled:
        raise BadInput("query_empty", "the query has no image; fill image, compressed_image or place")
    if not raw and not compressed:
        return None
    return image_to_rgb(request.compressed_image if compressed else request.image, "query")


def odometry_to_pose(message: Odometry) -> Array:
    """``odom_T_base`` (3,): x, y, yaw."""
    p, q = message.pose.pose.position, message.pose.pose.orientation
    if not np.isfinite([p.x, p.y, p.z, q.x, q.y, q.z, q.w]).all():
        raise BadInput(
            "odometry_not_finite",
            "the odometry's pose holds NaN or infinity; the message is ignored. Check the wheel driver or "
            "filter",
        )
    longest = max(len(message.header.frame_id), len(message.child_frame_id))
    if longest > MAX_NAME:
        raise BadInput(
            "odometry_frame",
            f"a frame of the odometry has a name of {longest} characters, more than {MAX_NAME}; the message is ignored",
        )
    try:
        yaw = geometry.checked_yaw(q.x, q.y, q.z, q.w)
    except InputError as error:
        raise BadInput(
            "odometry_quaternion",
            f"the odometry's {error}; the message is ignored. Its publisher must normalise it (an "
            "orientation that was never set has length 0)",
        ) from error
    return np.array([p.x, p.y, yaw])


def odometry_tilt(message: Odometry) -> tuple[float, float]:
    """Roll and pitch of the base, radians; 0 where the odometry is planar."""
    q = message.pose.pose.orientation
    return tilt_of(q.x, q.y, q.z, q.w)


def camera_info_to_intrinsics(message: CameraInfo, rectified: bool) -> Intrinsics:
    """The camera of the images that the message belongs to, which may be rectified ones."""
    try:
        return Intrinsics.from_camera_info(message, rectified)
    except InputError as error:
        raise BadInput("camera_info_uncalibrated", f"camera_info cannot be used ({error})") from error


def pose_msg(pose: ArrayLike) -> Pose:
    """A planar pose (x, y, yaw) as a message."""
    x, y, yaw = (float(v) for v in np.asarray(pose))
    message = Pose()
    message.position.x, message.position.y = x, y
    q = message.orientation
    q.x, q.y, q.z, q.w = geometry.quaternion_from_yaw(yaw)
    return message


def pose_stamped(pose: ArrayLike, frame_id: str, stamp: Time) -> PoseStamped:
    """A planar pose in a frame."""
    message = PoseStamped(pose=pose_msg(pose))
    message.header.frame_id, message.header.stamp = frame_id, stamp
    return message


def pose_with_covariance(
    pose: ArrayLike, covariance: ArrayLike, frame_id: str, stamp: Time
) -> PoseWithCovarianceStamped:
    """A planar pose and its covariance (3, 3) over x, y, yaw in a frame; z, roll and pitch are exact."""
    message = PoseWithCovarianceStamped()
    message.header.frame_id, message.header.stamp = frame_id, stamp
    message.pose = _with_covariance(pose, covariance)
    return message


def _with_covariance(pose: ArrayLike, covariance: ArrayLike) -> PoseWithCovariance:
    message = PoseWithCovariance(pose=pose_msg(pose))
    full = np.zeros((6, 6))
    full[np.ix_((0, 1, 5), (0, 1, 5))] = covariance
    message.covariance = full.ravel().tolist()
    return message


def checked_pose(message: Pose) -> Array:
    """x, y, yaw (3,) of a pose message from outside, which lies in the plane or near it."""
    p, q = message.position, message.orientation
    if not np.isfinite([p.x, p.y, p.z, q.x, q.y, q.z, q.w]).all():
        raise BadInput("pose_not_finite", "the pose holds NaN or infinity; give one that does not")
    try:
        return np.array([p.x, p.y, geometry.checked_yaw(q.x, q.y, q.z, q.w)])
    except InputError as error:
        raise BadInput(
            "pose_quaternion", f"the pose's {error}; normalise it (one that was never set has length 0)"
        ) from error


def planar_pose(message: Pose) -> Array:
    """x, y, yaw (3,) of a pose message."""
    q = message.orientation
    return np.array(
        [message.position.x, message.position.y, geometry.yaw_from_quaternion(q.x, q.y, q.z, q.w)]
    )


def planar_covariance(message: PoseWithCovariance) -> Array:
    """Covariance (3, 3) over x, y, yaw."""
    return np.array(message.covariance).reshape(6, 6)[np.ix_((0, 1, 5), (0, 1, 5))]


def place_msg(place: Place) -> PlaceMessage:
    """A named place; where its pose is not known, that is 0."""
    message = PlaceMessage(name=place.name, in_memory=place.in_memory)
    if place.pose is not None:
        message.pose = pose_msg(place.pose)
    return message


def fill_response(response: QueryPose.Response, estimate: Estimate) -> None:
    """Puts an estimate into the response to a query that was answered."""
    stamp = time_msg(estimate.stamp_ns)
    response.success = True
    response.pose = pose_with_covariance(estimate.pose, estimate.covariance, estimate.frame_id, stamp)
    response.seen, response.confidence = estimate.seen, estimate.confidence
    response.alternatives = [_with_covariance(o.pose, o.covariance) for o in estimate.alternatives]
    response.alternative_confidences = [other.confidence for other in estimate.alternatives]
    response.num_updates = estimate.num_updates
    response.message = (
        f"seen with probability {estimate.seen:.2f}, pose right with {estimate.confidence:.2f}, "
        f"{len(estimate.alternatives)} alternatives, after {estimate.num_updates} updates"
    )


def response_to_estimate(response: QueryPose.Response) -> Estimate:
    """The inverse of `fill_response`."""
    header = response.pose.header
    return Estimate(
        as_pose(planar_pose(response.pose.pose.pose)),
        planar_covariance(response.pose.pose),
        float(response.seen),
        float(response.confidence),
        tuple(
            Alternative(as_pose(planar_pose(other.pose)), planar_covariance(other), float(confidence))
            for other, confidence in zip(
                response.alternatives, response.alternative_confidences, strict=False
            )
        ),
        int(response.num_updates),
        frame_id=header.frame_id,
        stamp_ns=stamp_ns(header.stamp),
    )


def fill_comparison(
    response: CompareView.Response, comparison: Comparison, frame_id: str, stamp: Time
) -> None:
    """Puts a comparison, whose pose is in a frame, into the response."""
    response.success, response.message, response.verdict = True, comparison.why, int(comparison.verdict)
    if comparison.pose is not None and comparison.covariance is not None:
        response.pose = pose_with_covariance(comparison.pose, comparison.covariance, frame_id, stamp)


def response_to_comparison(response: CompareView.Response) -> Comparison:
    """The inverse of `fill_comparison`."""
    verdict, why, pose = Verdict(response.verdict), response.message, response.pose.pose
    if verdict != Verdict.RECOGNISED:
        return Comparison(verdict, why)
    return Comparison(verdict, why, as_pose(planar_pose(pose.pose)), planar_covariance(pose))
