"""Recognition of a known place in the present view, by which drift is corrected."""

from __future__ import annotations

import torch
from torch import Tensor

from kinaema_ros.model.cell import NEVER, MemoryState
from kinaema_ros.model.config import KinaemaConfig
from kinaema_ros.model.decoder import PairHead
from kinaema_ros.model.pose_graph import LoopClosure
from kinaema_ros.model.rows import pick
from kinaema_ros.model.se2 import compose, wrap_angle


def find_loop_closure(
    config: KinaemaConfig, head: PairHead, state: MemoryState, key: Tensor, probe: Tensor
) -> LoopClosure:
    """The old place that the present view, key (B, Dk) and probe (B, Dc), shows.

    It is sure where the best of the places most like the view is a match, is known precisely, is confirmed by
    others that put the robot at the same spot, and asks for no larger correction than drift can explain.
    """
    limits = config.loop_closure
    similarity = torch.einsum("bnd,bd->bn", state.key, key)  # (B, N)
    recent = state.written > (state.updates[:, None] - limits.recent_updates)
    similarity = similarity.masked_fill(recent | (state.count == 0), NEVER)
    similarity, index = similarity.topk(config.num_hypotheses, dim=-1)  # (B, K)
    batch = torch.arange(len(index), device=index.device)[:, None]
    estimate = head(probe[:, None], state.content[batch, index])  # (B, K, ...)
    place_T_robot = estimate.pose.double()
    memory_T_robot = compose(state.pose[batch, index], place_T_robot)  # according to each place
    match = torch.sigmoid(estimate.match)
    best = (match / estimate.scale[..., 0]).argmax(dim=-1)  # (B,)
    chosen = pick(memory_T_robot, best)
    gap = torch.linalg.vector_norm((memory_T_robot - chosen[:, None])[..., :2], dim=-1)
    agreeing = ((gap < limits.agreeing_distance) & (match > limits.agreeing_match)).sum(-1)
    correction = torch.linalg.vector_norm((chosen - state.robot)[:, :2], dim=-1)
    turn = wrap_angle(chosen[:, 2] - state.robot[:, 2]).abs()
    scale = pick(estimate.scale, best).double()
    sure = (
        (pick(match, best) > limits.min_match)
        & (pick(similarity, best) > NEVER)
        & (agreeing >= limits.min_agreeing)
        & (scale[:, 0] < limits.max_scale)
        & (correction < limits.max_correction)
        & (turn < limits.max_correction_yaw)
    )
    place = pick(index, best)
    frame_T_robot = compose(pick(state.graph.frame_T_pose, place), pick(place_T_robot, best))
    return LoopClosure(place, frame_T_robot, limits.variance_per_scale * scale**2, sure)
