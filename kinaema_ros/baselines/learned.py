"""Learned baselines: a GRU and attention over the whole history, on the features of a frozen trunk.

They know the odometry since the start and answer in the frame of the start (training/train_baselines.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from kinaema_ros.baselines.baseline import Baseline, decode_pose, pose_code
from kinaema_ros.baselines.config import LearnedConfig
from kinaema_ros.baselines.decoder import PoseEstimate
from kinaema_ros.model.se2 import between

GRU_UNITS = 256
HEADS, LAYERS = 8, 2


@dataclass
class GruState:
    """What the recurrent unit keeps of B drives."""

    hidden: Tensor  # (B, H)
    first: Tensor  # (B, 3) float64, odometry at the first update
    robot: Tensor  # (B, 3) float64, start_T_robot
    updates: int


class Gru(Baseline):
    """A gated recurrent unit (Cho et al., arXiv 1406.1078) that reads descriptor and odometry."""

    name = "gru"

    def __init__(self, config: LearnedConfig):
        super().__init__(config)
        dim = config.content_dim
        self.gru = nn.GRU(config.key_dim + dim + 4, GRU_UNITS, batch_first=True)
        self.read = nn.Linear(GRU_UNITS, dim)
        self.head = nn.Sequential(
            nn.Linear(3 * dim, config.head_dim), nn.GELU(),
            nn.Linear(config.head_dim, config.head_dim), nn.GELU(),
            nn.Linear(config.head_dim, 7),
        )  # fmt: skip

    def start(self, batch: int, capacity: int) -> GruState:
        """A hidden state of zeros; ``capacity`` plays no part."""
        device = self.read.weight.device
        nowhere = torch.zeros(batch, 3, dtype=torch.float64, device=device)
        return GruState(torch.zeros(batch, GRU_UNITS, device=device), nowhere, nowhere, 0)

    def update(self, state: GruState, views: Tensor, odometry: Tensor) -> GruState:
        """One step of the recurrent unit."""
        return self.remember(state, views[:, None], odometry[:, None])

    def remember(self, state: GruState, views: Tensor, odometry: Tensor) -> GruState:
        """All T frames through the recurrent unit in one call. A drive's first frame is the origin of its start frame."""
        first = state.first if state.updates else odometry[:, 0]
        robot = between(first[:, None], odometry)
        key, content, _ = self.parts(views)
        _, hidden = self.gru(torch.cat([key, content, pose_code(robot)], dim=-1), state.hidden[None])
        return GruState(hidden[0], first, robot[:, -1], state.updates + odometry.shape[1])

    def estimate(self, state: GruState, views: Tensor) -> tuple[PoseEstimate, Tensor]:
        """Read start_T_query from the hidden state, as one hypothesis for each query."""
        _, _, probe = self.parts(views)
        memory = self.read(state.hidden)[:, None].expand_as(probe)
        return decode_pose(self.head(torch.cat([probe, memory, probe * memory], dim=-1))), state.robot

    def num_bytes(self, state: GruState) -> int:
        """Size of one drive's state; the same after every frame."""
        return sum(t[0].numel() * t.element_size() for t in (state.hidden, state.first, state.robot))


@dataclass
class History:
    """Keys and values of all observations, for each layer; room for all, of which ``count`` are there."""

    key: Tensor  # (B, layers, heads, T, D / heads)
    value: Tensor  # (B, layers, heads, T, D / heads)
    pose: Tensor  # (B, T, 3) float64, start_T_robot
    first: Tensor  # (B, 3) float64
    count: int


