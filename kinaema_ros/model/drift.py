"""Drift correction: the embeddings agree on where they stand.

Odometry drifts, so a place seen ten minutes ago is remembered where the odometry of then put it. Each embedding
therefore keeps how the robot came to it from an earlier one (its parent), and where an observation recognises an
old place, the relative pose that the pair head sees is kept as a loop. Every few updates all poses move to where
these relations agree best: a pose graph (Grisetti et al., "A tutorial on graph-based SLAM", 2010) with a robust kernel
over the N embeddings and a ring of the newest loops, so of constant cost.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from kinaema_ros.model.se2 import between, compose, difference, inverse, wrap_angle

LOOPS_PER_EMBEDDING = 2
NONE = -1

# Odometry's random walk: variance per metre driven and per radian turned, of position (m^2) and yaw (rad^2). A
# wheeled robot's order of magnitude; only the ratio to the pair head's scales matters.
POSITION_PER_METRE, YAW_PER_METRE, YAW_PER_RADIAN = 0.02**2, 0.007**2, 0.007**2
LEAST_VARIANCE = (0.02**2, 0.005**2)
KERNEL = 3.0  # deviations beyond which a loop loses its say (Geman and McClure's kernel)
DAMPING = (1.0 / 10.0**2, 1.0 / 1.0**2)  # each pose stays near where it was, unless something pulls


@dataclass
class PoseGraph:
    """Relations between the N embeddings of B memories. Poses float64; information: of position and yaw."""

    parent: Tensor  # (B, N) int64, NONE: no relation
    parent_T_child: Tensor  # (B, N, 3)
    parent_information: Tensor  # (B, N, 2)
    loop_from: Tensor  # (B, M) int64, NONE: unused
    loop_to: Tensor  # (B, M) int64
    loop_pose: Tensor  # (B, M, 3) from_T_to
    loop_information: Tensor  # (B, M, 2)
    loops: Tensor  # (B,) int64, loops ever found; the next one overwrites loops % M
    anchor: Tensor  # (B,) int64, the embedding that the robot's pose is kept relative to
    anchor_T_robot: Tensor  # (B, 3)
    variance: Tensor  # (B, 2) of anchor_T_robot, by odometry

    @staticmethod
    def empty(n: int, batch: int, device: torch.device | str) -> PoseGraph:
        def zeros(*shape: int) -> Tensor:
            return torch.zeros(batch, *shape, dtype=torch.float64, device=device)

        m = LOOPS_PER_EMBEDDING * n
        none = torch.full((batch, m), NONE, dtype=torch.int64, device=device)
        return PoseGraph(
            parent=none[:, :n].clone(),
            parent_T_child=zeros(n, 3),
            parent_information=zeros(n, 2),
            loop_from=none,
            loop_to=none.clone(),
            loop_pose=zeros(m, 3),
            loop_information=zeros(m, 2),
            loops=torch.zeros(batch, dtype=torch.int64, device=device),
            anchor=none[:, 0].clone(),
            anchor_T_robot=zeros(3),
            variance=zeros(2),
        )


def drive(graph: PoseGraph, motion: Tensor) -> PoseGraph:
    """The robot moved by ``motion`` (B, 3) according to odometry."""
    distance = torch.linalg.vector_norm(motion[:, :2], dim=-1)
    growth = torch.stack(
        [POSITION_PER_METRE * distance, YAW_PER_METRE * distance + YAW_PER_RADIAN * motion[:, 2].abs()], dim=-1
    )
    # a yaw error of the way so far moves what comes after it sideways
    growth[:, 0] += graph.variance[:, 1] * distance**2
    return replace(
        graph,
        anchor_T_robot=compose(graph.anchor_T_robot, motion),
        variance=graph.variance + growth,
    )


def add_child(graph: PoseGraph, slot: Tensor, where: Tensor) -> PoseGraph:
    """The robot stands on the new embedding ``slot`` (B,), in the memories chosen by ``where`` (B,)."""
    rows = torch.arange(len(slot), device=slot.device)
    least = torch.tensor(LEAST_VARIANCE, dtype=torch.float64, device=slot.device)
    at = torch.zeros_like(graph.parent, dtype=torch.bool)
    at[rows, slot] = where
    return replace(
        graph,
        parent=torch.where(at, graph.anchor[:, None], graph.parent),
        parent_T_child=torch.where(at[..., None], graph.anchor_T_robot[:, None], graph.parent_T_child),
        parent_information=torch.where(
            at[..., None], (1.0 / (graph.variance + least))[:, None], graph.parent_information
        ),
        anchor=torch.where(where, slot, graph.anchor),
        anchor_T_robot=torch.where(where[:, None], 0.0, graph.anchor_T_robot),
        variance=torch.where(where[:, None], 0.0, graph.variance),
    )


def add_loop(graph: PoseGraph, place: Tensor, place_T_robot: Tensor, variance: Tensor, where: Tensor) -> PoseGraph:
    """The robot recognised embedding ``place`` (B,) from ``place_T_robot`` (B, 3) with ``variance`` (B, 2)."""
    relation = compose(graph.anchor_T_robot, inverse(place_T_robot))
    return keep_relation(graph, graph.anchor, place, relation, 1.0 / (graph.variance + variance), where)


def keep_relation(
    graph: PoseGraph, tail: Tensor, head: Tensor, tail_T_head: Tensor, information: Tensor, where: Tensor
) -> PoseGraph:
    """Put a relation between two embeddings (B,) into the ring, unless one is missing or both are the same."""
    where = where & (tail != NONE) & (head != NONE) & (tail != head)
    at = torch.zeros_like(graph.loop_from, dtype=torch.bool)
    at[torch.arange(len(tail), device=tail.device), graph.loops % at.shape[1]] = where
    return replace(
        graph,
        loop_from=torch.where(at, tail[:, None], graph.loop_from),
        loop_to=torch.where(at, head[:, None], graph.loop_to),
        loop_pose=torch.where(at[..., None], tail_T_head[:, None], graph.loop_pose),
        loop_information=torch.where(at[..., None], information[:, None], graph.loop_information),
        loops=graph.loops + where,
    )


def absorb(graph: PoseGraph, gone: Tensor, kept: Tensor, kept_T_gone: Tensor, where: Tensor) -> PoseGraph:
    """Embedding ``gone`` (B,) became part of ``kept`` (B,): what was related to it is now related to that one."""
    batch = torch.arange(len(gone), device=gone.device)
    origin, information = graph.parent[batch, gone], graph.parent_information[batch, gone]
    origin_T_kept = compose(graph.parent_T_child[batch, gone], inverse(kept_T_gone))
    inherits = where & (graph.parent[batch, kept] == gone)  # the chain origin -> gone -> kept loses its middle

    gone_, kept_, pose = gone[:, None], kept[:, None], kept_T_gone[:, None]
    chosen = where[:, None]
    child = (graph.parent == gone_) & chosen
    starts = (graph.loop_from == gone_) & chosen
    ends = (graph.loop_to == gone_) & chosen
    loop_pose = torch.where(starts[..., None], compose(pose, graph.loop_pose), graph.loop_pose)
    loop_pose = torch.where(ends[..., None], compose(loop_pose, inverse(pose)), loop_pose)
    loop_from = torch.where(starts, kept_, graph.loop_from)
    loop_to = torch.where(ends, kept_, graph.loop_to)
    inside = loop_from == loop_to

    slots = torch.arange(graph.parent.shape[1], device=gone.device)
    heir = (slots == kept_) & inherits[:, None]
    parent = torch.where(heir, origin[:, None], torch.where(child, kept_, graph.parent))
    parent_T_child = torch.where(child[..., None], compose(pose, graph.parent_T_child), graph.parent_T_child)
    parent_T_child = torch.where(heir[..., None], origin_T_kept[:, None], parent_T_child)
    orphan = (parent == slots) | ((slots == gone_) & chosen)
    stands_there = (graph.anchor == gone) & where
    graph = replace(
        graph,
        parent=torch.where(orphan, NONE, parent),
        parent_T_child=parent_T_child,
        parent_information=torch.where(heir[..., None], information[:, None], graph.parent_information),
        loop_from=torch.where(inside, NONE, loop_from),
        loop_to=torch.where(inside, NONE, loop_to),
        loop_pose=loop_pose,
        anchor=torch.where(stands_there, kept, graph.anchor),
        anchor_T_robot=torch.where(
            stands_there[:, None], compose(kept_T_gone, graph.anchor_T_robot), graph.anchor_T_robot
        ),
    )
    # How the robot came to the embedding that is gone is worth as much as how it came to the one that stays.
    return keep_relation(graph, origin, kept, origin_T_kept, information, where & ~inherits)


def shift_frame(graph: PoseGraph, slot: Tensor, old_T_new: Tensor, where: Tensor) -> PoseGraph:
    """Embedding ``slot``'s pose is redefined by ``old_T_new`` (B, 3); relations keep their meaning."""
    at = torch.zeros_like(graph.parent, dtype=torch.bool)
    at[torch.arange(len(slot), device=slot.device), slot] = where
    shift, back = old_T_new[:, None], inverse(old_T_new)[:, None]
    slot_ = slot[:, None]
    child = (graph.parent == slot_) & where[:, None]
    pose = torch.where(at[..., None], compose(graph.parent_T_child, shift), graph.parent_T_child)
    pose = torch.where(child[..., None], compose(back, pose), pose)
    starts, ends = (graph.loop_from == slot_) & where[:, None], (graph.loop_to == slot_) & where[:, None]
    loop = torch.where(starts[..., None], compose(back, graph.loop_pose), graph.loop_pose)
    loop = torch.where(ends[..., None], compose(loop, shift), loop)
    here = ((graph.anchor == slot) & where)[:, None]
    return replace(
        graph,
        parent_T_child=pose,
        loop_pose=loop,
        anchor_T_robot=torch.where(here, compose(back[:, 0], graph.anchor_T_robot), graph.anchor_T_robot),
    )


