"""Drift correction: the embeddings agree on where they stand.

Odometry drifts, so a place seen ten minutes ago is remembered where the odometry of then put it. Each embedding
therefore keeps how the robot came to it from an earlier one (its parent), and where an observation recognises an
old place, the relative pose that it sees is kept as a loop. Every few updates all poses move to where
these relations agree best: a pose graph (Grisetti et al., "A tutorial on graph-based SLAM", 2010) with a robust kernel
over the N embeddings and a ring of the newest loops, so of constant cost.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import splu
from torch import Tensor

from kinaema_ros.model.config import PoseGraphConfig
from kinaema_ros.model.rows import pick, put
from kinaema_ros.model.se2 import between, compose, difference, inverse, wrap_angle

NONE = -1  # no embedding
ANCHORED = (
    1e-6  # 1/m^2 and 1/rad^2: keeps a matrix regular where nothing is related, and adds nothing elsewhere
)
MEDIAN_CHI2 = (1.386, 0.455)  # of chi squared with 2 degrees of freedom, of a position, and with 1, of a yaw


@dataclass
class PoseGraph:
    """Relations between the N embeddings of B memories. Poses float64; information: of position and yaw.

    Relations hold between frames, one an embedding: where the robot stood when the embedding was new. As views fold
    into an embedding its pose moves against its frame, and no relation need be touched. Of the E relations, number
    i < N leads to embedding i from the one that the robot came from, and these N make one tree; the others are a ring
    of loops.
    """

    frame_T_pose: Tensor  # (B, N, 3)
    tail: Tensor  # (B, E) int64, NONE: no relation
    head: Tensor  # (B, E) int64
    tail_T_head: Tensor  # (B, E, 3)
    information: Tensor  # (B, E, 2)
    loops: Tensor  # (B,) int64, loops ever made
    anchor: Tensor  # (B,) int64, the embedding whose frame the robot's pose is kept relative to
    anchor_T_robot: Tensor  # (B, 3)
    variance: Tensor  # (B, 2) of anchor_T_robot, by odometry
    noise: Tensor  # (B, 2) by how much odometry's variances are larger than the configured ones, learned from loops

    @staticmethod
    def empty(config: PoseGraphConfig, n: int, batch: int, device: torch.device | str) -> PoseGraph:
        """The graph of ``batch`` memories of ``n`` embeddings: no relation holds yet."""

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(batch, *shape, dtype=torch.float64, device=device)

        size = (1 + config.loops_per_embedding) * n
        none = torch.full((batch, size), NONE, dtype=torch.int64, device=device)
        return PoseGraph(
            frame_T_pose=zeros(n, 3),
            tail=none,
            head=torch.arange(size, device=device).expand(batch, size) % n,
            tail_T_head=zeros(size, 3),
            information=zeros(size, 2),
            loops=torch.zeros(batch, dtype=torch.int64, device=device),
            anchor=none[:, 0].clone(),
            anchor_T_robot=zeros(3),
            variance=zeros(2),
            noise=zeros(2) + 1.0,
        )

    def enlarged(self, empty: PoseGraph) -> PoseGraph:
        """This graph with the room that ``empty``, of more embeddings, has beyond it, in the tree and in the ring."""
        n, wider = self.frame_T_pose.shape[1], empty.frame_T_pose.shape[1]

        def both(part: Tensor, more: Tensor) -> Tensor:
            ring = part.shape[1] - n
            return torch.cat([part[:, :n], more[:, n:wider], part[:, n:], more[:, wider + ring :]], dim=1)

        sized = ("frame_T_pose", "tail", "head", "tail_T_head", "information")
        return replace(self, **{name: both(getattr(self, name), getattr(empty, name)) for name in sized})

    @property
    def next_loop(self) -> Tensor:
        """The relation (B,) that the next loop replaces: a free one, or else each in turn."""
        n = self.frame_T_pose.shape[1]
        free = self.tail[:, n:] == NONE
        return n + torch.where(free.any(1), free.int().argmax(1), self.loops % free.shape[1])


@dataclass
class LoopClosure:
    """An old place recognised in the present view of each of B memories."""

    place: Tensor  # (B,) int64, its embedding
    frame_T_robot: Tensor  # (B, 3) float64, in the embedding's frame
    variance: Tensor  # (B, 2) float64, of position and yaw
    sure: Tensor  # (B,) bool, False: nothing was recognised


def propagate(config: PoseGraphConfig, graph: PoseGraph, motion: Tensor) -> PoseGraph:
    """The robot moved by ``motion`` (B, 3) according to odometry."""
    distance = torch.linalg.vector_norm(motion[:, :2], dim=-1)
    growth = torch.stack(
        [
            config.position_variance_per_metre * distance,
            config.yaw_variance_per_metre * distance + config.yaw_variance_per_radian * motion[:, 2].abs(),
        ],
        dim=-1,
    )
    # a yaw error of the way so far moves what comes after it sideways
    growth[:, 0] += graph.variance[:, 1] * distance**2
    return replace(
        graph,
        anchor_T_robot=compose(graph.anchor_T_robot, motion),
        variance=graph.variance + growth,
    )


def root(graph: PoseGraph) -> Tensor:
    """The embedding (B,) that the tree begins at: the oldest place, which holds the memory's frame."""
    n = graph.frame_T_pose.shape[1]
    child = torch.zeros(len(graph.tail), n + 1, dtype=torch.bool, device=graph.tail.device)
    parent = torch.zeros_like(child)
    tail = graph.tail[:, :n]
    child[:, :n] = tail != NONE
    parent.scatter_(1, torch.where(tail == NONE, n, tail), True)
    stands = torch.arange(n, device=tail.device) == graph.anchor[:, None]  # on its only embedding
    return ((parent[:, :n] | stands) & ~child[:, :n]).to(torch.uint8).argmax(1)


