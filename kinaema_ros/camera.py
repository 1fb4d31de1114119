"""Cameras: intrinsics, resampling to the network's canonical camera, and the mount on the robot.

The memory knows one camera: level, at the origin of the frame whose poses it is given. So the node gives it
the camera's planar pose instead of the base's, turns tilted images level, and takes the answer back:

    memory_T_camera = memory_T_base * base_T_camera                   (update)
    memory_T_query_base = memory_T_query_camera * base_T_camera^-1    (locate)

The answer is then the pose that the robot's base must have for its camera to see the photo, whatever offset
or heading the camera has.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np

from kinaema_ros import geometry
from kinaema_ros.errors import InputError
from kinaema_ros.geometry import Array
from kinaema_ros.images import RGB
from kinaema_ros.settings import setting

BLANK = 127  # what the camera did not see; the encoder's zero
# Numbers of coefficients by the names that sensor_msgs/CameraInfo has for them
DISTORTIONS = {"none": (0,), "plumb_bob": (4, 5), "rational_polynomial": (8, 12, 14), "equidistant": (4,)}


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

    @property
    def hfov(self) -> float:
        """Horizontal field of view in radians, of a camera whose optical axis is in the middle."""
        return 2.0 * math.atan2(self.width, 2.0 * self.fx)

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


def resample(image: RGB, source: Intrinsics, target: Intrinsics) -> RGB:
    """What the target camera would have seen: (H, W, 3) -> (target.height, target.width, 3) uint8.

    Rays beyond the source's field of view are blank. Shrinks by area averaging first, so that fine texture does
    not alias.
    """
    shrink = min(source.fx / target.fx, source.fy / target.fy)
    if shrink > 1.0:
        width, height = max(1, round(source.width / shrink)), max(1, round(source.height / shrink))
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        source = source.scaled_to(width, height)
    if source == target:
        return image
    sx, sy = source.fx / target.fx, source.fy / target.fy
    to_source = np.array([[sx, 0, source.cx - sx * target.cx], [0, sy, source.cy - sy * target.cy]])
    return cv2.warpAffine(  # type: ignore[return-value]
        image,
        to_source,
        (target.width, target.height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(BLANK, BLANK, BLANK),
    )


@dataclass(frozen=True)
class Mount:
    """Pose of the camera on the base: metres; radians, REP 103 (yaw > 0: left, pitch > 0: down).

    The ranges are those of the node's parameters; a mount from TF may be any.
    """

    x: float = setting(0.0, "Camera ahead of the base's origin (m)", low=-5.0, high=5.0)
    y: float = setting(0.0, "Camera left of the base's origin (m)", low=-5.0, high=5.0)
    yaw: float = setting(
        0.0, "Heading of the camera on the base, positive to the left (rad)", low=-math.pi, high=math.pi
    )
    pitch: float = setting(0.0, "Tilt of the camera, positive downwards (rad)", low=-0.8, high=0.8)
    roll: float = setting(0.0, "Roll of the camera; pi for one upside down (rad)", low=-math.pi, high=math.pi)

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
        """From the transform base <- optical frame (z forward, x right, y down); quaternion x, y, z, w."""
        x, y, z, w = quaternion
        right = np.array([1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)])
        forward = np.array([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)])
        yaw = math.atan2(forward[1], forward[0])
        pitch = math.atan2(-forward[2], math.hypot(forward[0], forward[1]))
        # Left and up of a camera with this heading and pitch, but without roll.
        left = np.array([-math.sin(yaw), math.cos(yaw), 0.0])
        up = np.cross(forward, left)
        roll = math.atan2(float(-right @ up), float(-right @ left))
        return cls(float(translation[0]), float(translation[1]), yaw, pitch, roll)


def optical_quaternion(yaw: float, pitch: float) -> tuple[float, float, float, float]:
    """Quaternion (x, y, z, w) base <- optical frame, without roll; ``Mount.from_optical`` undoes it."""
    # q = q_z(yaw) q_y(pitch) q_optical, with q_optical = (-1, 1, -1, 1) / 2 taking z to x, x to -y, y to -z.
    cy, sy, cp, sp = math.cos(yaw / 2), math.sin(yaw / 2), math.cos(pitch / 2), math.sin(pitch / 2)
    x, y, z, w = -sy * sp, cy * sp, sy * cp, cy * cp
    return (-w + x - y - z) / 2, (w + x + y - z) / 2, (-w + x + y + z) / 2, (w + x - y + z) / 2


def level(rgb: RGB, camera: Intrinsics, mount: Mount) -> RGB:
    """The image that the same camera would take without pitch and roll; blank where it saw nothing.

    A pure rotation moves pixels by the homography K R K^-1, whatever the depth (Hartley, Zisserman, "Multiple
    view geometry in computer vision", 2nd edition, section 8.4.2).
    """
    if mount.pitch == 0.0 and mount.roll == 0.0:
        return rgb
    cp, sp, cr, sr = math.cos(mount.pitch), math.sin(mount.pitch), math.cos(mount.roll), math.sin(mount.roll)
    # level_T_tilted in optical axes (x right, y down, z forward): roll about z first, then pitch about x.
    roll = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    pitch = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    k = np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1]])
    turned = cv2.warpPerspective(
        rgb,
        k @ pitch @ roll @ np.linalg.inv(k),
        (rgb.shape[1], rgb.shape[0]),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(BLANK, BLANK, BLANK),
    )
    return turned.astype(np.uint8, copy=False)


def photo_hfov(width: int, height: int, long_side: float) -> float:
    """Field of view across the width of a photo, radians, from that across the camera's longer side.

    A photo taken upright shows the narrower angle across its width; its pixels are square.
    """
    if width >= height:
        return long_side
    return 2.0 * math.atan(math.tan(long_side / 2.0) * width / height)
