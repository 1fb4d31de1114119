"""Kinaema: encoder, memory cell and query decoder put together."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kinaema_ros.model.cell import NEVER, LoopClosure, MemoryCell, MemoryState, settle
from kinaema_ros.model.config import KinaemaConfig
from kinaema_ros.model.decoder import Fusion, PairEstimate, PairHead, fuse
from kinaema_ros.model.encoder import Descriptor, Trunk
from kinaema_ros.model.estimates import Estimates
from kinaema_ros.model.rows import pick
from kinaema_ros.model.se2 import between, compose, wrap_angle

SETTLE_EVERY = 5  # updates between two relaxations of the embeddings' poses
RECENT = 40  # updates for which a place is too fresh to correct drift by
SURE = 0.8  # probability of a match from which on it corrects drift
AGREE_M = 0.7  # metres within which another place must put the robot too
MAX_LOOP_SCALE = 0.5  # metres
MAX_CORRECTION_M, MAX_CORRECTION_RAD = 3.0, math.radians(30.0)  # beyond, a look-alike is likelier than drift
APART = 3.0  # metres from which two embeddings are different places
TYPICAL_LOOKALIKE = 0.5  # where the memory holds no places so far apart: the median of procedural scenes
LOOP_VARIANCE = 10.0  # a planar Laplace's variance is 3 scale^2 an axis; views of one place err alike


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
        if not self.config.close_loops:
            return self.cell(state, key, content, odometry)
        state = self.cell(state, key, content, odometry, self.recognise(state, key, probe))
        if int(state.updates[0]) % SETTLE_EVERY == 0:
            state = settle(state)
        return state

    def recognise(self, state: MemoryState, key: Tensor, probe: Tensor) -> LoopClosure:
        """The old place that the present view (B, ...) shows, if any."""
        similarity = torch.einsum("bnd,bd->bn", state.key, key)
        recent = state.written > (state.updates[:, None] - RECENT)
        similarity = similarity.masked_fill(recent | (state.count == 0), NEVER)
        similarity, index = similarity.topk(self.config.num_hypotheses, dim=-1)  # (B, K)
        batch = torch.arange(len(index), device=index.device)[:, None]
        estimate = self.head(probe[:, None], state.content[batch, index])
        place_T_robot = estimate.pose.double()
        # Where the robot would stand according to each place; those that see the same place must agree.
        by_place = compose(state.pose[batch, index], place_T_robot)
        weight = torch.sigmoid(estimate.match)
        best = (weight / estimate.scale[..., 0]).argmax(dim=-1)
        chosen = pick(by_place, best)
        gap = torch.linalg.vector_norm((by_place - chosen[:, None])[..., :2], dim=-1)
        agreeing = ((gap < AGREE_M) & (weight > 0.5)).sum(-1)
        correction = torch.linalg.vector_norm((chosen - state.robot)[:, :2], dim=-1)
        turn = wrap_angle(chosen[:, 2] - state.robot[:, 2]).abs()
        scale = pick(estimate.scale, best).double()
        sure = (
            (pick(weight, best) > SURE)
            & (pick(similarity, best) > NEVER)
            & (agreeing >= 2)
            & (scale[:, 0] < MAX_LOOP_SCALE)
            & (correction < MAX_CORRECTION_M)
            & (turn < MAX_CORRECTION_RAD)
        )
        place = pick(index, best)
        frame_T_robot = compose(pick(state.graph.frame_T_pose, place), pick(place_T_robot, best))
        return LoopClosure(place, frame_T_robot, LOOP_VARIANCE * scale**2, sure)

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
        seen = self.fusion.probability(distinctness(state, hypotheses.similarity)[..., None])
        return Estimates(fused.pose, std, seen)


def distinctness(state: MemoryState, similarity: Tensor) -> Tensor:
    """How far the best of the similarities (B, Q, K) stands out from look-alikes in the same memory, (B, Q).

    0: a query resembles its best embedding no more than embeddings of different places (more than APART metres
    from each other) resemble their best look-alike, at the median; 1: it is the same view. A shop whose shelves
    all look alike needs more resemblance than a house of different rooms; a fixed threshold would not carry over.
    """
    likeness = torch.einsum("bnd,bmd->bnm", state.key, state.key)
    x, y = state.pose[..., 0].float(), state.pose[..., 1].float()
    apart = (x[:, :, None] - x[:, None]) ** 2 + (y[:, :, None] - y[:, None]) ** 2 > APART**2
    used = state.count > 0
    likeness = likeness.masked_fill(~(apart & used[:, None]), -1.0).amax(-1)  # (B, N)
    has_apart = used & (likeness > -1.0)
    typical = likeness.masked_fill(~has_apart, math.nan).nanmedian(dim=1).values.nan_to_num(TYPICAL_LOOKALIKE)
    best = similarity.amax(-1).clamp_min(-1.0)
    return (best - typical[:, None]) / (1.0 - typical[:, None]).clamp_min(0.05)
