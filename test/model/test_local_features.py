"""Local features: shapes and geometry; what they are worth needs the pretrained weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kinaema_ros.model.local_features import DESCRIPTOR_DIM, LocalFeatures, input_size


@pytest.fixture(scope="module")
def network() -> LocalFeatures:
    """With random weights, and decided enough to find points."""
    torch.manual_seed(0)
    network = LocalFeatures().eval()
    network.point[-1].weight *= 300.0
    return network


@pytest.mark.parametrize("size", [(240, 320), (1200, 900), (90, 640), (8, 8)])
def test_any_image_has_points_within_it(network: LocalFeatures, size: tuple[int, int]) -> None:
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8))
    points = network.detect(image, 160 * 120, 50)
    assert points.count <= 50
    assert points.descriptors.shape == (points.count, DESCRIPTOR_DIM)
    if points.count:
        torch.testing.assert_close(
            torch.linalg.vector_norm(points.descriptors, dim=-1), torch.ones(points.count)
        )
        assert (points.pixels > -1.0).all()
        assert (points.pixels < torch.tensor([size[1], size[0]])).all()
        assert (points.scores[:-1] >= points.scores[1:]).all()


def test_a_blank_image_is_no_error(network: LocalFeatures) -> None:
    points = network.detect(torch.full((48, 64, 3), 127, dtype=torch.uint8), 64 * 64, 50)
    assert torch.isfinite(points.descriptors).all()


@pytest.mark.parametrize(
    ("height", "width", "expected"), [(480, 640, (288, 384)), (1200, 900, (384, 288)), (360, 540, (256, 416))]
)
def test_images_are_read_out_at_one_area(height: int, width: int, expected: tuple[int, int]) -> None:
    assert input_size(height, width, 384 * 288) == expected


def test_points_move_with_the_image(network: LocalFeatures) -> None:
    image = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (192, 256, 3), dtype=np.uint8))
    points = network.detect(image, 192 * 256, 400)
    shifted = network.detect(image.roll(32, dims=1), 192 * 256, 400)
    assert points.count > 20
    inner = (points.pixels[:, 0] > 64) & (points.pixels[:, 0] < 150)
    gap = torch.cdist(points.pixels[inner] + torch.tensor([32.0, 0.0]), shifted.pixels).amin(-1)
    assert gap.median() < 0.1
