"""Camera images of a scene: a column renderer for boxes on a flat floor.

An upright pin-hole camera sees every vertical wall in whole columns, so one 2D ray per column and box gives
where the box is entered and left, and depth buffering along the column does the rest. A pitched camera sees
the upright image through a homography (pure rotation about the optical centre).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from kinaema_ros.settings import check, setting
from kinaema_ros.sim import raster
from kinaema_ros.sim.scene import GRID, Scene
from kinaema_ros.sim.shading import TONE_PER_UNIT, Look, View, paint_materials


@dataclass(frozen=True)
class Camera:
    """A pin-hole camera with square pixels, mounted on the robot.

    x, y, z: optical centre in the base frame (m); pitch positive downwards, yaw positive to the left
    (radians, REP 103). Raises ValueError for a value out of range, or an image too near zenith or nadir.
    """

    width: int = setting(320, "Width of the images (pixels)", low=8, high=4096)
    height: int = setting(240, "Height of the images (pixels)", low=8, high=4096)
    hfov: float = setting(
        math.pi / 2,
        "Horizontal field of view (rad): 30 to 120 degrees",
        low=math.radians(29.9),
        high=math.radians(120.1),
    )
    z: float = setting(0.5, "Camera above the floor (m)", low=0.05, high=2.0)
    pitch: float = setting(
        0.0,
        "Tilt of the camera, positive downwards (rad); the image must end 80 degrees from the horizon",
        low=-math.radians(80.0),
        high=math.radians(80.0),
    )
    x: float = setting(0.0, "Camera ahead of the base's origin (m)", low=-1.0, high=1.0)
    y: float = setting(0.0, "Camera left of the base's origin (m)", low=-1.0, high=1.0)
    yaw: float = setting(
        0.0, "Heading of the camera on the base, positive to the left (rad)", low=-math.pi, high=math.pi
    )

    def __post_init__(self) -> None:
        check(self)
        if abs(self.pitch) + math.atan2(self.height / 2, self.focal) > math.radians(80):
            raise ValueError(
                f"pitch {math.degrees(self.pitch):.1f} deg: the image must end 80 deg from the horizon"
            )

    @property
    def focal(self) -> float:
        """Focal length in pixels; the principal point is the image centre."""
        return self.width / 2 / math.tan(self.hfov / 2)


@dataclass(frozen=True)
class Lighting:
    """Light and exposure of a set of images.

    level scales all light; tint is the white balance (r, g, b); contrast acts around mid-grey after exposure;
    gamma > 1 brightens the shadows; noise: standard deviation of sensor noise in grey levels, from seed.
    """

    level: float = 1.0
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    contrast: float = 1.0
    gamma: float = 1.0
    noise: float = 0.0
    seed: int = 0

    def tone_curve(self) -> np.ndarray:
        """(1024,) uint8: displayed value of the intensities k / TONE_PER_UNIT."""
        intensity = np.arange(1024) / TONE_PER_UNIT
        x = np.clip(self.contrast * (intensity - 0.5) + 0.5, 0.0, None)
        x = x ** (1.0 / self.gamma)
        # A soft shoulder instead of hard clipping keeps bright surfaces textured.
        return np.rint(
            255 * np.clip(np.where(x < 0.8, x, 0.8 + 0.2 * np.tanh((x - 0.8) / 0.2)), 0, 1)
        ).astype(np.uint8)


def random_lighting(rng: np.random.Generator) -> Lighting:
    """Exposure, white balance, contrast and noise as they vary between cameras and times of day."""
    red, green, blue = (float(t) for t in np.exp(rng.normal(0.0, 0.06, 3)))
    return Lighting(
        level=float(np.exp(rng.uniform(-0.5, 0.35))),
        tint=(red, green, blue),
        contrast=float(rng.uniform(0.8, 1.2)),
        gamma=float(np.exp(rng.uniform(-0.25, 0.3))),
        noise=float(rng.uniform(0.0, 5.0)),
        seed=int(rng.integers(2**31)),
    )


def camera_poses(poses: np.ndarray, camera: Camera) -> np.ndarray:
    """(B, 3) x, y, yaw of the camera for robot poses (B, 3)."""
    x, y, yaw = np.asarray(poses, float).T
    c, s = np.cos(yaw), np.sin(yaw)
    return np.stack(
        [x + c * camera.x - s * camera.y, y + s * camera.x + c * camera.y, yaw + camera.yaw], axis=1
    )


def render(
    scene: Scene, poses: np.ndarray, camera: Camera | None = None, lighting: Lighting | None = None
) -> np.ndarray:
    """Images (B, height, width, 3) uint8 RGB seen from robot poses (B, 3) x, y, yaw in the scene's frame."""
    camera, lighting = camera or Camera(), lighting or Lighting()
    poses = np.asarray(poses, float)
    if poses.ndim != 2 or poses.shape[1] != 3 or not np.isfinite(poses).all():
        raise ValueError(f"poses must be a finite (B, 3) array of x, y, yaw, got shape {poses.shape}")
    f, cx, cy, width, height = _upright_view(camera)
    images = np.empty((len(poses), height, width, 3), np.uint8)
    exposure = np.array(lighting.tint, np.float32) * np.float32(lighting.level)
    look = Look(
        faces=scene.faces,
        materials=paint_materials(scene.materials, exposure),
        texels=scene.pool.texels,
        room_grid=scene.room_grid,
        grid_frame=np.array([*scene.grid_origin, 1.0 / GRID]),
        floors=scene.floors,
        ceilings=scene.ceilings,
        lights=scene.lights,
        sun=scene.sun,
        tone=lighting.tone_curve(),
    )
    view = View(f, f, float(cx), float(cy), camera.z)
    raster.render_images(images, camera_poses(poses, camera), view, scene.boxes, scene.ceiling, look)
    if camera.pitch != 0.0:
        images = _pitched(images, camera, cx, cy)
    if lighting.noise > 0.0:
        raster.add_noise(images, lighting.noise, lighting.seed)
    return images


