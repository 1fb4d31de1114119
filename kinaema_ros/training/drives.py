"""Simulated drives and photos of their places, as wide as the field: cameras, heights, light, things that moved.

Drive ``k`` depends on (seed, k) only. No data set is kept on disk.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from kinaema_ros.camera import Intrinsics, Mount
from kinaema_ros.geometry import Array
from kinaema_ros.images import RGB
from kinaema_ros.sim import (
    Camera,
    OdometryNoise,
    Scene,
    SceneConfig,
    explore,
    generate_scene,
    integrate_odometry,
    random_lighting,
    render,
    sample_unseen_viewpoints,
    sample_viewpoints,
)
from kinaema_ros.training.photographs import photograph

TWIN = np.array([40.0, 0.0, 0.0])  # from a building to its twin
FIXED = ("wall", "door_frame")  # kinds of boxes that nobody moves
PIXELS = 384 * 288  # of a picture
SCENES_PER_TEXTURE_POOL = 8


@dataclass(frozen=True)
class DriveConfig:
    """What is driven and photographed. Metres and degrees."""

    seed: int = 0
    drives: int = 96
    frames: tuple[int, int] = (60, 260)
    moments: tuple[float, ...] = (0.06, 0.3, 1.0)  # shares of the drive after which photos are asked about
    photos: int = 6  # of the robot's camera that were seen, of another one that were, and as many unseen ones
    min_size: float = 8.0
    max_size: float = 20.0
    height: tuple[float, float] = (0.15, 1.2)
    pitch_deg: tuple[float, float] = (-15.0, 20.0)
    hfov_deg: tuple[float, float] = (50.0, 100.0)
    phone_height: tuple[float, float] = (1.1, 1.7)
    phone_hfov_deg: tuple[float, float] = (58.0, 80.0)  # across the longer side
    odometry_noise: tuple[float, float] = (0.04, 0.4)  # at most: fraction and degrees, see OdometryNoise
    exact_odometry: float = 0.3  # share of the drives
    removed: float = 0.1  # share of the furniture's boxes that are gone when the photo is taken
    twins: float = 0.15  # share of the drives whose building stands there twice
    distance: float = 1.0  # of a seen photo from a frame of the drive
    angle_deg: float = 40.0


@dataclass
class Photo:
    """A question: a picture, its camera, and where it was taken."""

    rgb: RGB
    camera: Intrinsics
    mount: Mount | None  # None: of another camera than the robot's
    pose: Array  # (3,) true, of the camera, in the frame of Drive.poses; of no meaning where it was not seen
    seen: bool
    moment: int  # frames in memory when it is asked


@dataclass
class Drive:
    """T frames of a robot, and photos, by the time at which they are asked about."""

    frames: list[RGB]
    camera: Intrinsics
    mount: Mount
    poses: Array  # (T, 3) true
    odometry: Array  # (T, 3) that drifts
    photos: list[Photo]


def simulate(config: DriveConfig, index: int) -> Drive:
    """Drive number ``index``."""
    rng = np.random.default_rng([config.seed, index])
    textures = (config.seed * 65537 + index // SCENES_PER_TEXTURE_POOL) % 2**31
    scenes = SceneConfig(size_min=config.min_size, size_max=config.max_size, texture_seed=textures)
    scene, elsewhere = (generate_scene(int(rng.integers(2**31)), scenes) for _ in range(2))
    length = int(rng.integers(config.frames[0], config.frames[1] + 1))
    poses = explore(scene, rng, length)
    other_path = explore(elsewhere, rng, 64)
    aspect = rng.choice([4 / 3, 4 / 3, 16 / 9])
    camera = random_camera(rng, aspect, config.hfov_deg, config.height, config.pitch_deg)
    lighting = random_lighting(rng)
    frames = [exposed(frame, rng) for frame in render(scene, poses, camera, lighting)]
    twin = rng.random() < config.twins
    if (
        twin
    ):  # the second half of the drive leads along the way of the first through a building that looks the same
        half = length // 2
        poses, frames = poses[:half], frames[:half]
        frames += [exposed(frame, rng) for frame in render(scene, poses, camera, lighting)]
    way = np.concatenate([poses, poses + TWIN]) if twin else poses

    photos = []
    changed = without(scene, rng, config.removed)
    for share in config.moments:
        moment = max(4, round(share * len(way)))
        for same in (True, False):
            seen, _ = sample_viewpoints(
                scene, rng, poses[:moment], config.photos, config.distance, math.radians(config.angle_deg)
            )
            inside = sample_unseen_viewpoints(scene, rng, poses[:moment], config.photos // 2)
            other, _ = sample_viewpoints(elsewhere, rng, other_path, config.photos - len(inside))
            for place, views, known in (
                (changed, seen, True),
                (scene, inside, False),
                (elsewhere, other, False),
            ):
                for view in views:
                    light = random_lighting(rng) if rng.random() < 0.5 else lighting
                    taker = camera
                    if not same:
                        taker = random_phone(rng, config)
                    picture = photograph(render(place, view[None], taker, light)[0], rng)
                    mount = mounted(camera) if same else None
                    other_one = twin and moment == len(way) and rng.random() < 0.5
                    pose = view + TWIN if other_one else view
                    photos.append(Photo(picture, intrinsics(taker), mount, pose, known, moment))
    # Between twins there is no way that odometry could have measured
    exact = twin or rng.random() < config.exact_odometry
    strength = 0.0 if exact else rng.random()
    fraction, degrees = config.odometry_noise
    noise = OdometryNoise(strength * fraction, strength * degrees)
    odometry = integrate_odometry(way, noise, rng)
    return Drive(frames, intrinsics(camera), mounted(camera), way, odometry, photos)


def random_camera(
    rng: np.random.Generator,
    aspect: float,
    hfov_deg: tuple[float, float],
    height: tuple[float, float],
    pitch_deg: tuple[float, float],
) -> Camera:
    """A camera of this aspect; ``hfov_deg`` is the range across its longer side."""
    across = math.radians(rng.uniform(*hfov_deg))
    if aspect < 1:
        across = 2.0 * math.atan(math.tan(across / 2.0) * aspect)
    width = round(math.sqrt(PIXELS * aspect) / 8) * 8
    pitch = math.radians(rng.uniform(*pitch_deg)) if rng.random() < 0.7 else 0.0
    camera = Camera(width, round(width / aspect / 8) * 8, across, float(rng.uniform(*height)))
    limit = math.radians(79.0) - math.atan2(camera.height / 2, camera.focal)
    return replace(camera, pitch=float(np.clip(pitch, -limit, limit)))


def random_phone(rng: np.random.Generator, config: DriveConfig) -> Camera:
    """A camera that somebody holds, upright or not."""
    aspect = rng.choice([4 / 3, 3 / 4, 9 / 16])
    return random_camera(rng, aspect, config.phone_hfov_deg, config.phone_height, (0.0, 15.0))


def intrinsics(camera: Camera) -> Intrinsics:
    """A simulated camera's; the renderer's principal point is the middle of the picture."""
    return Intrinsics.from_hfov(camera.width, camera.height, camera.hfov)


def mounted(camera: Camera) -> Mount:
    """Where a simulated camera is on its robot."""
    return Mount(camera.x, camera.y, 0.0, camera.yaw, camera.pitch)


def without(scene: Scene, rng: np.random.Generator, share: float) -> Scene:
    """The scene after somebody took away a share of its furniture's boxes."""
    kept = np.array([kind in FIXED for kind in scene.kinds]) | (rng.random(len(scene.kinds)) >= share)
    kinds = tuple(kind for kind, stays in zip(scene.kinds, kept, strict=True) if stays)
    return replace(scene, boxes=scene.boxes[kept], faces=scene.faces[kept], kinds=kinds)


def exposed(frame: RGB, rng: np.random.Generator) -> RGB:
    """A frame of a drive: its camera's exposure adapts, but the light stays."""
    return np.clip(frame * np.clip(rng.normal(1.0, 0.08), 0.7, 1.4), 0, 255).astype(np.uint8)
