"""The judge of a photo's hypotheses: rivals, margins, probabilities, and covariances."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from kinaema_ros.model.camera_pose import planar_rotation
from kinaema_ros.model.config import SearchConfig
from kinaema_ros.model.judge import MAX_MARGIN, NEVER, TERMS, Candidates, Judge, margin, rivals, terms
from kinaema_ros.model.localise import Evidence

LIMITS = SearchConfig()
STRONG = Evidence(40.0, 0.8, 0.9, 0.7, 120, roll=0.02, pitch=0.1, height=0.6)


@pytest.fixture
def judge() -> Judge:
    """With weights of no special values, so that nothing cancels."""
    random = torch.Generator().manual_seed(0)
    judge = Judge()
    for parameter in judge.parameters():
        parameter.copy_(0.3 * torch.randn(parameter.shape, generator=random))
    judge.mean.copy_(torch.randn(TERMS, generator=random))
    judge.deviation.copy_(torch.rand(TERMS, generator=random) + 0.5)
    return judge


def some(number: int = 5, photos: int = 3) -> Candidates:
    random = torch.Generator().manual_seed(1)
    pose = torch.rand(photos, number, 3, generator=random, dtype=torch.float64) * 6.0 - 3.0
    root = torch.randn(photos, number, 3, 3, generator=random, dtype=torch.float64) * 0.05
    return Candidates(
        torch.randn(photos, number, TERMS, generator=random),
        pose,
        root @ root.mT + 1e-4 * torch.eye(3, dtype=torch.float64),
        torch.rand(photos, number, 2, generator=random) * 0.01,
        torch.ones(photos, number, dtype=torch.bool),
    )


def judged(judge: Judge, of: Candidates) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    score = judge.score(of)
    right = judge.right(of, score, rivals(LIMITS, of.pose, of.there))
    return score, judge.seen(of), right, judge.covariance(of) + judge.astray(right)


@pytest.mark.parametrize(
    ("x", "yaw_deg", "rival"),
    [(0.9, 0.0, False), (1.1, 0.0, True), (0.0, 29.0, False), (0.0, 31.0, True), (0.0, 358.0, False)],
)
def test_rivals_are_a_metre_or_thirty_degrees_apart(x: float, yaw_deg: float, rival: bool):
    pose = torch.tensor([[0.0, 0.0, 0.0], [x, 0.0, math.radians(yaw_deg)]], dtype=torch.float64)
    distinct = rivals(LIMITS, pose, torch.ones(2, dtype=torch.bool))
    assert distinct.tolist() == [[False, rival], [rival, False]]


def test_what_is_not_there_is_nobodys_rival():
    pose = torch.tensor([[0.0, 0.0, 0.0], [5.0, 0.0, 0.0], [9.0, 0.0, 0.0]], dtype=torch.float64)
    distinct = rivals(LIMITS, pose, torch.tensor([True, True, False]))
    assert distinct[:, 2].tolist() == [False, False, False]
    assert distinct[0, 1]
    assert distinct[1, 0]


def test_the_margin_is_that_over_the_best_other_place():
    pose = torch.tensor([[0.0, 0, 0], [0.2, 0, 0], [4.0, 0, 0], [8.0, 0, 0]], dtype=torch.float64)
    distinct = rivals(LIMITS, pose, torch.ones(4, dtype=torch.bool))
    score = torch.tensor([3.0, 2.5, 1.0, -0.5])
    torch.testing.assert_close(margin(score, distinct), torch.tensor([2.0, 1.5, -2.0, -3.5]))


def test_a_margin_without_a_rival_is_the_largest():
    alone = torch.zeros(2, 2, dtype=torch.bool)
    assert margin(torch.tensor([-2.0, 0.0]), alone).tolist() == [MAX_MARGIN, MAX_MARGIN]
    rival = ~torch.eye(2, dtype=torch.bool)
    assert margin(torch.tensor([20.0, 0.0]), rival).tolist() == [MAX_MARGIN, -MAX_MARGIN]


def test_a_rival_takes_confidence_away():
    judge = Judge()
    judge.trust.weight[0, TERMS] = 1.0  # as it is fitted: the margin counts for it
    of = some(2, 1)
    of.terms[:] = 0.0
    far, near = of.pose.clone(), of.pose.clone()
    far[0, 1] = far[0, 0] + torch.tensor([3.0, 0, 0])
    near[0, 1] = near[0, 0] + torch.tensor([0.3, 0, 0])
    *_, with_rival, _ = judged(judge, replace(of, pose=far))
    *_, without, _ = judged(judge, replace(of, pose=near))
    assert (with_rival < without - 1.0).all()


def test_covariances_are_positive_definite_and_grow_with_drift(judge: Judge):
    of = some(40, 6)
    *_, covariance = judged(judge, of)
    torch.testing.assert_close(covariance, covariance.mT)
    assert (torch.linalg.eigvalsh(covariance) > 0).all()
    covariance = judge.covariance(of)
    more = judge.covariance(replace(of, drift=of.drift + 0.5))
    added = (more - covariance).diagonal(dim1=-2, dim2=-1)
    assert (added > 0).all()
    torch.testing.assert_close(added[..., 0], added[..., 1])


def test_the_most_extreme_evidence_has_a_covariance_too(judge: Judge):
    of = some(1, 2)
    of.terms[0], of.terms[1] = 1e4, -1e4
    score, seen, right, covariance = judged(judge, of)
    for value in (score, seen, right, covariance):
        assert value.isfinite().all()
    assert (torch.linalg.eigvalsh(covariance) > 0).all()


def test_a_turned_frame_turns_the_answers_and_changes_no_probability(judge: Judge):
    of = some()
    yaw = torch.tensor(1.1, dtype=torch.float64)
    turn = planar_rotation(yaw)
    turned = replace(
        of,
        pose=of.pose @ turn.mT + torch.tensor([0.0, 0.0, 1.1]),
        covariance=turn @ of.covariance @ turn.mT,
    )
    score, seen, right, covariance = judged(judge, of)
    its_score, its_seen, its_right, its_covariance = judged(judge, turned)
    for a, b in ((score, its_score), (seen, its_seen), (right, its_right)):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(its_covariance, turn @ covariance @ turn.mT)


def test_padding_changes_no_answer(judge: Judge):
    of = some(5)
    padded = replace(of, there=torch.tensor([True] * 3 + [False] * 2).expand(3, 5))
    padded.terms[:, 3:] = 50.0  # would win
    score, *rest = judged(judge, padded)
    assert (score[:, 3:] == NEVER).all()
    alone = Candidates(*(getattr(of, name)[:, :3] for name in vars(of)))
    for with_padding, without in zip((score, *rest), judged(judge, alone), strict=True):
        torch.testing.assert_close(with_padding[:, :3], without, rtol=1e-5, atol=1e-6)


def test_photos_side_by_side_are_judged_as_each_alone(judge: Judge):
    of = some()
    for photo in range(3):
        for together, alone in zip(judged(judge, of), judged(judge, of[torch.tensor(photo)]), strict=True):
            torch.testing.assert_close(together[photo], alone, rtol=1e-5, atol=1e-6)


def test_the_robots_own_camera_is_held_to_its_mount_and_another_one_is_not():
    own, others = terms(STRONG, 0.5), terms(STRONG, None)
    assert len(own) == len(others) == TERMS
    assert own[:5] == others[:5]
    assert own[5:] == pytest.approx([math.log(math.hypot(0.02, 0.1) + 0.05), math.log(0.1 + 0.05)])
    assert others[5:] == pytest.approx(
        [math.log(0.02 + 0.05), math.log(0.05)]
    )  # whatever its pitch and height


def test_terms_of_the_least_evidence_are_finite():
    nothing = Evidence(0.0, 0.0, 0.0, 0.0, 0, roll=3.0, pitch=-1.5, height=-9.0)
    assert all(math.isfinite(value) for value in terms(nothing, 0.5))
    assert terms(nothing, 0.5)[5:] == [math.log(0.55)] * 2
