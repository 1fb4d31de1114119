"""What the learned baselines learn from: the answers to the questions about a drive."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from kinaema_ros.baselines.baseline import Baseline
from kinaema_ros.baselines.decoder import PoseEstimate
from kinaema_ros.baselines.paper import Paper
from kinaema_ros.model.se2 import apart, between, inverse
from kinaema_ros.training.drive_folder import Questions

SHARPNESS = 10.0  # of the choice between keys, whose likeness is at most 1


def pose_log_likelihood(estimate: PoseEstimate, truth: Tensor) -> Tensor:
    """Log-likelihood (...) of the truth given the estimate.

    It is an isotropic Laplace distribution in the plane, and a Laplace one in the chord of the yaw.
    ``truth`` (..., 3) is the pose that ``estimate`` describes, in the same frame.
    """
    distance = torch.linalg.vector_norm(estimate.xy - truth[..., :2] + 1e-6, dim=-1)
    direction = torch.stack([truth[..., 2].cos(), truth[..., 2].sin()], dim=-1)
    chord = torch.linalg.vector_norm(estimate.direction - direction + 1e-6, dim=-1)
    position_scale, direction_scale = estimate.scale.unbind(-1)
    return (
        -distance / position_scale
        - 2 * position_scale.log()
        - chord / direction_scale
        - direction_scale.log()
        - math.log(4 * math.pi)
    )


def question_loss(
    baseline: Baseline, state: Any, asked: Questions, robot: Tensor, first: Tensor, imagine: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """Likelihood of the true poses of seen places, recognition of seen against unseen ones, and of foretold keys.

    robot, first (B, 1, 3): true poses of the robot now and at the start.
    """
    count = asked.poses.shape[1]
    estimate, odometry = baseline.estimate(state, torch.cat([asked.views, asked.unseen], dim=1))
    # The odometry has drifted: what is asked for is the query relative to where the robot is now.
    estimate = estimate.moved(inverse(odometry)[:, None].float())
    seen = PoseEstimate(*(getattr(estimate, f.name)[:, :count] for f in dataclasses.fields(estimate)))
    truth = between(robot, asked.poses).float()
    regression = -pose_log_likelihood(seen, truth).mean()
    label = (torch.arange(estimate.match.shape[1]) < count).float().expand_as(estimate.match)
    recognition = F.binary_cross_entropy_with_logits(estimate.match, label.to(estimate.match.device))
    loss = regression + recognition
    values = {"regression": regression.detach(), "recognition": recognition.detach()}
    if imagine and isinstance(baseline, Paper):
        foretold = baseline.imagine(state, between(first, asked.poses)).flatten(0, 1).float()
        keys, _, _ = baseline.parts(asked.views)
        likeness = SHARPNESS * foretold @ F.normalize(keys.flatten(0, 1), dim=-1).T
        foretelling = F.cross_entropy(likeness, torch.arange(len(likeness), device=likeness.device))
        loss = loss + imagine * foretelling
        values["foretelling"] = foretelling.detach()
    with torch.no_grad():
        views = asked.unseen.shape[1]  # own frames, which come behind the views, are easier
        position, yaw = apart(seen.pose[:, :views], truth[:, :views])
        values["accuracy"] = 100.0 * ((position < 1.0) & (yaw < math.radians(20.0))).float().mean()
        values["median_m"] = position.median()
        values["mean_m"] = position.mean()
    return loss, values
