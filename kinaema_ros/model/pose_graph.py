"""Drift correction: the embeddings agree on where they stand.

Odometry drifts, so a place seen ten minutes ago is remembered where the odometry of then put it. Each embedding
therefore keeps how the robot came to it from an earlier one (its parent), and where an observation recognises an
old place, the relative pose that it sees is kept as a loop. Every few updates all poses move to where
these relations agree best: a pose graph (Grisetti et al., "A tutorial on graph-based SLAM", 2010) with a robust kernel
over the N embeddings and a ring of the newest loops, so of constant cost. Where several loops ask for one correction,
their kernel is wide at first, so that they may pull a long way, and narrows from one optimisation to the next (Yang et
al., "Graduated non-convexity for robust spatial perception", 2020).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import splu
from torch import Tensor

from kinaema_ros.model.camera_pose import planar_rotation
from kinaema_ros.model.config import PoseGraphConfig
from kinaema_ros.model.se2 import apart, between, compose, difference, inverse, wrap_angle

NONE = -1  # no embedding
ANCHORED = (
    1e-6  # 1/m^2 and 1/rad^2: keeps a matrix regular where nothing is related, and adds nothing elsewhere
)
MEDIAN_CHI2 = (1.386, 0.455)  # of chi squared with 2 degrees of freedom, of a position, and with 1, of a yaw


@dataclass
class PoseGraph:
    """Relations between the N embeddings of a memory. Poses float64; information: of position and yaw.

    Of the E relations, number i < N leads to embedding i from the one that the robot came from, and these N make one
    tree; the others are a ring of loops.
    """

    tail: Tensor  # (E,) int64, NONE: no relation
    head: Tensor  # (E,) int64
    tail_T_head: Tensor  # (E, 3)
    information: Tensor  # (E, 2)
    slack: (
        Tensor  # (E,) by how many times the kernel of a loop is wider: 1, and more while it pulls a long way
    )
    loops: Tensor  # () int64, loops ever made
    anchor: Tensor  # () int64, the embedding that the robot's pose is kept relative to
    anchor_T_robot: Tensor  # (3,)
    variance: Tensor  # (2,) of anchor_T_robot, by odometry
    noise: Tensor  # (2,) by how much odometry's variances are larger than the configured ones, learned from loops

    @staticmethod
    def empty(config: PoseGraphConfig, n: int, device: torch.device | str) -> PoseGraph:
        """The graph of a memory of ``n`` embeddings: no relation holds yet."""

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=torch.float64, device=device)

        size = (1 + config.loops_per_embedding) * n
        none = torch.full((size,), NONE, dtype=torch.int64, device=device)
        return PoseGraph(
            tail=none,
            head=torch.arange(size, device=device) % n,
            tail_T_head=zeros(size, 3),
            information=zeros(size, 2),
            slack=zeros(size) + 1.0,
            loops=torch.tensor(0, device=device),
            anchor=torch.tensor(NONE, device=device),
            anchor_T_robot=zeros(3),
            variance=zeros(2),
            noise=zeros(2) + 1.0,
        )

    def enlarged(self, n: int, empty: PoseGraph, wider: int) -> PoseGraph:
        """This graph of ``n`` embeddings with the room that ``empty``, of ``wider``, has beyond it, in tree and ring."""

        def both(part: Tensor, more: Tensor) -> Tensor:
            ring = len(part) - n
            return torch.cat([part[:n], more[n:wider], part[n:], more[wider + ring :]])

        sized = ("tail", "head", "tail_T_head", "information", "slack")
        return replace(self, **{name: both(getattr(self, name), getattr(empty, name)) for name in sized})


@dataclass
class LoopClosure:
    """An old place recognised in the present view."""

    place: Tensor  # () int64, its embedding
    place_T_robot: Tensor  # (3,) float64
    variance: Tensor  # (2,) float64, of position and yaw


def propagate(config: PoseGraphConfig, graph: PoseGraph, motion: Tensor) -> PoseGraph:
    """The robot moved by ``motion`` (3,) according to odometry."""
    distance = torch.linalg.vector_norm(motion[:2])
    position = config.position_variance_per_metre * distance
    yaw = config.yaw_variance_per_metre * distance + config.yaw_variance_per_radian * motion[2].abs()
    # a yaw error of the way so far moves what comes after it sideways
    sideways = graph.variance[1] * distance**2
    return replace(
        graph,
        anchor_T_robot=compose(graph.anchor_T_robot, motion),
        variance=graph.variance + torch.stack([position + sideways, yaw]),
    )


def num_embeddings(config: PoseGraphConfig, graph: PoseGraph) -> int:
    """N: each has one relation in the tree and some in the ring."""
    return len(graph.tail) // (1 + config.loops_per_embedding)


def root(config: PoseGraphConfig, graph: PoseGraph) -> Tensor:
    """The embedding () that the tree begins at: the oldest place, which holds the memory's frame."""
    tail = graph.tail[: num_embeddings(config, graph)]
    child = tail != NONE
    parent = torch.zeros_like(child)
    parent[tail[child]] = True
    parent[graph.anchor.clamp_min(0)] = True  # where the robot stands on its only embedding
    return (parent & ~child).to(torch.uint8).argmax()


