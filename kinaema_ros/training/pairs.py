"""First stage: descriptor and pair head learn from single views, without a memory.

Trained end to end through the memory from the start, neither learns anything (docs/training-log.md).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from kinaema_ros.model.network import Kinaema
from kinaema_ros.model.se2 import between
from kinaema_ros.training.data import Sequence
from kinaema_ros.training.losses import contrastive_loss, is_match, pose_log_likelihood, soft_target

WINDOW = 32  # consecutive frames of a sequence that a step sees
WINDOW_QUERIES = 24
NEAR_PAIRS, HARD_PAIRS = 3, 3  # stored views shown to the head for each query: by pose, by similarity


def pair_batch(
    sequences: list[Sequence], rng: np.random.Generator, device: torch.device
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Windows of frames (S, W, F) with poses (S, W, 3), and of queries (S, Q, F) with poses (S, Q, 3)."""
    frames, frame_poses, queries, query_poses = [], [], [], []
    for sequence in sequences:
        count = len(sequence.features) - len(sequence.source)
        window = min(WINDOW, count)
        start = int(rng.integers(count - window + 1))
        inside = np.flatnonzero(((sequence.source >= start) & (sequence.source < start + window)).numpy())
        # A window has few queries of its own; its frames' later and earlier neighbours and revisits serve too.
        if len(inside) == 0:
            inside = np.array([int((sequence.source - start - window // 2).abs().argmin())])
        chosen = count + rng.choice(inside, size=WINDOW_QUERIES, replace=len(inside) < WINDOW_QUERIES)
        frames.append(sequence.features[start : start + window])
        frame_poses.append(sequence.poses[start : start + window])
        queries.append(sequence.features[chosen])
        query_poses.append(sequence.poses[chosen])
    return (
        torch.stack(frames).to(device, torch.float32),
        torch.stack(frame_poses).to(device),
        torch.stack(queries).to(device, torch.float32),
        torch.stack(query_poses).to(device),
    )


def pair_loss(
    network: Kinaema, batch: tuple[Tensor, Tensor, Tensor, Tensor], generator: torch.Generator
) -> tuple[Tensor, dict[str, float]]:
    """Contrastive loss of the keys + likelihood and recognition of pairs; metrics for the progress line."""
    frames, frame_poses, queries, query_poses = batch
    num_sequences, window = frames.shape[:2]
    key, content, _ = network.descriptor(frames)
    query_key, _, probe = network.descriptor(queries)
    near = soft_target(query_poses, frame_poses)  # (S, Q, W)
    target = torch.zeros(*near.shape[:2], num_sequences, window, device=near.device)
    own = torch.arange(num_sequences, device=near.device)
    target[own, :, own] = near
    target = target.flatten(2).flatten(0, 1)  # (S Q, S W)
    contrast = contrastive_loss(
        query_key.flatten(0, 1), key.flatten(0, 1), target + 1e-8, network.temperature.exp()
    )

    with torch.no_grad():
        similarity = query_key.flatten(0, 1) @ key.flatten(0, 1).T  # (S Q, S W)
        by_pose = torch.multinomial(target + 1e-6, NEAR_PAIRS, generator=generator)
        candidates = torch.cat([by_pose, similarity.topk(HARD_PAIRS, dim=1).indices], dim=1)  # (S Q, P)
        same_scene = candidates // window == own.repeat_interleave(queries.shape[1])[:, None]
        truth = between(frame_poses.flatten(0, 1)[candidates], query_poses.flatten(0, 1)[:, None])
        match = is_match(truth) & same_scene
    estimate = network.head(probe.flatten(0, 1)[:, None], content.flatten(0, 1)[candidates])
    likelihood = pose_log_likelihood(estimate, truth)
    weight = match.float()
    regression = -(likelihood * weight).sum() / weight.sum().clamp_min(1.0)
    recognition = F.binary_cross_entropy_with_logits(estimate.match, weight)
    loss = contrast + regression + recognition
    with torch.no_grad():
        error = torch.linalg.vector_norm(estimate.xy - truth[..., :2], dim=-1)[match]
        metrics = {
            "loss": loss.item(),
            "contrast": contrast.item(),
            "regression": regression.item(),
            "recognition": recognition.item(),
            "median_pair_m": error.median().item() if len(error) else float("nan"),
        }
    return loss, metrics