def frames(graph: PoseGraph, pose: Tensor) -> Tensor:
    """The embeddings' frames (B, N, 3), given their poses."""
    return compose(pose, inverse(graph.frame_T_pose))


def robot(graph: PoseGraph, pose: Tensor) -> Tensor:
    """The robot's pose (B, 3), given the embeddings'."""
    return compose(pick(frames(graph, pose), graph.anchor.clamp_min(0)), graph.anchor_T_robot)


def relate(
    graph: PoseGraph,
    number: Tensor,
    tail: Tensor,
    head: Tensor,
    tail_T_head: Tensor,
    information: Tensor,
    where: Tensor,
) -> PoseGraph:
    """Make relation ``number`` (B,) anew in the memories of ``where`` (B,)."""
    in_ring = number >= graph.frame_T_pose.shape[1]
    return replace(
        graph,
        tail=put(graph.tail, number, tail, where),
        head=put(graph.head, number, head, where),
        tail_T_head=put(graph.tail_T_head, number, tail_T_head, where),
        information=put(graph.information, number, information, where),
        loops=graph.loops + (where & in_ring),
    )


def add_child(config: PoseGraphConfig, graph: PoseGraph, slot: Tensor, where: Tensor) -> PoseGraph:
    """The robot stands on the new embedding ``slot`` (B,), in the memories chosen by ``where`` (B,)."""
    information = 1.0 / relation_variance(config, graph)
    graph = relate(graph, slot, graph.anchor, slot, graph.anchor_T_robot, information, where)
    return replace(
        graph,
        frame_T_pose=put(graph.frame_T_pose, slot, torch.zeros_like(graph.anchor_T_robot), where),
        anchor=torch.where(where, slot, graph.anchor),
        anchor_T_robot=torch.where(where[:, None], 0.0, graph.anchor_T_robot),
        variance=torch.where(where[:, None], 0.0, graph.variance),
    )


def relation_variance(config: PoseGraphConfig, graph: PoseGraph) -> Tensor:
    """Variances (B, 2) of the robot's pose against its anchor, as a relation holds them."""
    return graph.variance + graph.variance.new_tensor([config.min_position_variance, config.min_yaw_variance])


def step_variance(config: PoseGraphConfig, graph: PoseGraph) -> Tensor:
    """The same (B, 2), as the loops have taught how much odometry is worth."""
    return relation_variance(config, graph) * graph.noise


