"""What is fitted on simulated drives: which hypothesis is the best, was the place seen, how exact is the answer."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from evaluation_support import shipped_network

from kinaema_ros import metrics
from kinaema_ros.model.config import SearchConfig
from kinaema_ros.model.judge import TERMS, Candidates, Judge, rivals
from kinaema_ros.training.drives import Drive, DriveConfig, simulate
from kinaema_ros.training.fit import fit_judge, normalised, report
from kinaema_ros.training.questions import Questions, ask

LIMITS = SearchConfig()
NUMBER, PLACES = 1200, 4
STD = (0.08, 0.03)  # metres and radians, of the right hypothesis; residuals tell half of it


def made_up(seed: int, number: int = NUMBER) -> Questions:
    """Questions by a known rule.

    One of three or four hypotheses is right, and its second term tells which. A place was seen where the first term is
    high. The other terms are noise. The true deviations are twice those by the residuals.
    """
    g = torch.Generator().manual_seed(seed)
    rows = torch.arange(number)
    right = torch.randint(PLACES - 1, (number,), generator=g)
    seen = torch.rand(number, generator=g) < 0.6
    truth = torch.randn(number, 3, generator=g, dtype=torch.float64)
    pose = truth[:, None] + torch.tensor([4.0, 0.0, 0.0]) * torch.arange(1, PLACES + 1)[:, None].double()
    scale = 0.5 + torch.rand(number, generator=g, dtype=torch.float64)
    noise = torch.randn(number, 3, generator=g, dtype=torch.float64) * torch.tensor([STD[0], STD[0], STD[1]])
    pose[rows, right] = truth + scale[:, None] * noise
    variance = (scale[:, None] / 2.0 * torch.tensor([STD[0], STD[0], STD[1]])) ** 2
    terms = torch.randn(number, PLACES, TERMS, generator=g)
    terms[..., 0] = seen[:, None] * 3.0 + 0.7 * torch.randn(number, 1, generator=g)
    terms[..., 1] = 0.5 * torch.randn(number, PLACES, generator=g)
    terms[rows, right, 1] += 4.0 * seen
    there = torch.ones(number, PLACES, dtype=torch.bool)
    there[: number // 2, -1] = False
    covariance = torch.diag_embed(variance)[:, None].expand(number, PLACES, 3, 3).clone()
    of = Candidates(terms, pose, covariance, torch.zeros(number, PLACES, 2), there)
    return Questions(of, truth, seen, torch.arange(number) % 2 == 0)


@pytest.fixture(scope="module")
def fitted() -> Judge:
    judge = Judge()
    fit_judge(judge, LIMITS, made_up(0))
    return judge


@pytest.fixture(scope="module")
def fresh() -> Questions:
    return made_up(1)


def test_it_ranks_the_right_hypothesis_first(fitted: Judge, fresh: Questions) -> None:
    def share_of_right(judge: Judge) -> float:
        distance, _ = fresh.errors
        best = judge.score(fresh.candidates).argmax(1)
        return float((distance[torch.arange(NUMBER), best][fresh.seen] < 1.0).double().mean())

    assert share_of_right(Judge()) < 0.8
    assert share_of_right(fitted) > 0.98
    weight = fitted.rank.weight[0]
    assert weight[1] > 3 * weight[[0, 2, 3, 4, 5, 6]].abs().max()


def test_it_recognises_what_was_seen(fitted: Judge, fresh: Questions) -> None:
    summary = report(fitted, LIMITS, fresh)
    assert summary["seen_auroc"] is not None
    assert summary["seen_auroc"] > 0.97
    assert summary["accepted_seen"] is not None
    assert summary["accepted_unseen"] is not None
    assert summary["accepted_seen"] > 0.85
    assert summary["accepted_unseen"] < 0.05


def test_what_it_is_sure_of_is_right(fitted: Judge, fresh: Questions) -> None:
    summary = report(fitted, LIMITS, fresh)
    assert summary["confident_right"] is not None
    assert summary["confident_share"] is not None
    assert summary["confident_right"] > 0.95
    assert summary["confident_share"] > 0.8
    assert summary["acc_1m_20deg"] == pytest.approx(1.0, abs=0.02)


def test_its_ellipses_hold_nine_of_ten_errors(fitted: Judge, fresh: Questions) -> None:
    summary = report(fitted, LIMITS, fresh)
    assert summary["inside_90_position"] == pytest.approx(0.9, abs=0.04)
    assert summary["inside_90_yaw"] == pytest.approx(0.9, abs=0.04)


def test_its_deviations_are_those_of_the_errors(fitted: Judge, fresh: Questions) -> None:
    """Twice what the residuals say."""
    of = fresh.candidates
    score = fitted.score(of)
    logit = fitted.right(of, score, rivals(LIMITS, of.pose, of.there))
    best, rows = score.argmax(1), torch.arange(NUMBER)
    factor = (fitted.covariance(of) / of.covariance).diagonal(dim1=-2, dim2=-1).sqrt()
    assert factor[rows, best][fresh.seen].median(0).values.tolist() == pytest.approx(
        [2.0, 2.0, 2.0], rel=0.15
    )
    off = normalised(fitted, fresh, best, logit)[fresh.seen]
    assert (off > 0).all()


def test_only_an_answer_that_may_be_wrong_may_be_elsewhere(fitted: Judge) -> None:
    """One that is as good as certain is as exact as its matches say; one that is as likely wrong may be metres away."""
    certain, even = fitted.astray(torch.tensor([8.0, 0.0])).diagonal(dim1=-2, dim2=-1).sqrt().unbind(0)
    assert certain[0] < 0.05
    assert (even > 4.0 * certain).all()


def test_it_ends_at_the_same_wherever_it_begins(fitted: Judge) -> None:
    torch.manual_seed(7)
    other = Judge()
    fit_judge(other, LIMITS, made_up(0))
    for name in ("spread.bias", "stray.weight", "stray.bias"):
        torch.testing.assert_close(
            other.state_dict()[name], fitted.state_dict()[name], atol=0.05, rtol=0.05, msg=name
        )


def test_nothing_is_left_to_learn(fitted: Judge) -> None:
    assert not any(parameter.requires_grad for parameter in fitted.parameters())
    assert all(parameter.isfinite().all() for parameter in fitted.parameters())


def test_photos_about_which_there_is_no_hypothesis_count_as_not_seen(fitted: Judge, fresh: Questions) -> None:
    without = replace(fresh.candidates, there=torch.zeros_like(fresh.candidates.there))
    summary = report(fitted, LIMITS, replace(fresh, candidates=without))
    assert summary["acc_1m_20deg"] == 0.0
    assert summary["accepted_seen"] == summary["accepted_unseen"] == 0.0


# -- questions ---------------------------------------------------------------------------------------------


def test_errors_are_those_of_the_poses_and_infinite_where_there_is_no_truth(fresh: Questions) -> None:
    distance, turn = fresh.errors
    of = fresh.candidates
    expected, angle = metrics.pose_errors(of.pose.numpy(), fresh.truth[:, None].numpy())
    known = (fresh.seen[:, None] & of.there).numpy()
    np.testing.assert_allclose(distance.numpy()[known], expected[known])
    np.testing.assert_allclose(turn.numpy()[known], angle[known], atol=1e-9)
    assert distance[~torch.from_numpy(known)].isinf().all()
    assert turn[~torch.from_numpy(known)].isinf().all()


def test_questions_of_several_drives_stand_one_after_another() -> None:
    parts = [made_up(seed, 5) for seed in range(3)]
    together = Questions.joined(parts)
    assert len(together.seen) == 15
    for number, part in enumerate(parts):
        mine = together[torch.arange(5 * number, 5 * number + 5)]
        for name in ("truth", "seen", "same_camera"):
            assert torch.equal(getattr(mine, name), getattr(part, name))
        for name in ("terms", "pose", "covariance", "drift", "there"):
            assert torch.equal(getattr(mine.candidates, name), getattr(part.candidates, name))


def test_some_questions_can_be_picked_out() -> None:
    questions = made_up(0, 6)
    own = questions[questions.same_camera]
    assert own.same_camera.tolist() == [True] * 3
    assert torch.equal(own.truth, questions.truth[::2])
    assert torch.equal(own.candidates.pose, questions.candidates.pose[::2])


@pytest.fixture(scope="module")
def drive() -> Drive:
    config = DriveConfig(
        frames=(10, 10), moments=(0.5, 1.0), photos=3, max_size=9.0, twins=0.0,
        exact_odometry=1.0, distance=0.5, angle_deg=20.0,
    )  # fmt: skip
    return simulate(config, 1)


@pytest.fixture(scope="module")
def asked(drive: Drive) -> Questions:
    return ask(shipped_network(), drive)


def test_every_photo_is_asked_about_with_room_for_as_many_hypotheses_as_are_verified(
    drive: Drive, asked: Questions
) -> None:
    size = shipped_network().config.search.verified
    number = len(drive.photos)
    of = asked.candidates
    assert of.terms.shape == (number, size, TERMS)
    assert of.pose.shape == (number, size, 3)
    assert of.covariance.shape == (number, size, 3, 3)
    assert of.there.shape == (number, size)
    assert (torch.linalg.eigvalsh(of.covariance) > 0).all()
    first_absent = of.there.sum(1)
    assert all(row[:k].all() and not row[k:].any() for row, k in zip(of.there, first_absent, strict=True))


def test_hypotheses_about_photos_are_compared_with_where_they_were_taken(
    drive: Drive, asked: Questions
) -> None:
    """The odometry is exact, so that hypotheses are right to a few centimetres once there was parallax."""
    distance, turn = asked.errors
    late = torch.tensor(
        [photo.moment == 10 for photo in sorted(drive.photos, key=lambda photo: photo.moment)]
    )
    known = asked.seen & asked.same_camera & late
    assert distance[known].amin(1).median() < 0.15
    assert math.degrees(turn[known].amin(1).median()) < 5.0
    in_order = sorted(drive.photos, key=lambda photo: photo.moment)
    assert asked.seen.tolist() == [photo.seen for photo in in_order]
    assert asked.same_camera.tolist() == [photo.mount is not None for photo in in_order]
