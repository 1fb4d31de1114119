"""The recurrent cell: N embeddings, corrected by an observation, contextualised, gated one by one.

After Kinaema (arXiv 2510.20261). What was found necessary in training enters inside its three steps: every embedding
is anchored at a pose, and its address (how well the observation fits it in content and pose) chooses the one
that is gated, so that an observation changes one embedding and leaves the rest alone. A place already known is
refined by a learned gate, a new one takes a free embedding, and where none is free the two most alike become one.
The work of an update does not depend on how many came before it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinaema_ros.model import pose_graph
from kinaema_ros.model.config import CellConfig, KinaemaConfig, PoseGraphConfig
from kinaema_ros.model.pose_graph import LoopClosure, PoseGraph
from kinaema_ros.model.rows import pick, put
from kinaema_ros.model.se2 import between, compose, difference

NEVER = -1e9  # address of an embedding that holds nothing


@dataclass
class MemoryState:
    """The latent memory. Immutable by convention: an update makes a new one, a query keeps the one it read.

    B memories side by side, N embeddings each. The memory's frame has its origin at the first observation.
    """

    key: Tensor  # (B, N, Dk) unit length: what the place looks like, for recognition
    content: Tensor  # (B, N, Dc) for relative pose
    pose: Tensor  # (B, N, 3) float64, of the robot at that place, memory frame
    count: Tensor  # (B, N) observations folded into the embedding, 0: free
    written: Tensor  # (B, N) int64, number of the update that last wrote it
    nearest_embedding: Tensor  # (B, N) int64, the embedding most like this one
    likeness: Tensor  # (B, N) address between the two
    robot: Tensor  # (B, 3) float64, the robot in the memory frame at the last update
    odometry: Tensor  # (B, 3) float64, the same instant in the odom frame
    updates: Tensor  # (B,) int64
    graph: PoseGraph  # how the embeddings' poses relate

    @staticmethod
    def empty(config: KinaemaConfig, batch: int = 1, device: torch.device | str = "cpu") -> MemoryState:
        """A memory that has seen nothing: every embedding is free."""
        n = config.num_embeddings
        pose = torch.zeros(batch, n, 3, dtype=torch.float64, device=device)
        index = torch.zeros(batch, n, dtype=torch.int64, device=device)
        scalar = torch.zeros(batch, n, device=device)
        return MemoryState(
            key=torch.zeros(batch, n, config.key_dim, device=device),
            content=torch.zeros(batch, n, config.content_dim, device=device),
            pose=pose,
            count=scalar,
            written=index,
            nearest_embedding=index.clone(),
            likeness=torch.full_like(scalar, NEVER),
            robot=pose[:, 0].clone(),
            odometry=pose[:, 0].clone(),
            updates=index[:, 0].clone(),
            graph=PoseGraph.empty(config.pose_graph, n, batch, device),
        )

    def tensors(self) -> dict[str, Tensor]:
        """Everything that the memory consists of, by name."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "graph"}
        return own | {f"graph.{f.name}": getattr(self.graph, f.name) for f in fields(self.graph)}

    @staticmethod
    def from_tensors(tensors: dict[str, Tensor]) -> MemoryState:
        """The inverse of ``tensors``; ``KeyError`` or ``TypeError`` if the names do not fit."""
        graph = {n.removeprefix("graph."): t for n, t in tensors.items() if n.startswith("graph.")}
        own = {n: t for n, t in tensors.items() if not n.startswith("graph.")}
        return MemoryState(**own, graph=PoseGraph(**graph))

    @property
    def num_bytes(self) -> int:
        """Size of the state, all B memories."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors().values())


def squared_distance(a: Tensor, b: Tensor) -> Tensor:
    """|difference of (x, y, 2 cos yaw, 2 sin yaw)|^2 of poses (..., 3); 1 m weighs as much as 29 degrees."""
    x, y, yaw = (a - b).unbind(-1)
    return x * x + y * y + 8.0 * (1.0 - torch.cos(yaw))


class MemoryCell(nn.Module):
    """One step of the recurrence."""

    def __init__(self, config: KinaemaConfig):
        super().__init__()
        self.config = config
        self.gate = nn.Linear(2 * config.content_dim + 1, 1)
        nn.init.zeros_(self.gate.weight)  # starts as a running mean
        nn.init.zeros_(self.gate.bias)
        self.context = Contextualiser(config) if config.cell.context_layers else None

    def forward(
        self,
        state: MemoryState,
        key: Tensor,
        content: Tensor,
        odometry: Tensor,
        loop_closure: LoopClosure | None = None,
    ) -> MemoryState:
        """One observation for each of B memories.

        key (B, Dk) and content (B, Dc) come from the descriptor, odometry (B, 3) is float64 in the odom frame,
        of which only the motion since the last update is used; ``loop_closure`` is an old place recognised in the
        same view.
        """
        state = follow(self.config, state, odometry)
        address = self.address(state, key, state.robot)  # (B, N)
        state, slot, fold = allocate(self.config.cell, state, address)

        known, known_key = pick(state.content, slot), pick(state.key, slot)
        count = pick(state.count, slot).clamp(1.0, self.config.cell.count_cap)
        hint = self.gate(torch.cat([content, known, count.log()[:, None]], dim=-1))
        gate = torch.where(fold[:, None], torch.sigmoid(hint - count.log()[:, None]), 1.0)  # (B, 1)
        new_content = known + gate * (content - known)
        new_key = F.normalize(known_key + gate * (key - known_key), dim=-1)
        if self.context is not None:
            new_content = new_content + self.context(state, address, new_content)
        state = write(self.config.pose_graph, state, slot, fold, new_key, new_content, gate.detach())
        if loop_closure is not None:
            state = replace(state, graph=pose_graph.add_loop(state.graph, loop_closure, ~fold))
        return self.find_nearest_embeddings(state, slot)

    def address(self, state: MemoryState, key: Tensor, pose: Tensor) -> Tensor:
        """How well a view with ``key`` (B, Dk) from ``pose`` (B, 3) fits each embedding, (B, N), at most 1."""
        if self.config.cell.address == "time":
            return torch.where(state.count > 0, (state.written - state.updates[:, None]).float(), NEVER)
        similarity = torch.einsum("bnk,bk->bn", state.key, key)
        distance = squared_distance(state.pose, pose[:, None]).to(similarity.dtype)
        return torch.where(state.count > 0, similarity - self.config.cell.pose_weight * distance, NEVER)

    @torch.no_grad()
    def find_nearest_embeddings(self, state: MemoryState, slot: Tensor) -> MemoryState:
        """Keep account of which embeddings are most alike, after ``slot`` (B,) was written."""
        here = F.one_hot(slot, state.count.shape[1]).bool()
        address = self.address(state, pick(state.key, slot), pick(state.pose, slot))
        likeness = torch.where(here, NEVER, address)
        closest, nearest_embedding = likeness.max(dim=1)
        nearer = likeness > state.likeness
        return replace(
            state,
            nearest_embedding=torch.where(
                here, nearest_embedding[:, None], torch.where(nearer, slot[:, None], state.nearest_embedding)
            ),
            likeness=torch.where(here, closest[:, None], torch.maximum(likeness, state.likeness)),
        )


def follow(config: KinaemaConfig, state: MemoryState, odometry: Tensor) -> MemoryState:
    """Move the robot by the odometry's motion since the last update; nothing moves at the first one."""
    first = (state.updates == 0)[:, None]
    motion = torch.where(first, 0.0, between(state.odometry, odometry))
    return replace(
        state,
        robot=compose(state.robot, motion),
        odometry=odometry,
        updates=state.updates + 1,
        graph=pose_graph.propagate(config.pose_graph, state.graph, motion),
    )