def add_loop(config: PoseGraphConfig, graph: PoseGraph, loop: LoopClosure, where: Tensor) -> PoseGraph:
    """Keep what the robot recognised, in the memories of ``where`` (B,) in which it is sure."""
    relation = compose(graph.anchor_T_robot, inverse(loop.frame_T_robot))
    where = where & loop.sure & (graph.anchor != NONE) & (graph.anchor != loop.place)
    information = 1.0 / (graph.variance + loop.variance)
    return keep_loop(config, graph, graph.anchor, loop.place, relation, information, where)


def keep_loop(
    config: PoseGraphConfig,
    graph: PoseGraph,
    tail: Tensor,
    head: Tensor,
    relation: Tensor,
    information: Tensor,
    where: Tensor,
) -> PoseGraph:
    """Put a loop (B,) into the ring; it becomes one with those between the same two embeddings that agree with it.

    So the ring fills with pairs of embeddings, not with time, and what old loops say is not lost to new ones.
    """
    n = graph.frame_T_pose.shape[1]
    tails, heads = graph.tail[:, n:], graph.head[:, n:]
    others, weights = graph.tail_T_head[:, n:], graph.information[:, n:]
    back = (tails == head[:, None]) & (heads == tail[:, None])
    pair = back | ((tails == tail[:, None]) & (heads == head[:, None]))
    delta = difference(torch.where(back[..., None], inverse(others), others), relation[:, None])
    squared = torch.stack([delta[..., :2].square().sum(-1), delta[..., 2].square()], dim=-1)
    chi2 = (squared / (1.0 / weights.clamp_min(ANCHORED) + 1.0 / information[:, None])).sum(-1)
    same = pair & (chi2 < config.kernel**2) & where[:, None]
    weights = weights * same[..., None]
    total = information + weights.sum(1)
    shift = (weights[..., [0, 0, 1]] * delta).sum(1) / total[..., [0, 0, 1]]
    most = total.new_tensor([config.loop_position_std, config.loop_yaw_std]) ** -2
    number = torch.where(same.any(1), n + same.int().argmax(1), graph.next_loop)
    left = torch.where(same, NONE, tails)
    graph = replace(graph, tail=torch.cat([graph.tail[:, :n], left], dim=1))
    return relate(graph, number, tail, head, relation + shift, torch.minimum(total, most), where)


def learn_noise(
    config: PoseGraphConfig, graph: PoseGraph, innovation: Tensor, expected: Tensor, measured: Tensor
) -> PoseGraph:
    """What a sure loop says of the odometry's noise, in one memory.

    innovation (2,): squared metres and radians between loop and expectation; expected (2,): the variances of that, by
    ``drift``; measured (2,): those of the loop. The noise grows where the innovation is beyond the median of what they
    allow, and shrinks where it is below, as far as the odometry has a share in it. So it settles where half are, whatever
    a few wrong loops say.
    """
    total = expected + measured
    median = innovation.new_tensor(MEDIAN_CHI2)
    beyond = torch.where(innovation > median * total, 1.0, -1.0)
    step = config.noise_rate * beyond * expected / total
    noise = (graph.noise.log() + step).exp().clamp(config.min_noise, config.max_noise)
    return replace(graph, noise=noise)


