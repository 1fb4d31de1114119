"""Learned baselines: a GRU and attention over the whole history, on the features of a frozen trunk.

They are trained end to end (training/train_baselines.py), know the odometry since the start and answer in the frame of
the start. Their descriptor was trained with the memory of global features that came before the local tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from kinaema_ros.baselines.config import LearnedConfig
from kinaema_ros.baselines.decoder import MAX_SCALE, MIN_SCALE, Calibration, PoseEstimate
from kinaema_ros.baselines.encoder import Descriptor, Trunk
from kinaema_ros.model.checkpoint import HALF_PRECISION_FROM, CheckpointError, read_tensors, write_tensors
from kinaema_ros.model.se2 import between

FORMAT = "kinaema-baseline"
VERSION = 4
ROOM = 5.0  # metres that count as one in what the networks read and write
GRU_UNITS = 256
HEADS, LAYERS = 8, 2


def pose_code(pose: Tensor) -> Tensor:
    """(..., 3) -> (..., 4) of order one: x, y, cos yaw, sin yaw."""
    pose = pose.float()
    return torch.cat([pose[..., :2] / ROOM, pose[..., 2:].cos(), pose[..., 2:].sin()], dim=-1)


def decode_pose(x: Tensor) -> PoseEstimate:
    """The last layer's seven numbers (..., 7) as an estimate."""
    scale = torch.exp(x[..., 4:6].clamp(-4.0, 2.0)).clamp(MIN_SCALE, MAX_SCALE)
    return PoseEstimate(ROOM * x[..., 0:2], x[..., 2:4], scale, x[..., 6])


class Baseline(nn.Module):
    """What the two share. A subclass says what is kept of B drives and reads start_T_query from it."""

    name: str

    def __init__(self, config: LearnedConfig):
        super().__init__()
        self.config = config
        self.trunk = Trunk()
        self.descriptor = Descriptor(config)
        self.calibration = Calibration()

    def start(self, batch: int, capacity: int) -> Any:
        """Return the state of B drives of at most ``capacity`` frames before their first one."""
        raise NotImplementedError

    def update(self, state: Any, features: Tensor, odometry: Tensor) -> Any:
        """Return the state after one more frame: features (B, F), odometry (B, 3) float64."""
        raise NotImplementedError

    def estimate(self, state: Any, features: Tensor) -> tuple[PoseEstimate, Tensor]:
        """start_T_query for features (B, Q, F), and start_T_robot (B, 3)."""
        raise NotImplementedError

    def num_bytes(self, state: Any) -> int:
        """Size of one drive's state."""
        raise NotImplementedError

    def remember(self, features: Tensor, odometry: Tensor) -> Any:
        """The state after drives (B, T, F), (B, T, 3), differentiable; as that of T updates."""
        raise NotImplementedError


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

    def update(self, state: GruState, features: Tensor, odometry: Tensor) -> GruState:
        """One step of the recurrent unit. The first frame of a drive is the origin of its start frame."""
        first = state.first if state.updates else odometry
        robot = between(first, odometry)
        _, hidden = self.gru(self._observation(features, robot)[:, None], state.hidden[None])
        return GruState(hidden[0], first, robot, state.updates + 1)

    def remember(self, features: Tensor, odometry: Tensor) -> GruState:
        """All T frames through the recurrent unit in one call."""
        robot = between(odometry[:, :1], odometry)
        _, hidden = self.gru(self._observation(features, robot))
        return GruState(hidden[0], odometry[:, 0], robot[:, -1], odometry.shape[1])

    def estimate(self, state: GruState, features: Tensor) -> tuple[PoseEstimate, Tensor]:
        """Read start_T_query from the hidden state, as one hypothesis for each query."""
        _, _, probe = self.descriptor(features)
        memory = self.read(state.hidden)[:, None].expand_as(probe)
        return decode_pose(self.head(torch.cat([probe, memory, probe * memory], dim=-1))), state.robot

    def num_bytes(self, state: GruState) -> int:
        """Size of one drive's state; the same after every frame."""
        return sum(t[0].numel() * t.element_size() for t in (state.hidden, state.first, state.robot))

    def _observation(self, features: Tensor, robot: Tensor) -> Tensor:
        key, content, _ = self.descriptor(features)
        return torch.cat([math.sqrt(self.config.key_dim) * key, content, pose_code(robot)], dim=-1)


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
        return History(room, room.clone(), pose, pose[:, 0], 0)

    def update(self, state: History, features: Tensor, odometry: Tensor) -> History:
        """Write one frame into the room that ``state`` has for it, in place."""
        first = state.first if state.count else odometry.clone()
        pose = between(first, odometry)
        key, value = self._key_value(features[:, None], pose[:, None])
        state.key[:, :, :, state.count] = key[:, :, :, 0]
        state.value[:, :, :, state.count] = value[:, :, :, 0]
        state.pose[:, state.count] = pose
        return replace(state, first=first, count=state.count + 1)

    def remember(self, features: Tensor, odometry: Tensor) -> History:
        """Keys and values of all T frames at once, with no room for more."""
        pose = between(odometry[:, :1], odometry)
        key, value = self._key_value(features, pose)
        return History(key, value, pose, odometry[:, 0], odometry.shape[1])

    def estimate(self, state: History, features: Tensor) -> tuple[PoseEstimate, Tensor]:
        """Attend to all frames so far and read start_T_query, as one hypothesis for each query."""
        key, _, probe = self.descriptor(features)
        x = self.ask(torch.cat([math.sqrt(self.config.key_dim) * key, probe], dim=-1))
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

    def _key_value(self, features: Tensor, pose: Tensor) -> tuple[Tensor, Tensor]:
        key, content, _ = self.descriptor(features)
        tokens = torch.cat([math.sqrt(self.config.key_dim) * key, content, pose_code(pose)], dim=-1)
        tokens = self.token_norm(self.observe(tokens))
        layers = (cast(AttentionLayer, layer) for layer in self.layers)
        keys, values = zip(*(layer.key_value(tokens) for layer in layers), strict=True)
        return torch.stack(keys, dim=1), torch.stack(values, dim=1)


KINDS: dict[str, type[Baseline]] = {kind.name: kind for kind in (Gru, HistoryAttention)}


def save_baseline(path: Path, baseline: Baseline, training: dict[str, Any]) -> None:
    """Write weights, configuration and ``training``, a JSON-able summary of how they came about."""
    tensors = {
        name: tensor.half() if tensor.numel() >= HALF_PRECISION_FROM else tensor
        for name, tensor in baseline.state_dict().items()
    }
    metadata = {"format": FORMAT, "version": VERSION, "name": baseline.name, "training": training}
    write_tensors(path, tensors, {**metadata, "config": baseline.config.to_dict()})


def load_baseline(path: Path, name: str) -> Baseline:
    """In evaluation mode, on the CPU. Raises ``CheckpointError``."""
    tensors, metadata = read_tensors(path, FORMAT, VERSION)
    if metadata["name"] != name:
        raise CheckpointError(f"{path}: holds the baseline {metadata['name']}, not {name}")
    try:
        baseline = KINDS[name](LearnedConfig(**metadata["config"]))
        baseline.load_state_dict({key: tensor.float() for key, tensor in tensors.items()})
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path}: does not fit this version of the baseline ({error})") from error
    baseline.requires_grad_(False)
    return baseline.eval()