def _upright_view(camera: Camera) -> tuple[float, float, float, int, int]:
    """Focal length, principal point and size of the upright image that covers the camera's view."""
    f, w, h = camera.focal, camera.width, camera.height
    if camera.pitch == 0.0:
        return f, w / 2, h / 2, w, h
    c, s = math.cos(camera.pitch), math.sin(camera.pitch)
    # Rays of the image corners in the pitched camera (right, down, forward), turned upright.
    right, down = np.meshgrid([-w / 2 / f, w / 2 / f], [-h / 2 / f, h / 2 / f])
    forward = c - s * down
    us, vs = right / forward, (c * down + s) / forward
    cx, cy = math.ceil(-us.min() * f) + 1, math.ceil(-vs.min() * f) + 1
    return f, cx, cy, cx + math.ceil(us.max() * f) + 1, cy + math.ceil(vs.max() * f) + 1


def _pitched(images: np.ndarray, camera: Camera, cx: float, cy: float) -> np.ndarray:
    """Upright images (B, ...) with principal point cx, cy as the pitched camera sees them."""
    f, c, s = camera.focal, math.cos(camera.pitch), math.sin(camera.pitch)
    # OpenCV counts pixels from the centre of the first one, the principal points from its corner.
    upright = np.array([[f, 0, cx - 0.5], [0, f, cy - 0.5], [0, 0, 1]])
    rotation = np.array([[1, 0, 0], [0, c, s], [0, -s, c]])
    pitched = np.array([[f, 0, camera.width / 2 - 0.5], [0, f, camera.height / 2 - 0.5], [0, 0, 1]])
    upright_from_pitched = upright @ rotation @ np.linalg.inv(pitched)
    size, flags = (camera.width, camera.height), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.stack([cv2.warpPerspective(image, upright_from_pitched, size, flags=flags) for image in images])