def absorb(
    config: PoseGraphConfig,
    graph: PoseGraph,
    gone: Tensor,
    kept: Tensor,
    kept_T_gone: Tensor,
    where: Tensor,
) -> PoseGraph:
    """Embedding ``gone`` (B,) became part of ``kept`` (B,): what was related to it is now related to that one.

    kept_T_gone (B, 3): between their poses. Two relations now lead to ``kept``. One stays in the tree, the other one
    becomes a loop: its own, if it comes from a descendant of ``gone``, for then the tree would be cut there.
    """
    of_gone, of_kept = pick(graph.frame_T_pose, gone), pick(graph.frame_T_pose, kept)
    kept_T_gone = compose(compose(of_kept, kept_T_gone), inverse(of_gone))  # between their frames
    stands_there = where & (graph.anchor == gone)
    descends = (where & descends_from(graph, kept, gone))[:, None]

    starts = (graph.tail == gone[:, None]) & where[:, None]
    ends = (graph.head == gone[:, None]) & where[:, None]
    tail, head = torch.where(starts, kept[:, None], graph.tail), torch.where(ends, kept[:, None], graph.head)
    relation = torch.where(
        starts[..., None], compose(kept_T_gone[:, None], graph.tail_T_head), graph.tail_T_head
    )
    relation = torch.where(ends[..., None], compose(relation, inverse(kept_T_gone)[:, None]), relation)
    tail = torch.where(tail == head, NONE, tail)

    both = torch.stack([kept, gone], dim=1)
    both = torch.where(descends, both.flip(1), both)  # relation in the tree, loop
    rows = torch.arange(len(both), device=both.device)[:, None]
    (tree_tail, loop_tail), (tree_relation, loop_relation), (tree_information, loop_information) = (
        table[rows, both].unbind(1) for table in (tail, relation, graph.information)
    )
    tail = put(tail, gone, torch.full_like(gone, NONE), where)
    graph = replace(
        graph,
        tail=put(tail, kept, tree_tail),
        head=put(head, gone, gone),
        tail_T_head=put(relation, kept, tree_relation),
        information=put(graph.information, kept, tree_information),
        anchor=torch.where(stands_there, kept, graph.anchor),
        anchor_T_robot=torch.where(
            stands_there[:, None], compose(kept_T_gone, graph.anchor_T_robot), graph.anchor_T_robot
        ),
    )
    where = where & (loop_tail != NONE)
    return keep_loop(config, graph, loop_tail, kept, loop_relation, loop_information, where)


def descends_from(graph: PoseGraph, a: Tensor, b: Tensor) -> Tensor:
    """Whether the tree's way from its root to embedding ``a`` (B,) leads through ``b`` (B,)."""
    n = graph.frame_T_pose.shape[1]
    itself = torch.arange(n, device=a.device).expand(len(a), n)
    up = graph.tail[:, :n]
    up = torch.where((up == NONE) | (itself == b[:, None]), itself, up)  # ends at the root and at b
    for _ in range((n - 1).bit_length()):
        up = up.gather(1, up)  # twice as far
    return pick(up, a) == b


def optimise(config: PoseGraphConfig, graph: PoseGraph, pose: Tensor) -> Tensor:
    """New poses (B, N, 3) of all embeddings, nearer to agreement: first the yaws, then the positions.

    Yaws alone and then positions given the yaws are two linear problems of size N with Laplacian matrices, an
    approximation of the joint problem of size 3 N that is good for planar graphs (Carlone et al., "A fast and
    accurate approximation for planar pose graph optimization", 2014) and an order of magnitude cheaper.
    """
    n = pose.shape[1]
    relation = graph.tail_T_head
    frame = frames(graph, pose)
    tail, head = graph.tail.clamp_min(0), graph.head
    rows = torch.arange(len(pose), device=pose.device)[:, None]
    error = relation_error(frame[rows, tail], frame[rows, head], relation)
    information = believed(config, graph, error)

    turn = solve_laplacian(tail, head, information[..., 1], error[..., 2:], config.yaw_damping, n)
    frame = torch.cat([frame[..., :2], wrap_angle(frame[..., 2:] + turn)], dim=-1)
    a, b = frame[rows, tail], frame[rows, head]
    expected = compose(a, relation)
    shift = solve_laplacian(
        tail, head, information[..., 0], (b - expected)[..., :2], config.position_damping, n
    )
    return compose(torch.cat([frame[..., :2] + shift, frame[..., 2:]], dim=-1), graph.frame_T_pose)


