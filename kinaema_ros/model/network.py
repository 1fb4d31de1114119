"""Kinaema: encoder, memory cell and query decoder put together."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kinaema_ros.model.cell import NEVER, MemoryCell, MemoryState
from kinaema_ros.model.config import KinaemaConfig
from kinaema_ros.model.decoder import Fusion, PairEstimate, PairHead, fuse
from kinaema_ros.model.encoder import Descriptor, Trunk
from kinaema_ros.model.se2 import between


@dataclass
class Hypotheses:
    """What the K embeddings most like a query say of it, in the robot's frame; see ``PairEstimate``."""

    estimate: PairEstimate  # (B, Q, K, ...)
    logit: Tensor  # (B, Q, K) unnormalised log weights, NEVER for embeddings that hold nothing
    similarity: Tensor  # (B, Q, K)
    anchor: Tensor  # (B, Q, K, 3) robot_T_embedding


class Kinaema(nn.Module):
    """The whole network. ``trunk`` may be left out where features are computed elsewhere."""

    def __init__(self, config: KinaemaConfig):
        super().__init__()
        self.config = config
        self.trunk = Trunk()
        self.descriptor = Descriptor(config)
        self.cell = MemoryCell(config)
        self.head = PairHead(config)
        self.fusion = Fusion()
        self.temperature = nn.Parameter(torch.tensor(math.log(10.0)))  # of the contrastive loss
        self.similarity_weight = nn.Parameter(torch.tensor(4.0))  # in the choice between embeddings

    def update(self, state: MemoryState, features: Tensor, odometry: Tensor) -> MemoryState:
        """Fold one frame into each of B memories: features (B, FEATURE_DIM), odometry (B, 3) float64."""
        key, content, _ = self.descriptor(features)
        return self.cell(state, key, content, odometry)

    def hypotheses(self, state: MemoryState, features: Tensor) -> Hypotheses:
        """Ask each of B memories Q questions: features (B, Q, FEATURE_DIM)."""
        key, _, probe = self.descriptor(features)
        similarity = torch.einsum("bqd,bnd->bqn", key, state.key)
        similarity = similarity.masked_fill((state.count == 0)[:, None], NEVER)
        similarity, index = similarity.topk(self.config.num_hypotheses, dim=-1)  # (B, Q, K)
        batch = torch.arange(len(index), device=index.device)[:, None, None]
        estimate = self.head(probe[:, :, None], state.content[batch, index])
        robot_T_stored = between(state.robot[:, None, None], state.pose[batch, index]).to(probe.dtype)
        logit = estimate.match + self.similarity_weight * similarity
        return Hypotheses(estimate.moved(robot_T_stored), logit, similarity, robot_T_stored)

    def query(self, state: MemoryState, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Where the robot was when it would have seen this, relative to where it is now.

        features (B, Q, FEATURE_DIM) -> robot_T_query (B, Q, 3), standard deviations of position (metres, each
        axis) and yaw (radians) (B, Q, 2), probability that the place is in memory (B, Q).
        """
        hypotheses = self.hypotheses(state, features)
        fused = fuse(hypotheses.estimate, hypotheses.logit)
        std, seen = self.fusion(fused, hypotheses.estimate.match, hypotheses.similarity)
        return fused.pose, std, seen