def robot(graph: PoseGraph, pose: Tensor) -> Tensor:
    """The robot's pose (3,), given the embeddings' (N, 3)."""
    return compose(pose[graph.anchor.clamp_min(0)], graph.anchor_T_robot)


def relate(
    graph: PoseGraph,
    number: Tensor,
    tail: Tensor,
    head: Tensor,
    tail_T_head: Tensor,
    information: Tensor,
    slack: Tensor | None = None,
) -> PoseGraph:
    """Make relation ``number`` () anew; slack (): 1 where it is None."""
    row = (number,)
    return replace(
        graph,
        slack=graph.slack.index_put(row, torch.ones_like(graph.slack[0]) if slack is None else slack),
        tail=graph.tail.index_put(row, tail),
        head=graph.head.index_put(row, head),
        tail_T_head=graph.tail_T_head.index_put(row, tail_T_head),
        information=graph.information.index_put(row, information),
    )


def add_child(config: PoseGraphConfig, graph: PoseGraph, slot: Tensor) -> PoseGraph:
    """The robot stands on the new embedding ``slot`` ()."""
    information = 1.0 / relation_variance(config, graph)
    graph = relate(graph, slot, graph.anchor, slot, graph.anchor_T_robot, information)
    return replace(
        graph,
        anchor=slot,
        anchor_T_robot=torch.zeros_like(graph.anchor_T_robot),
        variance=torch.zeros_like(graph.variance),
    )


def relation_variance(config: PoseGraphConfig, graph: PoseGraph) -> Tensor:
    """Variances (2,) of the robot's pose against its anchor, as a relation holds them."""
    return graph.variance + graph.variance.new_tensor([config.min_position_variance, config.min_yaw_variance])


def step_variance(config: PoseGraphConfig, graph: PoseGraph) -> Tensor:
    """The same (2,), as the loops have taught how much odometry is worth."""
    return relation_variance(config, graph) * graph.noise


def add_loop(config: PoseGraphConfig, graph: PoseGraph, pose: Tensor, loop: LoopClosure) -> PoseGraph:
    """Keep what the robot recognised, unless that is the embedding that it stands by. pose (N, 3): of the embeddings.

    A loop beyond the kernel has no say until others ask for the same correction; then all of them pull together.
    """
    if graph.anchor == NONE or graph.anchor == loop.place:
        return graph
    relation = compose(graph.anchor_T_robot, inverse(loop.place_T_robot))
    variance = graph.variance + loop.variance
    seen = compose(pose[loop.place], loop.place_T_robot)
    off, turn = apart(seen, robot(graph, pose))
    chi2 = (off**2 / variance[0] + turn**2 / variance[1]) / config.kernel**2
    slack = torch.ones_like(chi2)
    if chi2 > 1.0:
        others = agreeing(config, graph, pose, seen, loop.variance)
        if len(others) >= config.min_agreeing:
            slack = 2.0 * chi2
            graph = replace(graph, slack=graph.slack.index_put((others,), graph.slack[others].maximum(slack)))
    return keep_loop(config, graph, graph.anchor, loop.place, relation, 1.0 / variance, slack)


