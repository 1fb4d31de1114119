"""Kinaema: encoder, memory cell and query decoder put together."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kinaema_ros.model.cell import NEVER, MemoryCell, MemoryState, settle
from kinaema_ros.model.config import DistinctnessConfig, KinaemaConfig
from kinaema_ros.model.decoder import Fusion, PairEstimate, PairHead, fuse
from kinaema_ros.model.encoder import Descriptor, Trunk
from kinaema_ros.model.estimates import Estimates
from kinaema_ros.model.loop_closure import find_loop_closure
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
        self.choice = nn.Parameter(torch.tensor([1.0, 4.0]))  # of a hypothesis: weights of match, similarity

    def update(self, state: MemoryState, features: Tensor, odometry: Tensor) -> MemoryState:
        """Fold one frame into each of B memories: features (B, FEATURE_DIM), odometry (B, 3) float64."""
        key, content, probe = self.descriptor(features)
        if not self.config.loop_closure.enabled:
            return self.cell(state, key, content, odometry)
        loop = find_loop_closure(self.config, self.head, state, key, probe)
        state = self.cell(state, key, content, odometry, loop)
        if int(state.updates[0]) % self.config.pose_graph.optimise_every == 0:
            state = settle(self.config.pose_graph, state)
        return state

    def hypotheses(self, state: MemoryState, features: Tensor) -> Hypotheses:
        """Ask each of B memories Q questions: features (B, Q, FEATURE_DIM)."""
        key, _, probe = self.descriptor(features)
        similarity = torch.einsum("bqd,bnd->bqn", key, state.key)
        similarity = similarity.masked_fill((state.count == 0)[:, None], NEVER)
        similarity, index = similarity.topk(self.config.num_hypotheses, dim=-1)  # (B, Q, K)
        batch = torch.arange(len(index), device=index.device)[:, None, None]
        estimate = self.head(probe[:, :, None], state.content[batch, index])
        robot_T_stored = between(state.robot[:, None, None], state.pose[batch, index]).to(probe.dtype)
        logit = self.logit(estimate.match, similarity)
        return Hypotheses(estimate.moved(robot_T_stored), logit, similarity, robot_T_stored)

    def logit(self, match: Tensor, similarity: Tensor) -> Tensor:
        """Unnormalised log weight (...) of a hypothesis; ``choice`` is fitted when the network is calibrated."""
        return self.choice[0] * match + self.choice[1] * similarity

    def query(self, state: MemoryState, features: Tensor) -> Estimates:
        """Where the robot was when it would have seen this, relative to where it is now.

        features: (B, Q, FEATURE_DIM).
        """
        hypotheses = self.hypotheses(state, features)
        fused = fuse(hypotheses.estimate, hypotheses.logit)
        std = self.fusion.deviations(
            self.fusion.evidence(fused, hypotheses.estimate.match, hypotheses.similarity)
        )
        seen = self.fusion.probability(
            distinctness(self.config.distinctness, state, hypotheses.similarity)[..., None]
        )
        return Estimates(fused.pose, std, seen)


def distinctness(config: DistinctnessConfig, state: MemoryState, similarity: Tensor) -> Tensor:
    """How far the best of the similarities (B, Q, K) stands out from look-alikes in the same memory, (B, Q).

    0: a query resembles its best embedding no more than embeddings of different places (``min_distance`` metres
    from each other) resemble their best look-alike, at the median; 1: it is the same view. A shop whose shelves
    all look alike needs more resemblance than a house of different rooms; a fixed threshold would not carry over.
    """
    likeness = torch.einsum("bnd,bmd->bnm", state.key, state.key)
    x, y = state.pose[..., 0].float(), state.pose[..., 1].float()
    apart = (x[:, :, None] - x[:, None]) ** 2 + (y[:, :, None] - y[:, None]) ** 2 > config.min_distance**2
    used = state.count > 0
    likeness = likeness.masked_fill(~(apart & used[:, None]), -1.0).amax(-1)  # (B, N)
    has_apart = used & (likeness > -1.0)
    typical = (
        likeness.masked_fill(~has_apart, math.nan).nanmedian(dim=1).values.nan_to_num(config.typical_likeness)
    )
    best = similarity.amax(-1).clamp_min(-1.0)
    return (best - typical[:, None]) / (1.0 - typical[:, None]).clamp_min(config.min_contrast)
