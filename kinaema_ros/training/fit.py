"""Fit the judge: how hypotheses are ranked, when a place counts as seen, what the pose and its certainty are worth."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinaema_ros import metrics
from kinaema_ros.model.config import SearchConfig
from kinaema_ros.model.judge import Judge, rivals
from kinaema_ros.training.questions import Questions

CHI2_90 = (4.605, 2.706)  # 90 % quantiles of chi squared with 2 (position) and 1 (yaw) degrees of freedom
NEAR = 0.3  # metres: of two right hypotheses the nearer one is to win
WEIGHT_DECAY = 1e-3
UNSEEN_WEIGHT = 3.0  # a place taken for seen that was not is worse than one refused


def fit_judge(judge: Judge, limits: SearchConfig, questions: Questions) -> None:
    """Fit all parts of ``judge``, one after the other, in place."""
    of = questions.candidates
    distance, turn = questions.errors
    right = (distance <= metrics.RIGHT[0]) & (turn <= metrics.RIGHT[1])
    known = of.terms[of.there]
    judge.mean.copy_(known.mean(0))
    judge.deviation.copy_(known.std(0).clamp_min(1e-3))

    worth = torch.where(right, torch.exp(-distance / NEAR).float().clamp_min(1e-3), 0.0)
    answerable = right.any(1)

    def ranking() -> Tensor:
        share = F.softmax(judge.score(of[answerable]), dim=-1)
        best = worth[answerable].amax(1)
        return -((share * worth[answerable]).sum(1) / best).clamp_min(1e-6).log().mean()

    _minimise(judge.rank, ranking)
    score = judge.score(of).detach()
    best = score.argmax(1)
    rows = torch.arange(len(best))
    asked = of.there.any(1)

    def recognition() -> Tensor:
        logit = judge.seen(of)[rows, best][asked]
        weight = torch.where(questions.seen[asked], 1.0, UNSEEN_WEIGHT)
        return F.binary_cross_entropy_with_logits(logit, questions.seen[asked].float(), weight)

    _minimise(judge.recognise, recognition)
    distinct = rivals(limits, of.pose, of.there)

    def trust() -> Tensor:
        logit = judge.right(of, score, distinct)
        return F.binary_cross_entropy_with_logits(logit[of.there], right[of.there].float())

    _minimise(judge.trust, trust)
    here = questions.seen & asked
    logit = judge.right(of, score, distinct).detach()
    # First what is said of right answers, then what is added for those that are wrong: together they could take each other's part.
    with torch.no_grad():
        for parameter in (*judge.spread.parameters(), judge.wander, judge.stray.bias):
            parameter.zero_()
        judge.stray.weight.fill_(-1.0)
    found_right = here & right[rows, best]
    _hold(
        judge,
        [*judge.spread.parameters(), judge.wander],
        lambda: normalised(judge, questions, best)[found_right],
    )
    _hold(judge, [*judge.stray.parameters()], lambda: normalised(judge, questions, best, logit)[here])


def normalised(judge: Judge, questions: Questions, best: Tensor, logit: Tensor | None = None) -> Tensor:
    """Errors (Q, 2) of position and yaw of the hypotheses ``best`` (Q,), in units of what holds 90 % of them.

    logit (Q, K): of being right; without it all of them are taken to be.
    """
    of, rows = questions.candidates, torch.arange(len(best))
    covariance = judge.covariance(of)[rows, best]
    if logit is not None:
        covariance = covariance + judge.astray(logit[rows, best])
    off = of.pose[rows, best] - questions.truth
    yaw = torch.remainder(off[:, 2] + math.pi, 2 * math.pi) - math.pi
    position = (off[:, None, :2] @ torch.linalg.solve(covariance[:, :2, :2], off[:, :2, None]))[:, 0, 0]
    squared = torch.stack([position / CHI2_90[0], yaw**2 / covariance[:, 2, 2] / CHI2_90[1]], dim=-1)
    return squared.clamp_min(1e-12).sqrt()


def _hold(judge: Judge, parameters: list[nn.Parameter], errors: Callable[[], Tensor]) -> None:
    """Fit ``parameters`` of the deviations so that 90 % of the normalised errors are within: the 0.9 quantile of their logarithm is 0."""
    optimiser = torch.optim.Adam(parameters, lr=0.02)
    for parameter in parameters:
        parameter.requires_grad_(True)
    for _ in range(1500):
        optimiser.zero_grad()
        off = errors().clamp_min(1e-4).log()
        loss = torch.maximum(0.9 * off, -0.1 * off).mean()
        (loss + WEIGHT_DECAY * judge.spread.weight.square().sum()).backward()
        optimiser.step()
        with torch.no_grad():
            judge.wander.clamp_(-2.0, 3.0)
    judge.requires_grad_(False)


def _minimise(layer: nn.Module, loss: Callable[[], Tensor]) -> None:
    """Of a layer by itself; few parameters, so to the end."""
    layer.requires_grad_(True)
    parameters = list(layer.parameters())
    optimiser = torch.optim.LBFGS(parameters, lr=0.5, max_iter=300, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        total = loss() + WEIGHT_DECAY * torch.stack([p.square().sum() for p in parameters]).sum()
        total.backward()
        return total

    optimiser.step(closure)
    layer.requires_grad_(False)


@torch.no_grad()
def report(judge: Judge, limits: SearchConfig, questions: Questions) -> dict[str, float | None]:
    """What the judge makes of questions: accuracy, decisions, coverage."""
    of = questions.candidates
    distance, turn = questions.errors
    score = judge.score(of)
    best, rows = score.argmax(1), torch.arange(len(score))
    logit = judge.right(of, score, rivals(limits, of.pose, of.there))
    asked = of.there.any(1)
    seen = torch.where(asked, judge.seen(of)[rows, best].sigmoid(), 0.0)
    confidence = torch.minimum(torch.where(asked, logit[rows, best].sigmoid(), 0.0), seen)
    known = questions.seen
    position, yaw = distance[rows, best].numpy(), turn[rows, best].numpy()
    inside = (normalised(judge, questions, best, logit)[known & asked] < 1.0).double().mean(0)
    values = {
        **metrics.accuracy_summary(position[known.numpy()], yaw[known.numpy()]),
        **metrics.decision_summary(
            seen.numpy(), confidence.numpy(), known.numpy(), metrics.is_right(position, yaw)
        ),
        "inside_90_position": float(inside[0]),
        "inside_90_yaw": float(inside[1]),
    }
    return {key: None if value is None else round(value, 4) for key, value in values.items()}
