"""The memory as the paper has it (Kinaema, arXiv 2510.20261): N embeddings without poses, all of it learned.

Each step the embeddings attend to the view's tokens (correction), to each other (a transformer block), and a gate mixes old
and new, embedding by embedding. A photo's tokens attend to the embeddings in a transformer decoder, and out comes a pose.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinaema_ros.baselines.baseline import ROOM, Baseline, decode_pose, pose_code
from kinaema_ros.baselines.config import LearnedConfig
from kinaema_ros.baselines.decoder import PoseEstimate
from kinaema_ros.model.se2 import between

STEP = 0.3  # metres that count as one in the motion between two views
WAVELENGTHS = (16.0, 8.0, 4.0, 2.0)  # metres, in which a place is told beside its coordinates
FIRST_GATES = (-4.0, 0.5)  # logits: of what a view changes at first; some numbers forget soon, others late


@dataclass
class PaperState:
    """What the memory keeps of B drives."""

    embeddings: Tensor  # (B, N, E)
    first: Tensor  # (B, 3) float64, odometry at the first update
    odometry: Tensor  # (B, 3) float64, at the last one
    updates: Tensor  # () int64

    @property
    def robot(self) -> Tensor:
        """start_T_robot, (B, 3)."""
        return between(self.first, self.odometry)


class Attention(nn.Module):
    """Multi-head attention whose keys and values may be computed beforehand."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.out = nn.Linear(dim, dim)

    def prepared(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (..., heads, K, D / heads) of tokens (..., K, D)."""
        key, value = self.key_value(tokens).chunk(2, dim=-1)
        return self._split(key), self._split(value)

    def forward(self, x: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """What x (..., X, D) reads, of the same shape."""
        query = self._split(
            self.query(x)
        )  # not scaled_dot_product_attention, whose backward is slow on a CPU
        weight = torch.softmax(query @ key.mT / math.sqrt(query.shape[-1]), dim=-1)
        return self.out((weight @ value).transpose(-2, -3).flatten(-2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(-2, -3)


def think(dim: int) -> nn.Sequential:
    """The second half of a transformer block."""
    return nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))


class PaperCell(nn.Module):
    """One step of the embeddings. What an embedding began with stays known to it: by that it is told from the others."""

    def __init__(self, embeddings: int, dim: int, heads: int):
        super().__init__()
        self.initial = nn.Parameter(torch.randn(embeddings, dim))
        self.nothing = nn.Parameter(
            torch.randn(1, dim)
        )  # a token beside the view's, for what does not concern one
        self.before_correction, self.before_mixing = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.correction, self.mixing = Attention(dim, heads), Attention(dim, heads)
        self.think = think(dim)
        self.gate = nn.Linear(2 * dim, dim)
        self.norm = nn.LayerNorm(dim)
        nn.init.uniform_(self.gate.bias, *FIRST_GATES)

    def prepared(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of views' tokens (..., J, E), as ``forward`` takes them."""
        nothing = self.nothing.expand(*tokens.shape[:-2], 1, -1)
        return self.correction.prepared(torch.cat([tokens, nothing.to(tokens.dtype)], dim=-2))

    def forward(self, embeddings: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """(B, N, E) and one view's keys and values to (B, N, E)."""
        x = embeddings + self.correction(self.before_correction(embeddings) + self.initial, key, value)
        others = self.before_mixing(x) + self.initial
        x = x + self.mixing(others, *self.mixing.prepared(others))
        x = x + self.think(x)
        gate = torch.sigmoid(self.gate(torch.cat([embeddings, x], dim=-1)))
        return embeddings + gate * (self.norm(x) - embeddings)


class DecoderLayer(nn.Module):
    """A photo's tokens attend to the embeddings, then to each other."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.before_reading, self.before_mixing = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.reading, self.mixing = Attention(dim, heads), Attention(dim, heads)
        self.think = think(dim)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """X (B, Q, J, E), memory (B, N, E); what is asked about one photo does not depend on the others."""
        asked = self.before_reading(x).flatten(1, 2)
        x = x + self.reading(asked, *self.reading.prepared(memory)).unflatten(1, x.shape[1:3])
        others = self.before_mixing(x)
        x = x + self.mixing(others, *self.mixing.prepared(others))
        return x + self.think(x)


class Paper(Baseline):
    """The paper's memory on a descriptor's views."""

    name = "paper"

    def __init__(self, config: LearnedConfig):
        super().__init__(config)
        sizes = config.paper
        dim, tokens = sizes.dim, sizes.view_tokens
        read = config.key_dim + config.content_dim
        self.cell = PaperCell(sizes.embeddings, dim, sizes.heads)
        self.see = nn.Linear(read, tokens * dim)
        self.move = nn.Linear(self._motion_dim, tokens * dim)
        self.seen = nn.LayerNorm(dim)
        self.ask = nn.Linear(read, tokens * dim)
        self.at = nn.Linear(4 + 4 * len(WAVELENGTHS), tokens * dim)
        self.memory = nn.LayerNorm(dim)
        self.layers = nn.ModuleList(DecoderLayer(dim, sizes.heads) for _ in range(sizes.decoder_layers))
        self.answered = nn.LayerNorm(dim)
        self.head = nn.Sequential(
            nn.Linear(3 * tokens * dim, config.head_dim), nn.GELU(), nn.Linear(config.head_dim, 7)
        )
        self.straight = nn.Linear(tokens * dim, 7)
        self.imagined = nn.Linear(tokens * dim, config.key_dim)
        last = cast(nn.Linear, self.head[-1])
        with torch.no_grad():  # at first everything is where the drive began
            last.weight.mul_(0.1)
            self.straight.weight.mul_(0.1)

    def start(self, batch: int, capacity: int) -> PaperState:
        """The learned initial values; ``capacity`` plays no part."""
        initial = self.cell.initial
        nowhere = torch.zeros(batch, 3, dtype=torch.float64, device=initial.device)
        updates = torch.zeros((), dtype=torch.int64, device=initial.device)
        return PaperState(initial.expand(batch, -1, -1), nowhere, nowhere, updates)

    def update(self, state: PaperState, views: Tensor, odometry: Tensor) -> PaperState:
        """Fold one view into the embeddings."""
        return self.remember(state, views[:, None], odometry[:, None])

    def remember(self, state: PaperState, views: Tensor, odometry: Tensor) -> PaperState:
        """Views one after the other, their tokens all at once."""
        begins = state.updates == 0
        first = torch.where(begins, odometry[:, 0], state.first)
        last = torch.where(begins, odometry[:, 0], state.odometry)
        before = torch.cat([last[:, None], odometry[:, :-1]], dim=1)
        tokens = self._tokens(views, between(before, odometry), between(first[:, None], odometry))
        embeddings = state.embeddings
        for key, value in zip(*(part.unbind(1) for part in self.cell.prepared(tokens)), strict=True):
            embeddings = self.cell(embeddings, key, value)
        return PaperState(embeddings, first, odometry[:, -1], state.updates + odometry.shape[1])

    def estimate(self, state: PaperState, views: Tensor) -> tuple[PoseEstimate, Tensor]:
        """Attend to the embeddings, as one hypothesis for each query; what is read also multiplies what is asked."""
        key, _, probe = self.parts(views)
        asked = self.ask(torch.cat([key, probe], dim=-1))
        read = self._read(state, asked)
        answer = decode_pose(self.head(torch.cat([asked, read, asked * read], dim=-1)) + self.straight(read))
        if self.config.paper.egocentric:
            answer = answer.moved(state.robot[:, None].float())
        return answer, state.robot

    def imagine(self, state: PaperState, start_T_view: Tensor) -> Tensor:
        """Keys (B, Q, Dk), of unit length, of the views from poses (B, Q, 3), which the memory may not have had."""
        pose = start_T_view
        if self.config.paper.egocentric:
            pose = between(state.robot[:, None], pose)
        return F.normalize(self.imagined(self._read(state, self.at(place_code(pose)))), dim=-1)

    def num_bytes(self, state: PaperState) -> int:
        """Size of one drive's state; the same after every frame."""
        return sum(t[0].numel() * t.element_size() for t in (state.embeddings, state.first, state.odometry))

    @property
    def _motion_dim(self) -> int:
        return 4 if self.config.paper.egocentric else 8 + 4 * len(WAVELENGTHS)

    def _tokens(self, views: Tensor, motion: Tensor, robot: Tensor) -> Tensor:
        """(B, T, J, E) of views (B, T, V), how the robot came there (B, T, 3), and where that is (B, T, 3)."""
        key, content, _ = self.parts(views)
        moved = pose_code(motion * motion.new_tensor([ROOM / STEP, ROOM / STEP, 1.0]))
        if not self.config.paper.egocentric:
            moved = torch.cat([moved, place_code(robot)], dim=-1)
        seen = self.see(torch.cat([key, content], dim=-1)) + self.move(moved)
        return self.seen(seen.unflatten(-1, (self.config.paper.view_tokens, -1)))

    def _read(self, state: PaperState, asked: Tensor) -> Tensor:
        """What tokens (B, Q, J E) read from the embeddings, of the same shape."""
        memory = self.memory(state.embeddings) + self.cell.initial
        x = asked.unflatten(-1, (self.config.paper.view_tokens, -1))
        for layer in self.layers:
            x = layer(x, memory)
        return self.answered(x).flatten(-2)


def place_code(pose: Tensor) -> Tensor:
    """(..., 3) -> (..., 4 + 4 W): the pose's code, and sine and cosine of the coordinates at W wavelengths."""
    waves = torch.tensor([2 * torch.pi / length for length in WAVELENGTHS], device=pose.device)
    phase = (pose[..., :2, None].float() * waves).flatten(-2)
    return torch.cat([pose_code(pose), phase.sin(), phase.cos()], dim=-1)
