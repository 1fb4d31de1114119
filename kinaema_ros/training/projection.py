"""The projection of descriptors to what a token keeps, fitted on simulated views of the same points."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from kinaema_ros.camera import Intrinsics
from kinaema_ros.geometry import Array
from kinaema_ros.images import RGB
from kinaema_ros.model.camera_pose import planar_rotation, tilt_rotation
from kinaema_ros.model.checkpoint import usable_device
from kinaema_ros.model.network import Kinaema
from kinaema_ros.reporting import progress
from kinaema_ros.sim import (
    Camera,
    Scene,
    SceneConfig,
    explore,
    generate_scene,
    random_lighting,
    ray_lengths,
    render,
    sample_viewpoints,
)
from kinaema_ros.training.config import TrainConfig
from kinaema_ros.training.drives import exposed, intrinsics, mounted, random_camera, random_phone
from kinaema_ros.training.photographs import photograph

SEED = 1_000_003  # added to the run's: of scenes that no drive sees
SAME = 0.015  # of the distance: tokens nearer to each other than this show one point
SAME_FROM = 0.03  # metres, of points that are nearer than two metres
SHRINKAGE = (
    0.1  # of the mean variance within points, added in all directions: rooms and cameras are not as simulated
)


@dataclass(frozen=True)
class Sight:
    """What a simulated view shows: descriptors (C, D), the points (C, 3) in the world, their distances (C,), metres."""

    descriptors: Tensor
    points: Tensor
    distance: Tensor


@torch.inference_mode()
def fit_projection(network: Kinaema, config: TrainConfig, device: str) -> None:
    """Linear discriminant analysis of the descriptors, in place: the same projection for every camera and world."""
    network.to(usable_device(device))
    descriptors, differences = [], []
    scenes = range(config.projection_scenes)
    for index in progress(scenes, total=len(scenes), desc="projection"):
        rng = np.random.default_rng([config.data.seed + SEED, index])
        frames, photos = sights(network, config, rng)
        descriptors += [sight.descriptors for sight in frames + photos]
        for photo in photos:
            for frame in frames:
                i, j = same_points(photo, frame)
                differences.append(photo.descriptors[i] - frame.descriptors[j])
    network.to("cpu")
    weight, bias = discriminant(torch.cat(descriptors), torch.cat(differences), config.model.tokens.dim)
    network.projection.weight.copy_(weight)
    network.projection.bias.copy_(bias)


def discriminant(descriptors: Tensor, differences: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Weight (dim, D) and bias (dim,) of linear discriminant analysis.

    In its coordinates, descriptors of one point differ from view to view alike in all directions; of these it keeps those in which
    ``descriptors`` (C, D) of all points differ most. differences (J, D): of two descriptors of one point each.
    """
    descriptors, differences = descriptors.double(), differences.double()
    within = differences.T @ differences / (2 * len(differences))
    within.diagonal().add_(SHRINKAGE * within.diagonal().mean())
    whiten = torch.linalg.inv(torch.linalg.cholesky(within))
    axes = torch.linalg.eigh(whiten @ torch.cov(descriptors.T) @ whiten.T).eigenvectors
    weight = axes[:, -dim:].flip(1).T @ whiten
    return weight.float(), (-weight @ descriptors.mean(0)).float()


def sights(
    network: Kinaema, config: TrainConfig, rng: np.random.Generator
) -> tuple[list[Sight], list[Sight]]:
    """Frames of a drive through a scene, and photos of what they show: one half by its own camera, one by others."""
    data, views = config.data, config.projection_views
    scenes = SceneConfig(data.min_size, data.max_size, texture_seed=int(rng.integers(2**31)))
    scene = generate_scene(int(rng.integers(2**31)), scenes)
    poses = explore(scene, rng, 4 * views)[::4]
    camera = random_camera(rng, 4 / 3, data.hfov_deg, data.height, data.pitch_deg)
    lighting = random_lighting(rng)
    frames = [
        sight(network, scene, pose, camera, exposed(rgb, rng))
        for pose, rgb in zip(poses, render(scene, poses, camera, lighting), strict=True)
    ]
    near, _ = sample_viewpoints(scene, rng, poses, views, data.distance, math.radians(data.angle_deg))
    photos = []
    for number, pose in enumerate(near):
        taker = random_phone(rng, data) if number % 2 else camera
        light = random_lighting(rng) if rng.random() < 0.5 else lighting
        picture = photograph(render(scene, pose[None], taker, light)[0], rng)
        photos.append(
            sight(network, scene, pose, taker, picture, None if taker is camera else intrinsics(camera))
        )
    return frames, photos


def sight(
    network: Kinaema, scene: Scene, pose: Array, camera: Camera, rgb: RGB, robots: Intrinsics | None = None
) -> Sight:
    """A picture's points where they are. robots: of the robot's camera, where another one took the picture."""
    image = torch.from_numpy(rgb).to(network.device)
    sizes = network.config.tokens
    points = (
        network.features.detect(image, sizes.view_pixels, sizes.view_tokens)
        if robots is None
        else network.photo_points(image, intrinsics(camera), robots)
    )
    ray = torch.from_numpy(intrinsics(camera).rays(points.pixels.cpu().numpy())).double()
    mount = mounted(camera)
    world_R_camera = planar_rotation(torch.tensor(pose[2])) @ tilt_rotation(
        torch.tensor([mount.roll, mount.pitch], dtype=torch.float64)
    )
    ray = F.normalize(ray @ world_R_camera.mT, dim=-1)
    origin = np.array([pose[0], pose[1], camera.z])
    distance = torch.from_numpy(ray_lengths(scene, origin, ray.numpy()))
    where = torch.from_numpy(origin) + distance[:, None] * ray
    return Sight(points.descriptors.cpu(), where.float(), distance.float())


def same_points(a: Sight, b: Sight) -> tuple[Tensor, Tensor]:
    """Tokens (J,) of ``a`` and of ``b`` that show one point each: nearest to each other, and near enough."""
    apart = torch.cdist(a.points, b.points)
    nearest = apart.min(dim=1)
    i = torch.arange(len(a.points))
    limit = (SAME * torch.maximum(a.distance, b.distance[nearest.indices])).clamp_min(SAME_FROM)
    same = (nearest.values < limit) & (apart.argmin(dim=0)[nearest.indices] == i)
    return i[same], nearest.indices[same]