def agreeing(
    config: PoseGraphConfig, graph: PoseGraph, pose: Tensor, seen: Tensor, variance: Tensor
) -> Tensor:
    """The loops (K,) from earlier embeddings that would move the robot to ``seen`` (3,), known to ``variance`` (2,)."""
    ring = torch.arange(num_embeddings(config, graph), len(graph.tail), device=pose.device)
    ring = ring[(graph.tail[ring] != NONE) & (graph.tail[ring] != graph.anchor)]
    tail, head, stands = graph.tail[ring], graph.head[ring], robot(graph, pose)
    corrected = compose(pose[head], inverse(graph.tail_T_head[ring]))  # where each loop sees its tail
    off, turn = apart(compose(corrected, between(pose[tail], stands)), seen)
    position, yaw = (1.0 / graph.information[ring]).unbind(-1)
    way = (pose[tail] - stands)[:, :2].square().sum(-1)  # by which a wrong heading moves the robot sideways
    chi2 = off**2 / (position + way * yaw + variance[0]) + turn**2 / (yaw + variance[1])
    return ring[chi2 < config.kernel**2]


def keep_loop(
    config: PoseGraphConfig,
    graph: PoseGraph,
    tail: Tensor,
    head: Tensor,
    relation: Tensor,
    information: Tensor,
    slack: Tensor,
) -> PoseGraph:
    """Put a loop into the ring; it becomes one with those between the same two embeddings that agree with it.

    So the ring fills with pairs of embeddings, not with time, and what old loops say is not lost to new ones.
    """
    n = num_embeddings(config, graph)
    back = (graph.tail == head) & (graph.head == tail)
    pair = back | ((graph.tail == tail) & (graph.head == head))
    others = n + pair[n:].nonzero()[:, 0]
    there = graph.tail_T_head[others]
    delta = difference(torch.where(back[others, None], inverse(there), there), relation)
    squared = torch.stack([delta[:, :2].square().sum(-1), delta[:, 2].square()], dim=-1)
    weights = graph.information[others]
    chi2 = (squared / (1.0 / weights.clamp_min(ANCHORED) + 1.0 / information)).sum(-1)
    same = chi2 < config.kernel**2
    others, weights = others[same], weights[same]
    total = information + weights.sum(0)
    shift = (weights[:, [0, 0, 1]] * delta[same]).sum(0) / total[[0, 0, 1]]
    most = total.new_tensor([config.loop_position_std, config.loop_yaw_std]) ** -2
    slack = torch.cat([graph.slack[others], slack[None]]).amax()
    number = others[0] if len(others) else next_loop(config, graph)
    graph = replace(graph, tail=graph.tail.index_fill(0, others, NONE), loops=graph.loops + 1)
    return relate(graph, number, tail, head, relation + shift, torch.minimum(total, most), slack)


def next_loop(config: PoseGraphConfig, graph: PoseGraph) -> Tensor:
    """The relation () that the next loop replaces: a free one, or else each in turn."""
    n = num_embeddings(config, graph)
    free = graph.tail[n:] == NONE
    return n + (free.int().argmax() if free.any() else graph.loops % len(free))


def learn_noise(
    config: PoseGraphConfig, graph: PoseGraph, innovation: Tensor, expected: Tensor, measured: Tensor
) -> PoseGraph:
    """What a sure loop says of the odometry's noise.

    innovation (2,): squared metres and radians between loop and expectation; expected (2,): the variances of that, by
    ``drift``; measured (2,): those of the loop. Where these are the larger ones it says nothing: of loops that follow one
    another the first has corrected the drift, and the others agree with it, for they see the same points.
    """
    median = innovation.new_tensor(MEDIAN_CHI2)
    noise = learned(config, graph.noise, config.noise_rate, innovation, expected, measured, median)
    return replace(graph, noise=torch.where(expected > measured, noise, graph.noise))


def learn_yaw_noise(
    config: PoseGraphConfig,
    graph: PoseGraph,
    innovation: Tensor,
    expected: Tensor,
    measured: Tensor,
    updates: int,
) -> PoseGraph:
    """The same by what is seen of the last motion's heading.

    innovation (): squared radians between what is seen and the odometry; expected (), measured (): the variances of the odometry
    and of what is seen; updates: of the memory so far, the first of which count for more.
    """
    rate = max(config.noise_rate, 2.0 / updates)
    median = innovation.new_tensor(MEDIAN_CHI2[1])
    noise = learned(config, graph.noise[1], rate, innovation, expected, measured, median)
    return replace(graph, noise=torch.stack([graph.noise[0], noise]))


def learned(
    config: PoseGraphConfig,
    noise: Tensor,
    rate: float,
    innovation: Tensor,
    expected: Tensor,
    measured: Tensor,
    median: Tensor,
) -> Tensor:
    """The noise (...) after an observation, given the ``median`` (...) of chi squared.

    It grows where the innovation is beyond the median of what the variances allow, and shrinks where it is below, as far as
    the odometry has a share in it. So it settles where half are, whatever a few wrong loops say.
    """
    total = expected + measured
    beyond = torch.where(innovation > median * total, 1.0, -1.0)
    return (noise.log() + rate * beyond * expected / total).exp().clamp(config.min_noise, config.max_noise)