def relax(graph: PoseGraph, pose: Tensor) -> Tensor:
    """New poses (B, N, 3) of all embeddings, nearer to agreement: first the yaws, then the positions.

    Yaws alone and then positions given the yaws are two linear problems of size N with Laplacian matrices, an
    approximation of the joint problem of size 3 N that is good for planar graphs (Carlone et al., "A fast and
    accurate approximation for planar pose graph optimization", 2014) and an order of magnitude cheaper.
    """
    batch, n, _ = pose.shape
    children = torch.arange(n, device=pose.device).expand(batch, n)
    tail = torch.cat([graph.parent, graph.loop_from], dim=1)  # (B, E)
    head = torch.cat([children, graph.loop_to], dim=1)
    relation = torch.cat([graph.parent_T_child, graph.loop_pose], dim=1)
    information = torch.cat([graph.parent_information, graph.loop_information], dim=1)
    information = information * ((tail != NONE) & (head != NONE))[..., None]
    tail, head = tail.clamp_min(0), head.clamp_min(0)
    rows = torch.arange(batch, device=pose.device)[:, None]

    # A robust kernel lets go of loops that contradict all others; odometry is always believed.
    error = relation_error(pose[rows, tail], pose[rows, head], relation)
    squared = torch.stack([(error[..., :2] ** 2).sum(-1), error[..., 2] ** 2], dim=-1)
    chi2 = (information * squared).sum(-1, keepdim=True)
    is_loop = torch.arange(tail.shape[1], device=pose.device)[:, None] >= n
    information = information * torch.where(is_loop, (1.0 + chi2 / KERNEL**2) ** -2, 1.0)

    turn = solve_laplacian(tail, head, information[..., 1], error[..., 2:], DAMPING[1], n)
    pose = torch.cat([pose[..., :2], wrap_angle(pose[..., 2:] + turn)], dim=-1)
    a, b = pose[rows, tail], pose[rows, head]
    expected = compose(a, relation)
    shift = solve_laplacian(tail, head, information[..., 0], (b - expected)[..., :2], DAMPING[0], n)
    return torch.cat([pose[..., :2] + shift, pose[..., 2:]], dim=-1)


