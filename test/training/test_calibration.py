"""What is fitted after training: the choice between hypotheses, their deviations, and whether a place was seen."""

import math

import pytest
import torch
from evaluation_support import random_sequence, small_network

from kinaema_ros.training.calibrate import CHI2_90, Asked, calibrate, fit_choice, fit_fusion, judge
from kinaema_ros.training.config import TrainConfig

QUESTIONS = 2000


@pytest.fixture
def asked() -> Asked:
    """Two hypotheses each, one of them 3 m off; similarity tells which, the match is noise. Half are of unseen places."""
    g = torch.Generator().manual_seed(0)
    right = torch.randint(2, (QUESTIONS,), generator=g)
    rows = torch.arange(QUESTIONS)
    truth = torch.randn(QUESTIONS, 3, generator=g)
    scale = torch.rand(QUESTIONS, 2, 2, generator=g) * 0.3 + 0.05
    xy = truth[:, None, :2] + 0.5 * scale[..., :1] * torch.randn(QUESTIONS, 2, 2, generator=g)
    xy[rows, 1 - right] += 3.0
    yaw = truth[:, None, 2] + 0.5 * scale[..., 1] * torch.randn(QUESTIONS, 2, generator=g)
    similarity = 0.5 + 0.02 * torch.randn(QUESTIONS, 2, generator=g)
    similarity[rows, right] += 0.1
    label = (rows % 4 < 2).float()
    return Asked(
        xy=xy,
        direction=torch.stack([yaw.cos(), yaw.sin()], dim=-1),
        scale=scale,
        match=3.0 * torch.randn(QUESTIONS, 2, generator=g),
        similarity=similarity,
        distinctness=label[:, None] + 0.3 * torch.randn(QUESTIONS, 1, generator=g),
        truth=truth,
        label=label,
    )


def test_the_choice_learns_what_tells_hypotheses_apart(asked):
    network = small_network()
    before = (judge(network, asked).error[:, 0] < 1.0).float().mean()
    fit_choice(network, asked)
    after = (judge(network, asked).error[:, 0] < 1.0).float().mean()
    assert before < 0.8
    assert after > 0.98
    assert network.choice[1] > 10 * network.choice[0].abs()


def test_ellipses_hold_what_they_promise_and_seen_tells(asked):
    network = small_network()
    fit_choice(network, asked)
    evidence = judge(network, asked)
    fit_fusion(network.fusion, evidence[::2])
    fresh = evidence[1::2]
    seen = fresh.label > 0.5
    std = network.fusion.deviations(fresh.spread)
    for axis, quantile in enumerate(CHI2_90):
        inside = (fresh.error[seen, axis] / std[seen, axis] < math.sqrt(quantile)).float().mean()
        assert inside == pytest.approx(0.9, abs=0.03)
    probability = network.fusion.probability(fresh.seen)
    assert ((probability > 0.5) == seen).float().mean() > 0.9


def test_calibration_is_fitted_by_driving():
    network = small_network()
    report = calibrate(network, TrainConfig(), torch.device("cpu"), [random_sequence(s) for s in range(4)])
    assert report["seen_auroc"] > 0.9, "each query is a frame of the drive, and nothing in another one's"
    assert not any(p.requires_grad for p in network.parameters())
