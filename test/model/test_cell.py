"""The recurrence: exact odometry leaves no contradiction however much is merged; loops take drift away."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from kinaema_ros import geometry
from kinaema_ros.model import pose_graph
from kinaema_ros.model.cell import MemoryCell, MemoryState, settle
from kinaema_ros.model.config import CellConfig, KinaemaConfig, PoseGraphConfig
from kinaema_ros.model.pose_graph import NONE, LoopClosure, PoseGraph, relation_error

CONFIG = KinaemaConfig(
    num_embeddings=12,
    key_dim=16,
    content_dim=8,
    head_dim=8,
    cell=CellConfig(context_size=4, write_threshold=0.8),
)


def wander(cell: MemoryCell, updates: int, seed: int) -> MemoryState:
    """A memory of a random walk within 6 m in which a view's key depends on where it is taken."""
    generator = torch.Generator().manual_seed(seed)
    spectrum = torch.randn(8, 4, generator=generator, dtype=torch.float64)
    state = MemoryState.empty(CONFIG)
    pose = torch.zeros(1, 3, dtype=torch.float64)
    with torch.inference_mode():
        for _ in range(updates):
            step = torch.rand(1, 3, generator=generator, dtype=torch.float64) * torch.tensor([0.3, 0.0, 0.8])
            pose = torch.from_numpy(geometry.compose(pose.numpy(), step.numpy()))
            inside = pose[:, :2].clamp(-3.0, 3.0)
            pose = torch.cat([inside, pose[:, 2:]], dim=1)
            place = torch.cat([pose[0, :2], 2 * pose[0, 2:].cos(), 2 * pose[0, 2:].sin()])
            phase = spectrum @ place
            key = F.normalize(torch.cat([phase.cos(), phase.sin()])[None].float(), dim=-1)
            state = cell(state, key, torch.randn(1, 8, generator=generator), pose)
    return state


def relations(state: MemoryState) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    graph = state.graph
    valid = graph.tail[0] != NONE
    return graph.tail[0, valid], graph.head[0, valid], graph.tail_T_head[0, valid]


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000))
def test_merging_keeps_every_relation_true_and_the_graph_in_one_piece(seed):
    state = wander(MemoryCell(CONFIG).eval(), 125, seed)
    assert (state.count > 0).all(), "the walk must fill the memory, or nothing was merged"
    tail, head, pose = relations(state)
    frame = pose_graph.frames(state.graph, state.pose)[0]
    error = relation_error(frame[tail], frame[head], pose)
    assert error.abs().max() < 1e-9
    torch.testing.assert_close(pose_graph.robot(state.graph, state.pose), state.robot, atol=1e-9, rtol=0)
    up = state.graph.tail[0, : CONFIG.num_embeddings].tolist()
    (root,) = (i for i, parent in enumerate(up) if parent == NONE)
    for i in range(len(up)):
        for _ in range(len(up)):
            i = up[i] if i != root else root
        assert i == root, "the tree has come apart"


def test_settling_changes_nothing_where_nothing_contradicts():
    state = wander(MemoryCell(CONFIG).eval(), 120, 3)
    settled = settle(CONFIG.pose_graph, state)
    torch.testing.assert_close(settled.pose, state.pose, atol=1e-5, rtol=0)
    torch.testing.assert_close(settled.robot, state.robot, atol=1e-5, rtol=0)


def test_every_observation_is_counted_once():
    state = wander(MemoryCell(CONFIG).eval(), 200, 5)
    assert float(state.count.sum()) == 200.0


@pytest.mark.parametrize("drift_deg", [0.05, 0.1])
def test_a_loop_takes_drift_away(drift_deg):
    """A square of 40 m whose odometry turns a little too far; its end is recognised as its start."""
    config, n = PoseGraphConfig(), 40
    true = [np.zeros(3)]
    for k in range(1, n):
        true.append(geometry.compose(true[-1], [1.0, 0.0, math.pi / 2 if k % 10 == 0 else 0.0]))
    poses = np.stack(true)
    motion = geometry.between(poses[:-1], poses[1:]) + np.array([0.0, 0.0, math.radians(drift_deg)])
    odometry = [np.zeros(3)]
    for step in motion:
        odometry.append(geometry.compose(odometry[-1], step))
    graph = PoseGraph.empty(config, n, 1, "cpu")
    yes = torch.tensor([True])
    for k in range(n):
        if k:
            graph = pose_graph.propagate(config, graph, torch.from_numpy(motion[k - 1])[None])
        graph = pose_graph.add_child(config, graph, torch.tensor([k]), yes)
    seen = torch.from_numpy(geometry.between(poses[0], poses[-1]))[None]
    variance = torch.tensor([[0.1**2, 0.02**2]], dtype=torch.float64)
    graph = pose_graph.add_loop(graph, LoopClosure(torch.tensor([0]), seen, variance, sure=yes), yes)
    pose = torch.from_numpy(np.stack(odometry))[None]
    for _ in range(60):
        pose = pose_graph.optimise(config, graph, pose)
    settled = pose[0].numpy()

    def error(estimate: np.ndarray) -> float:
        relative = geometry.between(estimate[0], estimate) - geometry.between(poses[0], poses)
        return float(np.linalg.norm(relative[:, :2], axis=1).max())

    assert error(settled) < 0.5 * error(np.stack(odometry))
