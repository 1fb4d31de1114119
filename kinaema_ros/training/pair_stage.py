"""First stage: descriptor and pair head learn from pairs of views, without a memory.

Trained end to end through the memory from the start, neither learns anything (docs/training-log.md).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from kinaema_ros.model.network import Kinaema
from kinaema_ros.model.se2 import between
from kinaema_ros.training.config import TrainConfig
from kinaema_ros.training.data import Trajectory
from kinaema_ros.training.losses import contrastive_loss, is_match, pose_log_likelihood, soft_target
from kinaema_ros.training.stage import Stage

# Views of a trajectory that a step sees: consecutive frames, and queries near them.
WINDOW, WINDOW_QUERIES = 32, 24
NEAR_PAIRS, HARD_PAIRS = 2, 2  # views shown to the head together with each view: by pose, by similarity


def pair_stage(config: TrainConfig) -> Stage:
    """Descriptor, pair head and the temperature of the contrastive loss learn."""
    return Stage(
        "pairs",
        steps=config.pair_steps,
        batch_size=config.pair_batch,
        peak_rate=config.pair_learning_rate,
        parameters=lambda network: [
            *network.descriptor.parameters(),
            *network.head.parameters(),
            network.temperature,
        ],
        batch=lambda trajectories, rng, device, done: pair_batch(trajectories, rng, device),
        loss=pair_loss,
    )


def pair_batch(
    trajectories: list[Trajectory], rng: np.random.Generator, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Views of S scenes: features (S, V, F), true poses (S, V, 3). Each will be compared with all others."""
    features, poses = [], []
    for trajectory in trajectories:
        frames = len(trajectory.features) - len(trajectory.source)
        window = min(WINDOW, frames)
        start = int(rng.integers(frames - window + 1))
        inside = np.flatnonzero(((trajectory.source >= start) & (trajectory.source < start + window)).numpy())
        others = np.setdiff1d(np.arange(len(trajectory.source)), inside)
        # the window's own queries first; it rarely has as many as are wanted
        chosen = np.concatenate([rng.permutation(inside), rng.permutation(others)])[:WINDOW_QUERIES]
        views = np.concatenate([np.arange(start, start + window), frames + chosen])
        features.append(trajectory.features[views])
        poses.append(trajectory.poses[views])
    return torch.stack(features).to(device, torch.float32), torch.stack(poses).to(device)


def pair_loss(network: Kinaema, batch: tuple[Tensor, Tensor], seed: int) -> tuple[Tensor, dict[str, float]]:
    """Contrastive loss of the keys + likelihood and recognition of pairs, which ``seed`` draws; metrics."""
    features, poses = batch
    generator = torch.Generator(device=features.device).manual_seed(seed)
    scenes, views = features.shape[:2]
    key, content, probe = (x.flatten(0, 1) for x in network.descriptor(features))
    near = soft_target(poses, poses)  # (S, V, V)
    itself = torch.eye(scenes * views, dtype=torch.bool, device=near.device)
    target = torch.block_diag(*near).masked_fill(itself, 0.0)  # (S V, S V)
    contrast = contrastive_loss(key, target + 1e-8, network.temperature.exp())

    with torch.no_grad():
        by_pose = torch.multinomial(target + 1e-6, NEAR_PAIRS, generator=generator)
        similarity = (key @ key.T).masked_fill(itself, -1.0)
        candidates = torch.cat([by_pose, similarity.topk(HARD_PAIRS, dim=1).indices], dim=1)  # (S V, P)
        scene = torch.arange(scenes * views, device=near.device) // views
        truth = between(poses.flatten(0, 1)[candidates], poses.flatten(0, 1)[:, None])
        match = is_match(truth) & (scene[candidates] == scene[:, None])
    estimate = network.head(probe[:, None], content[candidates])
    likelihood = pose_log_likelihood(estimate, truth)
    weight = match.float()
    regression = -(likelihood * weight).sum() / weight.sum().clamp_min(1.0)
    recognition = F.binary_cross_entropy_with_logits(estimate.match, weight)
    loss = contrast + regression + recognition
    with torch.no_grad():
        error = torch.linalg.vector_norm(estimate.xy - truth[..., :2], dim=-1)[match]
        metrics = {
            "frames": float(scenes * views),
            "loss": loss.item(),
            "contrast": contrast.item(),
            "regression": regression.item(),
            "recognition": recognition.item(),
            "median_pair_m": error.median().item() if len(error) else float("nan"),
        }
    return loss, metrics
