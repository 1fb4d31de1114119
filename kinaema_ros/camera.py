"""Cameras: intrinsics with a lens, and the mount on the robot.

The memory is about the camera: its planar pose goes in instead of the base's, its tokens are turned level, and the answer
is taken back:

    memory_T_camera = memory_T_base * base_T_camera                   (update)
    memory_T_query_base = memory_T_query_camera * base_T_camera^-1    (locate, of a photo by the same camera)

The answer is then the pose that the robot's base must have for its camera to see the photo, whatever offset or heading
the camera has. A photo by another camera is answered with that camera's own planar pose.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import cv2
import numpy as np

from kinaema_ros import geometry
from kinaema_ros.errors import InputError
from kinaema_ros.geometry import Array
from kinaema_ros.images import RGB
from kinaema_ros.settings import setting

# Numbers of coefficients by the names that sensor_msgs/CameraInfo has for them
DISTORTIONS = {"none": (0,), "plumb_bob": (4, 5), "rational_polynomial": (8, 12, 14), "equidistant": (4,)}


class RegionOfInterest(Protocol):
    """sensor_msgs/RegionOfInterest, of rclpy or of a bag."""

    x_offset: int
    y_offset: int
    height: int
    width: int


class CameraInfo(Protocol):
    """sensor_msgs/CameraInfo, of rclpy or of a bag."""

    width: int
    height: int
    distortion_model: str
    d: Sequence[float]
    k: Sequence[float]
    p: Sequence[float]
    binning_x: int
    binning_y: int
    roi: RegionOfInterest


MIN_HFOV_DEG, MAX_HFOV_DEG = 20.0, 150.0  # that people may say of a camera


@dataclass(frozen=True)
class Intrinsics:
    """A camera, in pixels; the centre of the first pixel is (0, 0), as in CameraInfo.k and CameraInfo.d.

    A pinhole with a lens: ``distortion_model`` is one of DISTORTIONS, of which equidistant is a fisheye's.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion_model: str = "none"
    distortion: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise InputError(f"camera of {self.width} x {self.height} pixels: both must be at least 1")
        if not all(math.isfinite(v) for v in (self.fx, self.fy, self.cx, self.cy)):
            raise InputError("camera intrinsics are not finite; is the camera calibrated?")
        if self.fx <= 0 or self.fy <= 0:
            raise InputError(
                f"focal lengths fx {self.fx:g}, fy {self.fy:g} must be positive; is the camera calibrated?"
            )

        sizes = DISTORTIONS.get(self.distortion_model)
        if sizes is None:
            raise InputError(
                f"distortion model {self.distortion_model!r} is not known; known are {', '.join(DISTORTIONS)}"
            )
        if len(self.distortion) not in sizes or not all(math.isfinite(v) for v in self.distortion):
            raise InputError(
                f"distortion of {self.distortion_model} must be {' or '.join(map(str, sizes))} finite coefficients, "
                f"not {list(self.distortion)}"
            )

    @classmethod
    def from_hfov(cls, width: int, height: int, hfov: float) -> Intrinsics:
        """Square pixels, optical axis in the middle, horizontal field of view in radians."""
        if not 0.17 <= hfov <= 2.62:
            raise InputError(
                f"horizontal field of view of {hfov:g} rad: it must lie between 0.17 and 2.62 (10 to 150 deg)"
            )
        f = width / 2 / math.tan(hfov / 2)
        return cls(width, height, f, f, (width - 1) / 2, (height - 1) / 2)

    @classmethod
    def from_camera_info(cls, info: CameraInfo, rectified: bool) -> Intrinsics:
        """Of the images that a sensor_msgs/CameraInfo belongs to, which may be rectified ones.

        By the comments of CameraInfo: of a rectified image P counts, of a raw one K and D; all of them are of the whole
        sensor, of which an image may be a part (roi), and that in fewer pixels (binning). ``InputError`` for a camera that
        was never calibrated (zeros), a distortion that is not known, or a part beyond the sensor.
        """
        k, p, lens = info.k, info.p, tuple(float(value) for value in info.d)
        # A fisheye without coefficients is still no pinhole.
        straight = not any(lens) and info.distortion_model != "equidistant"
        if rectified and p[0] > 0.0:
            camera = cls(info.width, info.height, p[0], p[5], p[2], p[6])
        elif rectified or straight:
            camera = cls(info.width, info.height, k[0], k[4], k[2], k[5])
        else:
            camera = cls(
                info.width, info.height, k[0], k[4], k[2], k[5], info.distortion_model, lens or (0.0,) * 4
            )
        roi = info.roi
        if roi.width and roi.height:
            if roi.x_offset + roi.width > info.width or roi.y_offset + roi.height > info.height:
                raise InputError(
                    f"roi of {roi.width} x {roi.height} pixels at {roi.x_offset}, {roi.y_offset} is not within "
                    f"{info.width} x {info.height}"
                )
            camera = replace(
                camera,
                width=roi.width,
                height=roi.height,
                cx=camera.cx - roi.x_offset,
                cy=camera.cy - roi.y_offset,
            )
        across, down = max(1, info.binning_x), max(1, info.binning_y)
        return camera.scaled_to(max(1, camera.width // across), max(1, camera.height // down))

    @property
    def hfov(self) -> float:
        """Horizontal field of view in radians, between the edges of the row of the optical axis."""
        pinhole = math.atan2(self.cx + 0.5, self.fx) + math.atan2(self.width - 0.5 - self.cx, self.fx)
        if not any(self.distortion) and self.distortion_model != "equidistant":
            return pinhole
        left, right = self.rays(np.array([[-0.5, self.cy], [self.width - 0.5, self.cy]]))
        across = math.atan2(left[1], left[0]) - math.atan2(right[1], right[0])
        return across if math.isfinite(across) and across > 0.0 else pinhole

    def has_aspect(self, width: int, height: int) -> bool:
        """True if images of this size can be this camera's at some resolution; sizes are rounded to pixels."""
        return abs(width * self.height - height * self.width) <= width

    def scaled_to(self, width: int, height: int) -> Intrinsics:
        """The same camera read out at another resolution."""
        sx, sy = width / self.width, height / self.height
        return replace(
            self,
            width=width,
            height=height,
            fx=self.fx * sx,
            fy=self.fy * sy,
            cx=(self.cx + 0.5) * sx - 0.5,
            cy=(self.cy + 0.5) * sy - 0.5,
        )

    def rays(self, pixels: Array) -> Array:
        """Unit directions (K, 3), x ahead, y to the left, z up, in which the pixels (K, 2) look.

        NaN where the distortion has no inverse, as in the corners of some fisheyes.
        """
        if not len(pixels):
            return np.zeros((0, 3))
        pixels = np.asarray(pixels, dtype=np.float64).reshape(-1, 1, 2)
        matrix = np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1.0]])
        coefficients = np.array(self.distortion or (0.0,) * 4)
        if self.distortion_model == "equidistant":
            right, down = cv2.fisheye.undistortPoints(pixels, matrix, coefficients)[:, 0].T
            right, down = (np.where(np.abs(v) < 1e5, v, np.nan) for v in (right, down))
        else:
            right, down = cv2.undistortPoints(pixels, matrix, coefficients)[:, 0].T
        ray = np.stack([np.ones_like(right), -right, -down], axis=-1)
        return ray / np.linalg.norm(ray, axis=-1, keepdims=True)

    def pixels(self, rays: Array) -> Array:
        """Pixels (K, 2), within the image or not, in which directions (K, 3) are seen; far outside for those behind the camera."""
        ahead = rays[:, :1] > 1e-6
        points = np.concatenate([-rays[:, 1:], np.ones_like(ahead)], axis=1)
        points[:, :2] /= np.where(ahead, rays[:, :1], np.inf)
        matrix = np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1.0]])
        coefficients, still = np.array(self.distortion or (0.0,) * 4), np.zeros(3)
        project = cv2.fisheye.projectPoints if self.distortion_model == "equidistant" else cv2.projectPoints
        found, _ = project(points[:, None], still, still, matrix, coefficients)
        return np.where(ahead, found[:, 0], -1e6)