def believed(config: PoseGraphConfig, graph: PoseGraph, error: Tensor) -> Tensor:
    """The information (B, E, 2) of the relations that have this ``error`` (B, E, 3).

    A robust kernel lets go of loops that contradict all others; odometry is always believed, as much as it has earned.
    """
    information = graph.information * (graph.tail != NONE)[..., None]
    n = graph.frame_T_pose.shape[1]
    information = torch.cat([information[:, :n] / graph.noise[:, None], information[:, n:]], dim=1)
    squared = torch.stack([(error[..., :2] ** 2).sum(-1), error[..., 2] ** 2], dim=-1)
    chi2 = (information * squared).sum(-1, keepdim=True)
    is_loop = torch.arange(error.shape[1], device=error.device)[:, None] >= n
    return information * torch.where(is_loop, (1.0 + chi2 / config.kernel**2) ** -2, 1.0)


def drift(config: PoseGraphConfig, graph: PoseGraph, pose: Tensor, place: Tensor) -> Tensor:
    """Variances (K, 2) of position and yaw of the embeddings ``place`` (K,) as seen from the robot, of one memory.

    What the relations leave open between the two is, for each of the linear problems of ``optimise``, the effective
    resistance between two nodes of a network of conductors (Khosoussi et al., "Reliable graphs for SLAM", 2019); an
    error of the yaw on the way moves the place sideways by a part of the distance.
    """
    frame = frames(graph, pose)[0]
    tail, head = graph.tail[0].clamp_min(0), graph.head[0]
    error = relation_error(frame[tail], frame[head], graph.tail_T_head[0])
    information = believed(config, graph, error[None])[0]
    anchor = graph.anchor[0].clamp_min(0)
    n, number = len(frame), torch.arange(len(place), device=place.device)
    ends = torch.zeros(n, len(place), dtype=torch.float64, device=place.device)
    ends[place, number] += 1.0
    ends[anchor, number] -= 1.0
    resistance = [
        (ends * solve(tail, head, weight, ANCHORED, ends)).sum(0) for weight in information.unbind(-1)
    ]
    own = graph.variance[0] * graph.noise[0]
    position, yaw = resistance[0] + own[0], resistance[1] + own[1]
    distance = torch.linalg.vector_norm((frame[place] - robot(graph, pose)[0])[:, :2], dim=-1)
    return torch.stack([position + yaw * distance**2 / 3.0, yaw], dim=-1)


def relation_error(a: Tensor, b: Tensor, relation: Tensor) -> Tensor:
    """How far (..., 3) the pose of b as seen from a is from ``relation``, in a's frame."""
    return difference(between(a, b), relation)


def solve_laplacian(
    tail: Tensor, head: Tensor, weight: Tensor, error: Tensor, damping: float, n: int
) -> Tensor:
    """The x (B, N, D) that minimises sum of weight |x[head] - x[tail] + error|^2 + damping |x|^2.

    tail, head, weight (B, E), error (B, E, D).
    """
    pull = weight[..., None] * error
    right = torch.zeros(len(tail), n, error.shape[-1], dtype=error.dtype, device=tail.device)
    index = tail[..., None].expand_as(pull)
    right.scatter_add_(1, index, pull).scatter_add_(1, head[..., None].expand_as(pull), -pull)
    return torch.stack(
        [solve(*memory[:3], damping, memory[3]) for memory in zip(tail, head, weight, right, strict=True)]
    )


def solve(tail: Tensor, head: Tensor, weight: Tensor, damping: float, right: Tensor) -> Tensor:
    """The x (N, D) whose product with the Laplacian matrix of relations ``tail``, ``head`` (E,) is ``right`` (N, D).

    The relations' ``weight`` (E,) and ``damping`` on the diagonal in double precision, for weights differ by much. An
    embedding has few relations, so the matrix is sparse: a dense one of 512 takes ten times as long.
    """
    n = len(right)
    held = weight > 0
    i, j, w = (part[held].cpu().numpy() for part in (tail, head, weight))
    diagonal = np.arange(n)
    entries = np.concatenate([w, w, -w, -w, np.full(n, damping)])
    rows, columns = np.concatenate([i, j, i, j, diagonal]), np.concatenate([i, j, j, i, diagonal])
    matrix = sparse.csc_matrix((entries, (rows, columns)), shape=(n, n))
    factors = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    return torch.from_numpy(factors.solve(right.cpu().numpy())).to(right)
