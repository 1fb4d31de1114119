"""Second stage: the whole network learns through the recurrence, from drives and questions about them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from kinaema_ros.model.cell import MemoryState
from kinaema_ros.model.network import Kinaema
from kinaema_ros.model.se2 import between, compose
from kinaema_ros.training.config import TrainConfig
from kinaema_ros.training.data import Trajectory
from kinaema_ros.training.losses import is_match, pose_log_likelihood
from kinaema_ros.training.stage import Stage


def memory_stage(config: TrainConfig) -> Stage:
    """Descriptor, pair head and cell learn, from drives that grow longer as ``memory_frames`` says."""

    def batch(
        trajectories: list[Trajectory], rng: np.random.Generator, device: torch.device, done: int
    ) -> TrajectoryBatch:
        frames = config.memory_frames[done * len(config.memory_frames) // config.memory_steps]
        return trajectory_batch(
            trajectories, rng, device, frames, config.memory_queries, config.max_odometry_noise
        )

    return Stage(
        "memory",
        steps=config.memory_steps,
        batch_size=config.memory_batch,
        peak_rate=config.memory_learning_rate,
        parameters=lambda network: [
            *network.descriptor.parameters(),
            *network.head.parameters(),
            *network.cell.parameters(),
        ],
        batch=batch,
        loss=lambda network, batch, seed: memory_loss(
            network, batch, config.num_embeddings(batch.features.shape[1])
        ),
    )


@dataclass
class TrajectoryBatch:
    """S drives of T frames, with Q queries each and as many about places that the drive never saw."""

    features: Tensor  # (S, T, F)
    poses: Tensor  # (S, T, 3) float64, true
    odometry: Tensor  # (S, T, 3) float64, drifting
    queries: Tensor  # (S, Q, F)
    query_poses: Tensor  # (S, Q, 3) float64
    source: Tensor  # (S, Q) frame near which the query lies
    unseen: Tensor  # (S, Q, F) queries of another trajectory of the batch


def drifting_odometry(poses: Tensor, fraction: Tensor, degrees: Tensor, generator: torch.Generator) -> Tensor:
    """Odometry (S, T, 3) of drives ``poses``: each step's motion with noise of its own, from identity.

    fraction and degrees (S, 1): deviation of a step's motion relative to its length, and of its turn.
    """
    motion = between(poses[:, :-1], poses[:, 1:])
    noise = torch.randn(motion.shape, generator=generator, dtype=motion.dtype)
    length = torch.linalg.vector_norm(motion[..., :2], dim=-1)
    motion = motion + noise * torch.stack(
        [fraction * length, fraction * length, torch.deg2rad(degrees).expand_as(length)], dim=-1
    )
    odometry = [torch.zeros_like(poses[:, 0])]
    for step in motion.unbind(1):
        odometry.append(compose(odometry[-1], step))
    return torch.stack(odometry, dim=1)


def trajectory_batch(
    trajectories: list[Trajectory],
    rng: np.random.Generator,
    device: torch.device,
    frames: int,
    queries: int,
    max_noise: tuple[float, float],
) -> TrajectoryBatch:
    """TrajectoryBatch of the given length cut from trajectories of at least that length.

    ``ValueError`` for fewer than two trajectories: the places that one has not seen are those of another one.
    """
    if len(trajectories) < 2:
        raise ValueError("a batch needs at least 2 trajectories: one has not seen the places of another one")
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    parts: dict[str, list[Tensor]] = {
        name: [] for name in ("features", "poses", "queries", "query_poses", "source")
    }
    for trajectory in trajectories:
        total = len(trajectory.features) - len(trajectory.source)
        start = int(rng.integers(total - frames + 1))
        inside = np.flatnonzero(((trajectory.source >= start) & (trajectory.source < start + frames)).numpy())
        if len(inside) == 0:
            inside = np.array([int((trajectory.source - start - frames // 2).abs().argmin())])
        chosen = rng.choice(inside, size=queries, replace=len(inside) < queries)
        parts["features"].append(trajectory.features[start : start + frames])
        parts["poses"].append(trajectory.poses[start : start + frames])
        parts["queries"].append(trajectory.features[total + chosen])
        parts["query_poses"].append(trajectory.poses[total + chosen])
        parts["source"].append(trajectory.source[chosen] - start)
    batch = {name: torch.stack(tensors) for name, tensors in parts.items()}
    poses = batch["poses"].double()
    strength = torch.rand(len(poses), 1, generator=generator, dtype=torch.float64) ** 2
    odometry = drifting_odometry(poses, strength * max_noise[0], strength * max_noise[1], generator)
    return TrajectoryBatch(
        features=batch["features"].to(device, torch.float32),
        poses=poses.to(device),
        odometry=odometry.to(device),
        queries=batch["queries"].to(device, torch.float32),
        query_poses=batch["query_poses"].double().to(device),
        source=batch["source"].to(device),
        unseen=batch["queries"].roll(1, dims=0).to(device, torch.float32),
    )


def memory_loss(
    network: Kinaema, drives: TrajectoryBatch, num_embeddings: int
) -> tuple[Tensor, dict[str, float]]:
    """Likelihood of the true relative pose under the mixture of hypotheses, and recognition of what was seen.

    The memory that is learned with has ``num_embeddings``; the network works with any number.
    """
    size = replace(network.config, num_embeddings=num_embeddings)
    state = MemoryState.empty(size, len(drives.features), drives.features.device)
    key, content, _ = network.descriptor(drives.features)
    for t in range(drives.features.shape[1]):
        state = network.cell(state, key[:, t], content[:, t], drives.odometry[:, t])
    truth = between(drives.poses[:, -1:], drives.query_poses).to(drives.queries.dtype)  # (S, Q, 3)
    hypotheses = network.hypotheses(state, drives.queries)
    likelihood = pose_log_likelihood(hypotheses.estimate, truth[:, :, None])  # (S, Q, K)
    log_weight = F.log_softmax(hypotheses.logit, dim=-1)
    mixture = -torch.logsumexp(log_weight + likelihood, dim=-1)
    # An embedding matches if it stands near the query; its own pose may have drifted, by little over a match.
    match = is_match(between(hypotheses.anchor, truth[:, :, None])).float()
    recognition = F.binary_cross_entropy_with_logits(hypotheses.estimate.match, match)
    others = network.hypotheses(state, drives.unseen).estimate.match
    recognition = recognition + F.binary_cross_entropy_with_logits(others, torch.zeros_like(others))
    loss = mixture.mean() + recognition
    with torch.no_grad():
        pose = network.query(state, drives.queries).pose
        distance = torch.linalg.vector_norm((pose - truth)[..., :2], dim=-1)
        angle = torch.rad2deg(torch.remainder((pose - truth)[..., 2] + math.pi, 2 * math.pi) - math.pi).abs()
        good = ((distance < 1.0) & (angle < 20.0)).float()
        old = drives.source < drives.features.shape[1] // 4
        metrics = {
            "frames": float(drives.features.shape[0] * drives.features.shape[1]),
            "loss": loss.item(),
            "mixture": mixture.mean().item(),
            "recognition": recognition.item(),
            "accuracy": 100 * good.mean().item(),
            "accuracy_oldest": 100 * good[old].mean().item(),
            "median_m": distance.median().item(),
        }
    return loss, metrics
