"""The pose graph: loops take drift away, merging loses no relation, and drift is known for what it is."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kinaema_ros import geometry
from kinaema_ros.model import pose_graph, se2
from kinaema_ros.model.config import PoseGraphConfig
from kinaema_ros.model.pose_graph import NONE, LoopClosure, PoseGraph, relation_error

CONFIG = PoseGraphConfig()
# Nothing but the way driven: what has a closed form.
BARE = PoseGraphConfig(
    yaw_damping=10.0,
    min_position_variance=1e-9,
    min_yaw_variance=1e-9,
    yaw_variance_per_metre=1e-7,
)


def chain(config: PoseGraphConfig, motion: np.ndarray) -> tuple[PoseGraph, torch.Tensor]:
    """Embeddings one after the other, and their poses (N, 3) by odometry; the robot stands on the last."""
    n = len(motion) + 1
    graph = PoseGraph.empty(config, n, "cpu")
    poses = [np.zeros(3)]
    graph = pose_graph.add_child(config, graph, torch.tensor(0))
    for number, step in enumerate(motion):
        poses.append(geometry.compose(poses[-1], step))
        graph = pose_graph.propagate(config, graph, torch.from_numpy(step))
        graph = pose_graph.add_child(config, graph, torch.tensor(number + 1))
    return graph, torch.from_numpy(np.stack(poses))


def straight(n: int, step: float = 0.5) -> np.ndarray:
    return np.tile([step, 0.0, 0.0], (n - 1, 1))


def loop(
    graph: PoseGraph,
    pose: torch.Tensor,
    place: int,
    place_T_robot: np.ndarray,
    variance: tuple[float, float],
) -> PoseGraph:
    closure = LoopClosure(
        torch.tensor(place),
        torch.from_numpy(np.asarray(place_T_robot)),
        torch.tensor(variance, dtype=torch.float64),
    )
    return pose_graph.add_loop(CONFIG, graph, pose, closure)


def drift_of(config: PoseGraphConfig, graph: PoseGraph, pose: torch.Tensor, *places: int) -> torch.Tensor:
    return pose_graph.drift(config, graph, pose, torch.tensor(places))


@pytest.mark.parametrize("drift_deg", [0.05, 0.1])
def test_a_loop_takes_drift_away(drift_deg: float):
    """A square of 40 m whose odometry turns a little too far; its end is recognised as its start."""
    n = 40
    turns = [math.pi / 2 if k % 10 == 0 else 0.0 for k in range(1, n)]
    motion = np.stack([np.ones(n - 1), np.zeros(n - 1), turns], axis=-1)
    poses = [np.zeros(3)]
    for step in motion:
        poses.append(geometry.compose(poses[-1], step))
    graph, pose = chain(CONFIG, motion + [0.0, 0.0, math.radians(drift_deg)])
    odometry = pose.numpy()
    graph = loop(graph, pose, 0, geometry.between(poses[0], poses[-1]), (0.1**2, 0.02**2))
    for _ in range(60):
        pose = pose_graph.optimise(CONFIG, graph, pose)

    def error(estimate: np.ndarray) -> float:
        relative = geometry.between(estimate[0], estimate) - geometry.between(poses[0], poses)
        return float(np.linalg.norm(relative[:, :2], axis=1).max())

    assert error(pose.numpy()) < 0.5 * error(odometry)


def test_where_a_way_closes_tells_how_its_headings_erred() -> None:
    """Out, half a circle, and back beside it, 60 m: a loop that knows its position alone takes most of a steady turn away."""
    n = 120
    turns = [math.pi / 40 if 50 <= k < 90 else 0.0 for k in range(1, n)]
    motion = np.stack([np.full(n - 1, 0.5), np.zeros(n - 1), turns], axis=-1)
    _, true = chain(CONFIG, motion)
    graph, pose = chain(CONFIG, motion + [0.0, 0.0, math.radians(0.02)])
    graph = loop(graph, pose, 10, geometry.between(true[10].numpy(), true[-1].numpy()), (0.15**2, 10.0**2))
    before = (pose - true)[:, 2].abs().mean()
    for _ in range(60):
        pose = pose_graph.optimise(CONFIG, graph, pose)
    pose = se2.compose(se2.compose(true[0], se2.inverse(pose[0])), pose)
    assert (pose - true)[:, 2].abs().mean() < 0.6 * before


def test_a_loop_that_contradicts_everything_moves_nothing():
    graph, pose = chain(CONFIG, straight(30))
    lying = loop(graph, pose, 0, np.array([0.3, 0.2, 1.5]), (0.1**2, 0.02**2))
    honest = loop(graph, pose, 0, pose[-1].numpy() + [0.1, -0.1, 0.0], (0.1**2, 0.02**2))

    def moved(graph: PoseGraph) -> float:
        return float((pose_graph.optimise(CONFIG, graph, pose) - pose)[-1].abs().max())

    assert moved(lying) < 0.1 * moved(honest)


def hundred_metres(short: list[float]) -> tuple[PoseGraph, torch.Tensor]:
    """A straight way of 200 embeddings; from the last ones on it a loop each, by which odometry says so many metres too much."""
    motion = torch.tensor([0.5, 0.0, 0.0], dtype=torch.float64)
    pose = motion * torch.arange(200)[:, None]
    graph = PoseGraph.empty(CONFIG, len(pose), "cpu")
    for number in range(len(pose)):
        if number:
            graph = pose_graph.propagate(CONFIG, graph, motion)
        graph = pose_graph.add_child(CONFIG, graph, torch.tensor(number))
        index = number - len(pose) + len(short)
        if index >= 0:
            seen = geometry.between(pose[index].numpy(), pose[number].numpy()) - [short[index], 0.0, 0.0]
            graph = loop(graph, pose, index, seen, (0.02**2, 0.005**2))
    return graph, pose


def length(graph: PoseGraph, pose: torch.Tensor) -> float:
    """Of the way once all agree."""
    for _ in range(15):
        pose = pose_graph.optimise(CONFIG, graph, pose)
        graph = pose_graph.narrow(CONFIG, graph)
    return float(pose[-1, 0] - pose[0, 0])


def test_loops_that_agree_pull_a_long_way() -> None:
    """A metre: fifty times what they are sure to."""
    graph, pose = hundred_metres([1.02, 0.99, 1.0])
    assert length(graph, pose) == pytest.approx(float(pose[-1, 0]) - 1.0, abs=0.05)


def test_a_loop_far_off_has_no_say_alone_nor_against_others() -> None:
    whole = float(hundred_metres([])[1][-1, 0])
    for short in ([1.0], [1.0, -1.5], [1.0, 0.01, 0.0, -0.01]):
        assert length(*hundred_metres(short)) == pytest.approx(whole, abs=0.05), short


def test_optimising_changes_nothing_where_nothing_contradicts():
    motion = np.random.default_rng(0).uniform([0.1, -0.1, -0.5], [0.5, 0.1, 0.5], (20, 3))
    graph, pose = chain(CONFIG, motion)
    graph = loop(graph, pose, 3, geometry.between(pose[3], pose[-1]), (0.05**2, 0.01**2))
    torch.testing.assert_close(pose_graph.optimise(CONFIG, graph, pose), pose, atol=1e-5, rtol=0)


def loops(graph: PoseGraph) -> list[tuple[int, int]]:
    """The embeddings that the ring relates."""
    n = pose_graph.num_embeddings(CONFIG, graph)
    there = graph.tail[n:] != NONE
    return list(zip(graph.tail[n:][there].tolist(), graph.head[n:][there].tolist(), strict=True))


def test_a_place_that_is_seen_again_and_again_pushes_no_other_out_of_the_ring():
    graph, pose = chain(CONFIG, straight(8))
    rng = np.random.default_rng(0)
    graph = loop(graph, pose, 1, geometry.between(pose[1], pose[-1]), (0.05**2, 0.01**2))
    true = geometry.between(pose[3], pose[-1])
    for _ in range(5 * CONFIG.loops_per_embedding * 8):
        seen = true + rng.normal(0.0, [0.05, 0.05, 0.01])
        graph = loop(graph, pose, 3, seen, (0.05**2, 0.01**2))
    assert sorted(loops(graph)) == [(7, 1), (7, 3)]
    of_pair = 8 + loops(graph).index((7, 3))
    off = graph.tail_T_head[of_pair].numpy() - geometry.inverse(true)
    np.testing.assert_array_less(np.abs(off), [0.03, 0.03, 0.006])
    most = np.array([CONFIG.loop_position_std, CONFIG.loop_yaw_std]) ** -2
    np.testing.assert_allclose(graph.information[of_pair], most)


def test_a_loop_that_contradicts_another_one_of_the_same_places_does_not_spoil_it():
    graph, pose = chain(CONFIG, straight(8))
    true = geometry.between(pose[3], pose[-1])
    graph = loop(graph, pose, 3, true, (0.05**2, 0.01**2))
    graph = loop(graph, pose, 3, true + [1.0, 0.0, 0.0], (0.05**2, 0.01**2))
    assert loops(graph) == [(7, 3), (7, 3)]
    torch.testing.assert_close(graph.tail_T_head[8], torch.from_numpy(geometry.inverse(true)))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_merging_keeps_every_relation_true_and_the_graph_in_one_piece(seed: int):
    rng = np.random.default_rng(seed)
    n = 12
    graph, pose = chain(CONFIG, rng.uniform([0.1, -0.1, -0.9], [0.5, 0.1, 0.9], (n - 1, 3)))
    for place in rng.integers(0, n - 1, 3):
        graph = loop(graph, pose, place, geometry.between(pose[place], pose[-1]), (0.01, 0.01))
    alive = list(range(n))
    for _ in range(n - 2):
        gone, kept = (int(i) for i in rng.choice(alive, 2, replace=False))
        kept_T_gone = se2.between(pose[kept], pose[gone])
        graph = pose_graph.absorb(CONFIG, graph, torch.tensor(gone), torch.tensor(kept), kept_T_gone)
        alive.remove(gone)

        there = graph.tail != NONE
        tail, head = graph.tail[there], graph.head[there]
        error = relation_error(pose[tail], pose[head], graph.tail_T_head[there])
        assert error.abs().max() < 1e-9
        assert {*tail.tolist(), *head.tolist()} <= set(alive)
        torch.testing.assert_close(pose_graph.robot(graph, pose), pose[n - 1], atol=1e-9, rtol=0)
        up = graph.tail[:n].tolist()
        (root,) = (i for i in alive if up[i] == NONE)
        assert pose_graph.root(CONFIG, graph).item() == root
        for i in alive:
            for _ in range(n):
                i = up[i] if i != root else root
            assert i == root, "the tree has come apart"


def test_drift_grows_with_the_way_driven_since_a_place_was_seen():
    graph, pose = chain(CONFIG, straight(40))
    variance = drift_of(CONFIG, graph, pose, *range(39, -1, -3))
    assert (variance.diff(dim=0) > 0).all()
    torch.testing.assert_close(variance[0], torch.zeros(2, dtype=torch.float64))  # where the robot stands
    assert variance[-1, 0] > 10 * variance[1, 0]


def test_drift_of_a_chain_is_the_sum_of_its_variances():
    graph, pose = chain(BARE, straight(25))
    places = [0, 5, 12, 20]
    variance = drift_of(BARE, graph, pose, *places)
    metres = torch.tensor([0.5 * (24 - place) for place in places], dtype=torch.float64)
    expected = BARE.position_variance_per_metre * metres
    torch.testing.assert_close(variance[:, 0], expected, rtol=0.03, atol=0)


def test_drift_goes_on_where_the_robot_drives_on():
    graph, pose = chain(BARE, straight(10))
    before = drift_of(BARE, graph, pose, 4)[0, 0]
    graph = pose_graph.propagate(BARE, graph, torch.tensor([3.0, 0.0, 0.0], dtype=torch.float64))
    after = drift_of(BARE, graph, pose, 4)[0, 0]
    assert float(after - before) == pytest.approx(3.0 * BARE.position_variance_per_metre, rel=0.01)


def test_drift_of_the_heading_moves_what_is_far_off_sideways():
    config = PoseGraphConfig(
        position_damping=1.0, yaw_damping=0.1, min_position_variance=1e-9, min_yaw_variance=1e-9,
        position_variance_per_metre=1e-6, yaw_variance_per_metre=0.01**2,
    )  # fmt: skip
    graph, pose = chain(config, straight(41, 0.25))  # 10 m
    position, yaw = drift_of(config, graph, pose, 0)[0].tolist()
    assert yaw == pytest.approx(10.0 * 0.01**2, rel=0.03)
    # A random walk of the heading along a straight line ends off it by its variance times a third of length squared.
    rng = np.random.default_rng(0)
    yaws = np.cumsum(rng.normal(0.0, 0.01 * math.sqrt(0.25), (4000, 40)), axis=1)
    sideways = np.sin(np.c_[np.zeros(4000), yaws[:, :-1]]).sum(1) * 0.25
    assert position == pytest.approx(float(np.var(sideways)), rel=0.1)


def test_a_loop_makes_the_drift_small():
    graph, pose = chain(CONFIG, straight(40))
    open_chain = drift_of(CONFIG, graph, pose, 0, 20)
    measured = (0.03**2, 0.005**2)
    closed = loop(graph, pose, 0, geometry.between(pose[0], pose[-1]), measured)
    variance = drift_of(CONFIG, closed, pose, 0, 20)
    assert (variance < open_chain).all()
    assert variance[0, 1] < 1.1 * measured[1]
    # Of the two ways to the middle each is half as long as the whole.
    assert variance[1, 1] < 0.7 * open_chain[1, 1]


def test_a_loop_that_contradicts_everything_says_nothing_of_the_drift():
    graph, pose = chain(CONFIG, straight(40))
    lying = loop(graph, pose, 0, np.array([0.0, 0.0, 2.0]), (0.03**2, 0.005**2))
    torch.testing.assert_close(
        drift_of(CONFIG, lying, pose, 0), drift_of(CONFIG, graph, pose, 0), rtol=0.02, atol=0
    )


def test_what_was_driven_before_a_place_was_seen_says_nothing_of_its_drift():
    graph, pose = chain(BARE, straight(30))
    late = drift_of(BARE, graph, pose, 28)[0, 0]
    short, its_pose = chain(BARE, straight(3))
    assert float(late) == pytest.approx(float(drift_of(BARE, short, its_pose, 1)[0, 0]), rel=0.02)


poses = st.tuples(st.floats(-50, 50), st.floats(-50, 50), st.floats(-7, 7)).map(np.array)


@given(poses, poses)
def test_tensors_compose_as_arrays_do(a: np.ndarray, b: np.ndarray):
    ta, tb = torch.from_numpy(a), torch.from_numpy(b)
    np.testing.assert_allclose(se2.compose(ta, tb), geometry.compose(a, b), atol=1e-9)
    np.testing.assert_allclose(se2.between(ta, tb)[:2], geometry.between(a, b)[:2], atol=1e-9)
    turn = geometry.wrap_angle(se2.between(ta, tb)[2].numpy() - geometry.between(a, b)[2])
    assert abs(turn) < 1e-9
    assert abs(geometry.wrap_angle(se2.inverse(ta)[2].numpy() - geometry.inverse(a)[2])) < 1e-9
    distance, angle = se2.apart(ta, tb)
    assert float(distance) == pytest.approx(np.hypot(*(b - a)[:2]))
    assert float(angle) == pytest.approx(abs(float(geometry.wrap_angle(b[2] - a[2]))), abs=1e-9)


@pytest.mark.parametrize("truth", [0.1, 1.0, 6.0])
def test_loops_teach_how_noisy_the_odometry_is(truth: float):
    """Innovations of an odometry whose variances are ``truth`` times the configured ones, a tenth of them false."""
    rng = np.random.default_rng(0)
    graph = PoseGraph.empty(CONFIG, 2, "cpu")
    configured = torch.tensor([0.3**2, 0.05**2], dtype=torch.float64)
    measured = torch.tensor([0.01**2, 0.002**2], dtype=torch.float64)
    learned = []
    for _ in range(600):
        deviation = (truth * configured + measured).sqrt().numpy()
        x, y, yaw = rng.normal(size=3) * deviation[[0, 0, 1]]
        innovation = torch.tensor([x**2 + y**2, yaw**2], dtype=torch.float64)
        if rng.random() < 0.1:
            innovation = innovation + 25.0
        graph = pose_graph.learn_noise(CONFIG, graph, innovation, graph.noise * configured, measured)
        learned.append(graph.noise.log())
    settled = torch.stack(learned[200:]).mean(0).exp()
    assert ((settled > 0.6 * truth) & (settled < 1.9 * truth)).all()


def test_loops_that_agree_with_the_first_one_say_nothing_of_the_odometry() -> None:
    graph = PoseGraph.empty(CONFIG, 2, "cpu")
    nothing = torch.zeros(2, dtype=torch.float64)
    little, measured = nothing + 0.01**2, nothing + 0.02**2
    after = pose_graph.learn_noise(CONFIG, graph, nothing, little, measured)
    torch.testing.assert_close(after.noise, graph.noise)
    assert (pose_graph.learn_noise(CONFIG, graph, nothing, 9.0 * measured, measured).noise < 1.0).all()


@pytest.mark.parametrize("truth", [0.05, 1.0, 4.0])
def test_what_is_seen_of_each_turn_teaches_how_well_the_odometrys_heading_does(truth: float):
    rng = np.random.default_rng(0)
    motion = torch.tensor([0.25, 0.0, 0.2], dtype=torch.float64)
    graph, _ = chain(CONFIG, straight(2))
    configured = pose_graph.propagate(CONFIG, graph, motion).variance[1]
    measured = torch.tensor(0.003**2, dtype=torch.float64)
    learned = []
    for number in range(400):
        moved = pose_graph.propagate(
            CONFIG, replace(graph, variance=torch.zeros_like(graph.variance)), motion
        )
        yaw = rng.normal(0.0, math.sqrt(truth * float(configured) + float(measured)))
        expected = moved.variance[1] * moved.noise[1]
        graph = pose_graph.learn_yaw_noise(
            CONFIG, moved, torch.tensor(yaw) ** 2, expected, measured, number + 1
        )
        learned.append(graph.noise.log())
    position, yaw_noise = torch.stack(learned[200:]).mean(0).exp()
    assert float(position) == pytest.approx(1.0)
    assert (
        0.5 * truth < yaw_noise < 1.9 * truth + 0.05
    )  # of little noise sight tells little more than that it is little
    if truth < 1.0:
        assert learned[20].exp()[1] < 0.4, "what is seen first counts for more"