def absorb(
    config: PoseGraphConfig, graph: PoseGraph, gone: Tensor, kept: Tensor, kept_T_gone: Tensor
) -> PoseGraph:
    """Embedding ``gone`` () became part of ``kept`` (): what was related to it is now related to that one.

    kept_T_gone (3,): between their poses. Two relations now lead to ``kept``. One stays in the tree, the other one
    becomes a loop: its own, if it comes from a descendant of ``gone``, for then the tree would be cut there.
    """
    starts, ends = graph.tail == gone, graph.head == gone
    tail, head = torch.where(starts, kept, graph.tail), torch.where(ends, kept, graph.head)
    tail = torch.where(tail == head, NONE, tail)
    relation, information = graph.tail_T_head.clone(), graph.information.clone()
    relation[starts] = compose(kept_T_gone, relation[starts])
    relation[ends] = compose(relation[ends], inverse(kept_T_gone))

    both = torch.stack([gone, kept] if descends_from(config, graph, kept, gone) else [kept, gone])
    (tree_tail, loop_tail), (tree_relation, loop_relation), (tree_information, loop_information) = (
        table[both] for table in (tail, relation, information)
    )
    tail[kept], relation[kept], information[kept] = tree_tail, tree_relation, tree_information
    tail[gone], head[gone] = NONE, gone
    graph = replace(graph, tail=tail, head=head, tail_T_head=relation, information=information)
    if graph.anchor == gone:
        graph = replace(graph, anchor=kept, anchor_T_robot=compose(kept_T_gone, graph.anchor_T_robot))
    if loop_tail == NONE:
        return graph
    return keep_loop(
        config, graph, loop_tail, kept, loop_relation, loop_information, graph.slack.new_ones(())
    )


def descends_from(config: PoseGraphConfig, graph: PoseGraph, a: Tensor, b: Tensor) -> bool:
    """Whether the tree's way from its root to embedding ``a`` () leads through ``b`` ()."""
    n = num_embeddings(config, graph)
    itself = torch.arange(n, device=a.device)
    up = graph.tail[:n]
    up = torch.where((up == NONE) | (itself == b), itself, up)  # ends at the root and at b
    for _ in range((n - 1).bit_length()):
        up = up[up]  # twice as far
    return bool(up[a] == b)


def optimise(config: PoseGraphConfig, graph: PoseGraph, pose: Tensor) -> Tensor:
    """New poses (N, 3) of all embeddings, nearer to agreement: a step of Gauss and Newton's method.

    Positions and yaws together: where a long way closes, it is mostly the position that tells how the yaws on it erred.
    """
    error = relation_error(pose[graph.tail.clamp_min(0)], pose[graph.head], graph.tail_T_head)
    information = believed(config, graph, error)[:, [0, 0, 1]]
    held = graph.tail != NONE
    tail, head, error, information = graph.tail[held], graph.head[held], error[held], information[held]
    jacobian = torch.cat(relation_jacobians(pose[tail], pose[head]), dim=-1)  # (E, 3, 6)
    weighted = jacobian * information[..., None]
    number = 3 * torch.stack([tail, head], dim=-1)[..., None] + torch.arange(3, device=pose.device)
    number = number.flatten(1)  # (E, 6), of the unknowns
    pull = (weighted.mT @ error[..., None])[..., 0]
    damping = error.new_tensor([config.position_damping, config.position_damping, config.yaw_damping])
    step = solve_sparse(
        number[:, :, None].expand(-1, 6, 6),
        number[:, None].expand(-1, 6, 6),
        weighted.mT @ jacobian,
        damping.repeat(len(pose)),
        error.new_zeros(pose.numel()).index_add(0, number.flatten(), -pull.flatten()),
    )
    moved = pose + step.view_as(pose)
    return torch.cat([moved[:, :2], wrap_angle(moved[:, 2:])], dim=-1)


def narrow(config: PoseGraphConfig, graph: PoseGraph) -> PoseGraph:
    """The graph after an optimisation: the kernels that were wide are less so."""
    return replace(graph, slack=(config.slack_left * graph.slack).clamp_min(1.0))