@dataclass(frozen=True)
class Mount:
    """Pose of the camera on the base: metres; radians, REP 103 (yaw > 0: left, pitch > 0: down).

    The ranges are those of the node's parameters; a mount from TF may be any.
    """

    x: float = setting(0.0, "Camera ahead of the base's origin (m)", low=-5.0, high=5.0)
    y: float = setting(0.0, "Camera left of the base's origin (m)", low=-5.0, high=5.0)
    z: float = setting(0.0, "Camera above the base's origin (m)", low=-1.0, high=5.0)
    yaw: float = setting(
        0.0, "Heading of the camera on the base, positive to the left (rad)", low=-math.pi, high=math.pi
    )
    pitch: float = setting(0.0, "Tilt of the camera, positive downwards (rad)", low=-0.8, high=0.8)
    roll: float = setting(0.0, "Roll of the camera; pi for one upside down (rad)", low=-math.pi, high=math.pi)

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not math.isfinite(value):
                raise InputError(f"{name} of the camera's mount is {value}, must be a finite number")

    @property
    def planar(self) -> Array:
        """``base_T_camera`` (3,) in the plane."""
        return np.array([self.x, self.y, self.yaw])

    def camera_pose(self, parent_T_base: Array) -> Array:
        """``parent_T_camera`` (3,) in the plane."""
        return geometry.compose(parent_T_base, self.planar)

    def base_pose(self, parent_T_camera: Array, covariance: Array) -> tuple[Array, Array]:
        """``parent_T_base`` (3,) and its covariance (3, 3) from those of the camera; the mount is exact."""
        camera_T_base = geometry.inverse(self.planar)
        exact = np.zeros((3, 3))
        return (
            geometry.compose(parent_T_camera, camera_T_base),
            geometry.compose_covariance(parent_T_camera, covariance, camera_T_base, exact),
        )

    @classmethod
    def from_optical(cls, translation: Array, quaternion: Array) -> Mount:
        """From the transform base <- optical frame (z forward, x right, y down); quaternion x, y, z, w.

        ``InputError`` where that has not the length 1, as one that nobody has set.
        """
        x, y, z, w = geometry.checked_quaternion(*quaternion)
        right = np.array([1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)])
        forward = np.array([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)])
        yaw = math.atan2(forward[1], forward[0])
        pitch = math.atan2(-forward[2], math.hypot(forward[0], forward[1]))
        # Left and up of a camera with this heading and pitch, but without roll.
        left = np.array([-math.sin(yaw), math.cos(yaw), 0.0])
        up = np.cross(forward, left)
        roll = math.atan2(float(-right @ up), float(-right @ left))
        x, y, z = (float(v) for v in translation)
        return cls(x, y, z, yaw, pitch, roll)

    def on_tilted_base(self, roll: float, pitch: float) -> Mount:
        """The same camera against a level base, when its own base rolls and pitches (radians) about its origin."""
        if roll == 0.0 and pitch == 0.0:
            return self
        base = geometry.quaternion_from_tilt(roll, pitch)
        about_axis = geometry.quaternion_from_yaw(self.roll)  # the optical axis is z
        optical = geometry.multiply_quaternions(optical_quaternion(self.yaw, self.pitch), about_axis)
        return self.from_optical(
            geometry.rotate_by_quaternion(base, [self.x, self.y, self.z]),
            geometry.multiply_quaternions(base, optical),
        )