class AttentionLayer(nn.Module):
    """A query's token attends to all observations, then thinks."""

    def __init__(self, dim: int):
        super().__init__()
        self.to_query = nn.Linear(dim, dim)
        self.to_key_value = nn.Linear(dim, 2 * dim)
        self.out = nn.Linear(dim + 4 * HEADS, dim)
        self.norm = nn.LayerNorm(dim)
        self.think = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim)
        )

    def key_value(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values, (B, heads, T, D / heads) each, of tokens (B, T, D)."""
        key, value = self.to_key_value(tokens).chunk(2, dim=-1)
        return self._split(key), self._split(value)

    def forward(self, x: Tensor, key: Tensor, value: Tensor, pose: Tensor) -> tuple[Tensor, Tensor]:
        """From x (B, Q, D), pose (B, T, 4): the new x and the poses that the heads read (B, Q, 4 heads)."""
        query = self._split(self.to_query(self.norm(x)))
        weight = torch.softmax(query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1]), dim=-1)
        read, places = (t.transpose(1, 2).flatten(2) for t in (weight @ value, weight @ pose[:, None]))
        x = x + self.out(torch.cat([read, places], dim=-1))
        return x + self.think(x), places

    @staticmethod
    def _split(x: Tensor) -> Tensor:
        return x.unflatten(-1, (HEADS, -1)).transpose(1, 2)


class HistoryAttention(Baseline):
    """Keeps every observation; a query attends to all of them (Vaswani et al., arXiv 1706.03762).

    Keys and values are computed once, when an observation comes.
    """

    name = "attention"

    def __init__(self, config: LearnedConfig):
        super().__init__(config)
        dim = config.content_dim
        self.observe = nn.Linear(config.key_dim + dim + 4, dim)
        self.ask = nn.Linear(config.key_dim + dim, dim)
        self.token_norm = nn.LayerNorm(dim)
        self.layers = nn.ModuleList(AttentionLayer(dim) for _ in range(LAYERS))
        self.head = nn.Sequential(
            nn.LayerNorm(dim + 4 * HEADS), nn.Linear(dim + 4 * HEADS, dim), nn.GELU(), nn.Linear(dim, 7)
        )
        self.point = nn.Linear(4 * HEADS, 4)  # the heads' mean poses, straight to the answer

    def start(self, batch: int, capacity: int) -> History:
        """Room for the keys and values of ``capacity`` frames."""
        device = self.ask.weight.device
        dim = self.config.content_dim // HEADS
        room = torch.zeros(batch, LAYERS, HEADS, capacity, dim, device=device)
        pose = torch.zeros(batch, capacity, 3, dtype=torch.float64, device=device)
        return History(room, room.clone(), pose, pose.new_zeros(batch, 3), 0)

    def update(self, state: History, views: Tensor, odometry: Tensor) -> History:
        """Write one frame into the room that ``state`` has for it, in place."""
        first = state.first if state.count else odometry.clone()
        pose = between(first, odometry)
        key, value = self._key_value(views[:, None], pose[:, None])
        state.key[:, :, :, state.count] = key[:, :, :, 0]
        state.value[:, :, :, state.count] = value[:, :, :, 0]
        state.pose[:, state.count] = pose
        return replace(state, first=first, count=state.count + 1)

    def remember(self, state: History, views: Tensor, odometry: Tensor) -> History:
        """Keys and values of all T frames at once, behind those that there are, with no room for more."""
        first = state.first if state.count else odometry[:, 0]
        pose = between(first[:, None], odometry)
        key, value = self._key_value(views, pose)
        return History(
            torch.cat([state.key[:, :, :, : state.count], key], dim=3),
            torch.cat([state.value[:, :, :, : state.count], value], dim=3),
            torch.cat([state.pose[:, : state.count], pose], dim=1),
            first,
            state.count + odometry.shape[1],
        )

    def estimate(self, state: History, views: Tensor) -> tuple[PoseEstimate, Tensor]:
        """Attend to all frames so far and read start_T_query, as one hypothesis for each query."""
        key, _, probe = self.parts(views)
        x = self.ask(torch.cat([key, probe], dim=-1))
        pose = state.pose[:, : state.count]
        code = pose_code(pose)
        for index, layer in enumerate(self.layers):
            keys, values = (t[:, index, :, : state.count] for t in (state.key, state.value))
            x, places = layer(x, keys, values, code)
        answer = self.head(torch.cat([x, places], dim=-1))
        answer = torch.cat([answer[..., :4] + self.point(places), answer[..., 4:]], dim=-1)
        return decode_pose(answer), pose[:, -1]

    def num_bytes(self, state: History) -> int:
        """Size of one drive's keys, values and poses; it grows with every frame."""
        frame = sum(t[0, :, :, 0].numel() * t.element_size() for t in (state.key, state.value))
        return state.count * (frame + state.pose[0, 0].numel() * state.pose.element_size())

    def _key_value(self, views: Tensor, pose: Tensor) -> tuple[Tensor, Tensor]:
        key, content, _ = self.parts(views)
        tokens = self.token_norm(self.observe(torch.cat([key, content, pose_code(pose)], dim=-1)))
        layers = (cast(AttentionLayer, layer) for layer in self.layers)
        keys, values = zip(*(layer.key_value(tokens) for layer in layers), strict=True)
        return torch.stack(keys, dim=1), torch.stack(values, dim=1)
