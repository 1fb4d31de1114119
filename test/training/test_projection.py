"""The projection of the descriptors: what tells points apart, learned from simulated views of the same points."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kinaema_ros.model.network import Kinaema
from kinaema_ros.sim import Camera, SceneConfig, explore, generate_scene, render
from kinaema_ros.training.config import TrainConfig
from kinaema_ros.training.drives import intrinsics
from kinaema_ros.training.pretrained import load_pretrained_features
from kinaema_ros.training.projection import Sight, discriminant, same_points, sight


@pytest.fixture(scope="module")
def network() -> Kinaema:
    network = Kinaema(TrainConfig().model).eval()
    load_pretrained_features(network.features)
    return network


def test_what_differs_between_views_of_one_point_is_left_out() -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(2000, 6, generator=generator)
    light = torch.randn(2, 2000, 6, generator=generator) * torch.tensor([3.0, 2, 0.1, 0.1, 0.1, 0.1])
    weight, bias = discriminant(points + light[0], light[0] - light[1], 4)
    assert weight.shape == (4, 6)
    assert float(weight[:, :2].abs().max()) < 0.1 * float(weight[:, 2:].abs().max())
    within = ((light[0] - light[1]) @ weight.T).std(0)
    torch.testing.assert_close(within, within.mean().expand(4), rtol=0.1, atol=0.0)
    torch.testing.assert_close(
        ((points + light[0]) @ weight.T + bias).mean(0), torch.zeros(4), rtol=0.0, atol=1e-4
    )


def test_tokens_show_one_point_where_they_are_nearest_to_each_other_and_near() -> None:
    a, b = (
        Sight(torch.zeros(len(x), 2), torch.tensor([[v, 0.0, 0.0] for v in x]), torch.full((len(x),), 2.0))
        for x in ([0.0, 1.0, 5.0], [0.02, 0.01, 1.2])
    )
    i, j = same_points(a, b)  # 1.0 is farther than 3 cm from 1.2, and 0.02 is not the nearest of 0.0
    assert (i.tolist(), j.tolist()) == ([0], [1])


@torch.inference_mode()
def test_a_camera_finds_its_points_again_from_another_place_and_by_another_tilt(network: Kinaema) -> None:
    """What both pictures show lies at one place only if pose, tilt, height and the ray's length are right."""
    scene = generate_scene(3, SceneConfig(10.0, 10.0))
    pose = explore(scene, np.random.default_rng(0), 1)[0]
    near = pose + np.array([0.1 * np.cos(pose[2]), 0.1 * np.sin(pose[2]), 0.1])
    first, second = Camera(384, 288, 1.2, 0.5), Camera(384, 288, 1.2, 0.6, 0.15)
    a, b = (
        sight(network, scene, at, camera, render(scene, at[None], camera)[0])
        for at, camera in ((pose, first), (near, second))
    )
    i, j = same_points(a, b)
    assert len(i) > 60
    alike = torch.nn.functional.cosine_similarity(a.descriptors[i], b.descriptors[j])
    others = torch.nn.functional.cosine_similarity(a.descriptors[i], b.descriptors[j.roll(1)])
    assert float(alike.median()) > float(others.quantile(0.95))
    photo = sight(network, scene, pose, first, render(scene, pose[None], first)[0], intrinsics(second))
    assert len(photo.points) > 200