def optical_quaternion(yaw: float, pitch: float) -> tuple[float, float, float, float]:
    """Quaternion (x, y, z, w) base <- optical frame, without roll; ``Mount.from_optical`` undoes it."""
    # q = q_z(yaw) q_y(pitch) q_optical, with q_optical = (-1, 1, -1, 1) / 2 taking z to x, x to -y, y to -z.
    cy, sy, cp, sp = math.cos(yaw / 2), math.sin(yaw / 2), math.cos(pitch / 2), math.sin(pitch / 2)
    x, y, z, w = -sy * sp, cy * sp, sy * cp, cy * cp
    return (-w + x - y - z) / 2, (w + x + y - z) / 2, (-w + x + y + z) / 2, (w + x - y + z) / 2


def crop(rgb: RGB, camera: Intrinsics, hfov: float, vfov: float | None = None) -> tuple[RGB, Intrinsics]:
    """The middle of an image of ``camera``, and the camera that would have taken it.

    hfov, vfov: radians across and, if not of the image's own aspect, down. What the image does not have is not there.
    """
    height, width = rgb.shape[:2]
    camera = camera.scaled_to(width, height)
    half_width = min(width // 2, round(camera.fx * math.tan(hfov / 2.0)))
    down = half_width * height / width if vfov is None else camera.fy * math.tan(vfov / 2.0)
    half_height = max(1, min(height // 2, round(down)))
    x, y = width // 2 - half_width, height // 2 - half_height
    part = np.ascontiguousarray(rgb[y : y + 2 * half_height, x : x + 2 * half_width])
    size = part.shape[1], part.shape[0]
    return part, replace(camera, width=size[0], height=size[1], cx=camera.cx - x, cy=camera.cy - y)


def photo_hfov(width: int, height: int, long_side: float) -> float:
    """Field of view across the width of a photo, radians, from that across the camera's longer side.

    A photo taken upright shows the narrower angle across its width; its pixels are square.
    """
    if width >= height:
        return long_side
    return 2.0 * math.atan(math.tan(long_side / 2.0) * width / height)


def is_rectified_topic(image_topic: str) -> bool:
    """Whether images of this topic are rectified by the convention of image_proc, such as image_rect_color."""
    name = image_topic.removesuffix("/compressed").rpartition("/")[2]
    return any(word.startswith("rect") for word in name.split("_"))