def believed(config: PoseGraphConfig, graph: PoseGraph, error: Tensor) -> Tensor:
    """The information (E, 2) of the relations that have this ``error`` (E, 3).

    A robust kernel lets go of loops that contradict all others; odometry is always believed, as much as it has earned.
    """
    information = graph.information * (graph.tail != NONE)[:, None]
    n = num_embeddings(config, graph)
    tree, loops = information[:n] / graph.noise, information[n:]
    squared = torch.stack([error[n:, :2].square().sum(-1), error[n:, 2].square()], dim=-1)
    chi2 = (loops * squared).sum(-1, keepdim=True)
    width = config.kernel**2 * graph.slack[n:, None]
    return torch.cat([tree, loops * (1.0 + chi2 / width) ** -2])


def drift(config: PoseGraphConfig, graph: PoseGraph, pose: Tensor, place: Tensor) -> Tensor:
    """Variances (K, 2) of position and yaw of the embeddings ``place`` (K,) as seen from the robot.

    What the relations leave open between the two is, positions and yaws each by themselves, the effective resistance between
    two nodes of a network of conductors (Khosoussi et al., "Reliable graphs for SLAM", 2019); an error of the yaw on the
    way moves the place sideways by a part of the distance.
    """
    tail, head = graph.tail.clamp_min(0), graph.head
    error = relation_error(pose[tail], pose[head], graph.tail_T_head)
    information = believed(config, graph, error)
    anchor = graph.anchor.clamp_min(0)
    n, number = len(pose), torch.arange(len(place), device=place.device)
    ends = torch.zeros(n, len(place), dtype=torch.float64, device=place.device)
    ends[place, number] += 1.0
    ends[anchor, number] -= 1.0
    resistance = [
        (ends * solve(tail, head, weight, ANCHORED, ends)).sum(0) for weight in information.unbind(-1)
    ]
    own = graph.variance * graph.noise
    position, yaw = resistance[0] + own[0], resistance[1] + own[1]
    distance = torch.linalg.vector_norm((pose[place] - robot(graph, pose))[:, :2], dim=-1)
    return torch.stack([position + yaw * distance**2 / 3.0, yaw], dim=-1)


def relation_error(a: Tensor, b: Tensor, relation: Tensor) -> Tensor:
    """How far (..., 3) the pose of b as seen from a is from ``relation``, in a's frame."""
    return difference(between(a, b), relation)


def relation_jacobians(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """By how much ``relation_error`` changes with poses a and with poses b: (..., 3, 3) each."""
    x, y, _ = between(a, b).unbind(-1)
    by_b = planar_rotation(a[..., 2]).mT
    zero = torch.zeros_like(x)
    by_turn = torch.stack([y, -x, zero], dim=-1)
    return torch.cat([-by_b[..., :2], (by_turn - by_b[..., 2])[..., None]], dim=-1), by_b


def solve(tail: Tensor, head: Tensor, weight: Tensor, damping: float, right: Tensor) -> Tensor:
    """The x (N, D) whose product with the Laplacian matrix of relations ``tail``, ``head`` (E,) is ``right`` (N, D).

    The relations' ``weight`` (E,) and ``damping`` on the diagonal.
    """
    held = weight > 0
    i, j, w = tail[held], head[held], weight[held]
    return solve_sparse(
        torch.cat([i, j, i, j]),
        torch.cat([i, j, j, i]),
        torch.cat([w, w, -w, -w]),
        right.new_full((len(right),), damping),
        right,
    )


def solve_sparse(rows: Tensor, columns: Tensor, values: Tensor, diagonal: Tensor, right: Tensor) -> Tensor:
    """The x (N, ...) whose product with a symmetric matrix is ``right`` (N, ...), in double precision, for weights differ by much.

    The matrix has ``values`` at ``rows`` and ``columns``, all of one shape, and ``diagonal`` (N,) besides. An embedding has few
    relations, so it is sparse: a dense one for 512 embeddings takes ten times as long.
    """
    n = len(right)
    every = np.arange(n)
    row, column, value = (part.flatten().cpu().numpy() for part in (rows, columns, values))
    entries = np.concatenate([value, diagonal.cpu().numpy()])
    where = np.concatenate([row, every]), np.concatenate([column, every])
    matrix = sparse.csc_matrix((entries, where), shape=(n, n))
    factors = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    return torch.from_numpy(factors.solve(right.cpu().numpy())).to(right)