def settle(config: PoseGraphConfig, state: MemoryState) -> MemoryState:
    """Move all embeddings to where their relations agree, and the robot with the one it stands by."""
    pose = pose_graph.optimise(config, state.graph, state.pose)
    return replace(state, pose=pose, robot=pose_graph.robot(state.graph, pose))


def allocate(config: CellConfig, state: MemoryState, address: Tensor) -> tuple[MemoryState, Tensor, Tensor]:
    """Choose the embedding to write: (state, index (B,), whether it already holds this place (B,)).

    Where the memory is full and the place is new, the two most alike embeddings are merged to free one.
    """
    best, nearest = address.max(dim=1)
    stride = torch.linalg.vector_norm(state.graph.anchor_T_robot[:, :2], dim=-1)
    fold = (best > config.write_threshold) & (stride < config.max_stride)
    free = state.count == 0
    full = ~free.any(dim=1) & ~fold
    state, freed = merge(state, full)
    slot = torch.where(fold, nearest, torch.where(full, freed, free.float().argmax(dim=1)))
    return state, slot, fold


def merge(state: MemoryState, where: Tensor) -> tuple[MemoryState, Tensor]:
    """In the memories chosen by ``where`` (B,), fold one of the two most alike embeddings into the other.

    Returns the index of the embedding that became free. The survivor is the mean, weighted by counts.
    """
    gone = state.likeness.argmax(dim=1)
    kept = pick(state.nearest_embedding, gone)
    count, of_gone = pick(state.count, kept), pick(state.count, gone)
    joins = torch.where(where, of_gone, 0.0)  # observations that change over; without any, all stays as it is
    weight = (joins / (count + joins).clamp_min(1.0))[:, None]
    old, other = pick(state.pose, kept), pick(state.pose, gone)
    pose = old + weight * difference(other, old)
    content = pick(state.content, kept).lerp(pick(state.content, gone), weight)
    key = F.normalize(pick(state.key, kept).lerp(pick(state.key, gone), weight), dim=-1)
    graph = pose_graph.absorb(state.graph, gone, kept, between(old, other), where)
    index = torch.arange(state.count.shape[1], device=where.device)
    merged = ((index == gone[:, None]) | (index == kept[:, None])) & where[:, None]
    state = replace(
        state,
        key=put(state.key, kept, key),
        content=put(state.content, kept, content),
        pose=put(state.pose, kept, pose),
        count=put(put(state.count, kept, count + joins), gone, of_gone - joins),
        # Whatever was most like the one that goes is now most like the one that stays, except that one
        # itself, whose nearest_embedding is found at the next observation near it.
        nearest_embedding=torch.where(
            (state.nearest_embedding == gone[:, None]) & where[:, None],
            kept[:, None],
            state.nearest_embedding,
        ),
        likeness=torch.where(merged, NEVER, state.likeness),
        graph=pose_graph.move(graph, kept, between(old, pose), where),
    )
    return state, gone


