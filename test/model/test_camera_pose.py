"""The pose of a camera from matches, with known and with unknown distances."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from kinaema_ros.model.camera_pose import (
    CameraPose,
    Rays,
    axis_rotation,
    planar_rotation,
    refine,
    search,
    search_motion,
    stack,
    tilt_rotation,
)

TRUE_ROTATION = planar_rotation(torch.tensor(0.4)) @ tilt_rotation(torch.tensor([0.05, 0.15]))
TRUE_POSITION = torch.tensor([0.5, -0.3, 0.8])
LEVEL = torch.eye(3)[None]


def scene(number: int = 80, depth_std: float = 1e-3) -> tuple[Rays, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    points = torch.rand(number, 3, generator=random) * torch.tensor([5.0, 6.0, 3.0]) + torch.tensor(
        [2.0, -2.0, -1.0]
    )
    length = torch.linalg.vector_norm(points, dim=-1)
    rays = Rays(
        torch.zeros(number, 3), points / length[:, None], 1 / length, torch.full((number,), depth_std)
    )
    return rays, F.normalize((points - TRUE_POSITION) @ TRUE_ROTATION, dim=-1)


def test_a_pose_is_found_among_false_matches():
    rays, seen = scene()
    seen[:40] = seen[:40].roll(1, 0)
    first = search(rays.points, seen, 0.02, 1000)
    assert first is not None
    pose = refine(first[0][None], first[1][None], rays[None], seen[None], torch.ones(1, 80), 0.005)
    torch.testing.assert_close(pose.position[0], TRUE_POSITION, atol=1e-3, rtol=0)
    torch.testing.assert_close(pose.rotation[0], TRUE_ROTATION, atol=1e-3, rtol=0)
    torch.testing.assert_close(pose.tilt[0], torch.tensor([0.05, 0.15]), atol=1e-3, rtol=0)
    torch.testing.assert_close(pose.planar[0], torch.tensor([0.5, -0.3, 0.4]), atol=2e-2, rtol=0)
    assert (pose.chi2[0, 40:] < 1e-2).all()
    assert (pose.chi2[0, :40] > 9).float().mean() > 0.9


def test_no_pose_from_nothing():
    rays, seen = scene(3)
    assert search(rays.points, seen, 0.02, 100) is None
    rays, seen = scene(20)
    assert search(rays.points, -seen, 0.02, 100) is None  # all behind the camera


def test_a_motion_is_found_among_false_matches_whatever_the_distances_are():
    rays, seen = scene()
    seen[:30] = seen[:30].roll(1, 0)
    found = search_motion(rays.direction, seen, 0.005)
    assert found is not None
    rotation, towards, fits = found
    torch.testing.assert_close(rotation, TRUE_ROTATION, atol=1e-3, rtol=0)
    torch.testing.assert_close(towards, F.normalize(TRUE_POSITION, dim=0), atol=2e-3, rtol=0)
    assert fits[30:].all()
    assert int(fits[:30].sum()) < 10


def test_a_camera_that_only_turned_moved_nowhere():
    rays, _ = scene()
    noise = 0.002 * torch.randn(80, 3, generator=torch.Generator().manual_seed(2))
    after = F.normalize(rays.direction @ TRUE_ROTATION + noise, dim=-1)
    found = search_motion(rays.direction, after, 0.01)
    assert found is not None
    torch.testing.assert_close(found[0], TRUE_ROTATION, atol=2e-3, rtol=0)
    assert not found[1].any()
    assert int(found[2].sum()) > 70


def test_no_motion_from_too_few_points_or_what_is_behind():
    rays, seen = scene()
    assert search_motion(rays.direction, -seen, 0.005) is None  # all behind the camera
    assert search_motion(rays.direction[:5], seen[:5], 0.005) is None  # any five points can be explained


@pytest.mark.parametrize("number", [6, 20])
def test_one_direction_many_times_is_no_error(number: int):
    rays, _ = scene()
    one = rays.direction[:1].expand(number, 3)
    found = search_motion(one, one, 0.005)
    assert found is None or not found[1].any(), "nothing has moved"


def test_where_a_token_may_be_seen_depends_on_how_well_its_distance_is_known():
    rays, _ = scene(1)
    two = Rays(*(part.expand(2, *part.shape[1:]) for part in vars(rays).values()))
    two = Rays(two.origin, two.direction, torch.tensor([0.3, 0.3]), torch.tensor([0.001, 0.3]))
    position, rotation = torch.tensor([0.0, 0.5, 0.0]), planar_rotation(torch.tensor(0.1))
    nearer = F.normalize((two.direction + 0.7 * (two.origin - position)) @ rotation, dim=-1)
    known, unknown = two.cosine_to(nearer, position, rotation, 2.0).clamp(-1, 1).acos().tolist()
    assert known > 0.1
    assert unknown < 1e-3
    above = F.normalize(nearer + torch.tensor([0.0, 0.0, 0.2]), dim=-1)
    assert (two.cosine_to(above, position, rotation, 2.0) < math.cos(0.1)).all()  # where no distance puts it
    assert (two.cosine_to(-nearer, position, rotation, 2.0) < 0).all()  # behind the camera


def test_a_singular_system_leaves_the_pose_where_it_was():
    nothing = Rays(torch.zeros(1, 1, 3), torch.zeros(1, 1, 3), torch.zeros(1, 1), torch.ones(1, 1))
    seen = torch.tensor([[[1.0, 0.0, 0.0]]])
    one_number = torch.full((1, 6, 6), 1e8)  # known of six, to more digits than single precision has
    with pytest.raises(torch.linalg.LinAlgError):
        torch.linalg.solve(one_number, torch.zeros(1, 6, 1))
    pose = refine(LEVEL, torch.zeros(1, 3), nothing, seen, torch.ones(1, 1), 0.005, one_number)
    torch.testing.assert_close(pose.position, torch.zeros(1, 3))
    torch.testing.assert_close(pose.rotation, LEVEL)


@pytest.mark.parametrize("where", [0.05, 1.0, 30.0])
def test_of_matches_that_tell_too_little_the_certainty_is_none_and_not_nonsense(where: float):
    rays = Rays(
        torch.randn(12, 3, generator=torch.Generator().manual_seed(1)) * 1e-3,
        F.normalize(torch.tensor([[1.0, 0.2, 0.1]]).expand(12, 3), dim=-1),
        torch.full((12,), 1.0 / where),
        torch.full((12,), 1e-5),
    )
    seen = F.normalize(torch.tensor([[1.0, 0.0, 0.0]]).expand(12, 3), dim=-1)
    pose = refine(LEVEL, torch.zeros(1, 3), rays[None], seen[None], torch.ones(1, 12), 1e-3)
    assert pose.covariance.isfinite().all()
    assert (torch.linalg.eigvalsh(pose.covariance[0].double()) > 0).all()
    assert pose.covariance[0].diagonal().max() > 1.0  # turned about what it sees, it sees the same


def test_tokens_of_unknown_distance_tell_the_heading_and_no_false_position():
    rays, seen = scene(depth_std=0.3)
    rays = Rays(rays.origin, rays.direction, torch.full((80,), 0.25), rays.depth_std)
    prior = torch.diag(torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0, 1.0]))[None]
    pose = refine(
        LEVEL, TRUE_POSITION[None], rays[None], seen[None], torch.ones(1, 80), 0.005, prior, iterations=15
    )
    torch.testing.assert_close(pose.planar[0, 2], torch.tensor(0.4), atol=0.02, rtol=0)
    known, _ = scene()
    sure = refine(
        LEVEL, TRUE_POSITION[None], known[None], seen[None], torch.ones(1, 80), 0.005, iterations=15
    )
    assert pose.covariance[0, 3, 3] > 20 * sure.covariance[0, 3, 3]


@pytest.mark.parametrize("noise", [0.002, 0.01])
def test_the_covariance_is_that_of_the_errors(noise: float):
    rays, seen = scene()
    trials = 200
    random = torch.Generator().manual_seed(3)
    noisy = F.normalize(seen + noise * torch.randn(trials, *seen.shape, generator=random), dim=-1)
    many = Rays(*(part.expand(trials, *part.shape) for part in vars(rays).values()))
    pose = refine(
        TRUE_ROTATION.expand(trials, 3, 3), TRUE_POSITION.expand(trials, 3), many, noisy, torch.ones(trials, 80), noise,
        kernel=1e3,
    )  # fmt: skip
    off = pose.position - TRUE_POSITION
    expected = pose.covariance.mean(0)[3:, 3:].diagonal().sqrt()
    torch.testing.assert_close(off.double().std(0), expected, rtol=0.2, atol=0)
    assert pose.planar_covariance.shape == (trials, 3, 3)


def test_several_sets_of_matches_are_solved_as_each_alone():
    rays, seen = scene()
    sets = [(rays[torch.arange(80)], seen), (rays[torch.arange(30)], seen[:30])]
    stacked, directions, weight = stack([r for r, _ in sets], [s for _, s in sets])
    start = TRUE_ROTATION.expand(2, 3, 3), TRUE_POSITION.expand(2, 3) + 0.05
    together = refine(*start, stacked, directions, weight, 0.005)
    alone = refine(
        LEVEL @ TRUE_ROTATION,
        start[1][:1],
        rays[torch.arange(30)][None],
        seen[None, :30],
        torch.ones(1, 30),
        0.005,
    )
    torch.testing.assert_close(together[1:].position, alone.position, atol=1e-4, rtol=0)
    torch.testing.assert_close(together[1:].covariance, alone.covariance, atol=1e-7, rtol=1e-2)


def test_rotations():
    torch.testing.assert_close(
        axis_rotation(torch.tensor([0.0, 0.0, 0.7])), planar_rotation(torch.tensor(0.7))
    )
    down = tilt_rotation(torch.tensor([0.0, 0.3])) @ torch.tensor([1.0, 0.0, 0.0])
    torch.testing.assert_close(down, torch.tensor([math.cos(0.3), 0.0, -math.sin(0.3)]))
    pose = CameraPose(
        tilt_rotation(torch.tensor([[-0.2, 0.1]])), torch.zeros(1, 3), torch.zeros(1, 6, 6), torch.zeros(1, 1)
    )
    torch.testing.assert_close(pose.tilt, torch.tensor([[-0.2, 0.1]]))


def test_by_a_narrow_kernel_what_fits_a_little_turns_no_pose():
    """Three points of ten lie beside where they are taken to be, all to one side, as points of a pattern that repeats."""
    rays, seen = scene()
    noise = 0.006
    seen[:24] = seen[:24] @ planar_rotation(torch.tensor(2.5 * noise)).mT
    first = (TRUE_ROTATION[None], TRUE_POSITION[None], rays[None], seen[None], torch.ones(1, 80), noise)
    known = torch.diag(torch.tensor([1e5, 1e5, 1e2, 1e5, 1e5, 1e5]))[None]
    wide, narrow = (abs(float(refine(*first, known, kernel=k).planar[0, 2]) - 0.4) for k in (3.0, 1.0))
    assert wide > 0.15 * noise
    assert narrow < 0.4 * wide