def relation_error(a: Tensor, b: Tensor, relation: Tensor) -> Tensor:
    """How far (..., 3) the pose of b as seen from a is from ``relation``, in a's frame."""
    return difference(between(a, b), relation)


def solve_laplacian(
    tail: Tensor, head: Tensor, weight: Tensor, error: Tensor, damping: float, n: int
) -> Tensor:
    """The x (B, N, D) that minimises sum of weight |x[head] - x[tail] + error|^2 + damping |x|^2.

    tail, head, weight (B, E), error (B, E, D). Solved in single precision: the next call starts from the result.
    """
    batch = len(tail)
    matrix = torch.zeros(batch, n * n, device=tail.device)
    weight32 = weight.float()
    for i, j, sign in ((tail, tail, 1.0), (head, head, 1.0), (tail, head, -1.0), (head, tail, -1.0)):
        matrix.scatter_add_(1, i * n + j, sign * weight32)
    matrix = matrix.view(batch, n, n)
    matrix.diagonal(dim1=-2, dim2=-1).add_(damping)
    pull = weight[..., None] * error
    right = torch.zeros(batch, n, error.shape[-1], dtype=error.dtype, device=tail.device)
    index = tail[..., None].expand_as(pull)
    right.scatter_add_(1, index, pull).scatter_add_(1, head[..., None].expand_as(pull), -pull)
    return torch.cholesky_solve(right.float(), torch.linalg.cholesky(matrix)).to(error.dtype)