def write(
    config: PoseGraphConfig,
    state: MemoryState,
    slot: Tensor,
    fold: Tensor,
    key: Tensor,
    content: Tensor,
    gate: Tensor,
) -> MemoryState:
    """Put key (B, Dk) and content (B, Dc) into embedding ``slot`` (B,); its pose moves towards the robot's by gate."""
    old = pick(state.pose, slot)
    pose = torch.where(fold[:, None], old + gate * difference(state.robot, old), state.robot)
    graph = pose_graph.move(state.graph, slot, between(old, pose), fold)
    return replace(
        state,
        key=put(state.key, slot, key),
        content=put(state.content, slot, content),
        pose=put(state.pose, slot, pose),
        count=put(state.count, slot, torch.where(fold, pick(state.count, slot) + 1.0, 1.0)),
        written=put(state.written, slot, state.updates),
        graph=pose_graph.add_child(config, graph, slot, ~fold),
    )


class Contextualiser(nn.Module):
    """Self-attention across the embeddings nearest to the observation; adds to what is about to be written.

    Its last layer starts at zero: an untrained memory is the memory without it.
    """

    def __init__(self, config: KinaemaConfig):
        super().__init__()
        self.size = config.cell.context_size
        self.place = nn.Linear(5, config.content_dim)
        layer = nn.TransformerEncoderLayer(
            config.content_dim, 4, 2 * config.content_dim, dropout=0.0, batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, config.cell.context_layers, enable_nested_tensor=False)
        self.out = nn.Linear(config.content_dim, config.content_dim)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, state: MemoryState, address: Tensor, proposal: Tensor) -> Tensor:
        """What the neighbours add to ``proposal`` (B, Dc), the content about to be written: (B, Dc)."""
        address, index = address.topk(min(self.size, address.shape[1]), dim=1)
        content = state.content.gather(1, index[..., None].expand(-1, -1, state.content.shape[-1]))
        pose = state.pose.gather(1, index[..., None].expand(-1, -1, 3))
        offset = between(state.robot[:, None], pose).to(content.dtype)
        address = address.clamp_min(-2.0)[..., None]
        place = torch.cat([offset[..., :2], offset[..., 2:].cos(), offset[..., 2:].sin(), address], dim=-1)
        tokens = torch.cat([proposal[:, None], content + self.place(place)], dim=1)
        empty = torch.cat(
            [torch.zeros_like(address[:, :1, 0]), torch.where(address[..., 0] <= -2.0, 1.0, 0.0)], dim=1
        )
        tokens = self.blocks(tokens, src_key_padding_mask=empty.bool())
        return self.out(tokens[:, 0])
