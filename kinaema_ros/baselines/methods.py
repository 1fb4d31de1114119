"""What is compared: our memory and the baselines behind one interface, B drives at a time.

``start`` makes an empty memory, ``update`` folds one frame into it, ``query`` asks Q questions. A method may
reuse the state it was given; ask before the next update. Retrieval keeps every frame, as history attention
does; their states grow.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from kinaema_ros.model.cell import MemoryState
from kinaema_ros.model.estimates import Estimates
from kinaema_ros.model.network import Kinaema
from kinaema_ros.model.se2 import between


class Method(Protocol):
    """A way to remember. Features are the trunk's, odometry is float64 in the odom frame."""

    def start(self, batch: int, capacity: int) -> Any:
        """Empty memories of B drives of at most ``capacity`` frames."""

    def update(self, state: Any, features: Tensor, odometry: Tensor) -> Any:
        """Return the state after one more frame: features (B, FEATURE_DIM), odometry (B, 3)."""

    def query(self, state: Any, features: Tensor) -> Estimates:
        """Answer features (B, Q, FEATURE_DIM) with poses in the robot's frame at the last update."""

    def num_bytes(self, state: Any) -> int:
        """Size of what is remembered of one drive."""


class KinaemaMethod:
    """The shipped memory."""

    def __init__(self, network: Kinaema):
        self.network = network

    def start(self, batch: int, capacity: int) -> MemoryState:
        """Memories of N embeddings each; ``capacity`` plays no part."""
        return MemoryState.empty(self.network.config, batch, self.network.temperature.device)

    def update(self, state: MemoryState, features: Tensor, odometry: Tensor) -> MemoryState:
        """Fold one frame of each drive into its memory."""
        return self.network.update(state, features, odometry)

    def query(self, state: MemoryState, features: Tensor) -> Estimates:
        """Answer from the memories, as ``SpatialMemory.locate`` does."""
        return self.network.query(state, features)

    def num_bytes(self, state: MemoryState) -> int:
        """Size of one drive's memory; it does not grow."""
        return state.num_bytes // len(state.updates)


class OwnPose:
    """Answers that the query was taken where the robot stands."""

    def start(self, batch: int, capacity: int) -> None:
        """Nothing is kept."""
        return None

    def update(self, state: None, features: Tensor, odometry: Tensor) -> None:
        """Nothing is kept."""
        return None

    def query(self, state: None, features: Tensor) -> Estimates:
        """The robot's own pose for every query, seen with probability 0.5, without deviations."""
        nowhere = features.new_zeros(*features.shape[:2], 3)
        return Estimates(nowhere, None, nowhere[..., 0] + 0.5)

    def num_bytes(self, state: None) -> int:
        """Zero."""
        return 0


@dataclass
class Frames:
    """Everything that B drives saw; room for all frames, of which the first ``count`` are there."""

    key: Tensor  # (B, T, Dk)
    content: Tensor  # (B, T, Dc)
    pose: Tensor  # (B, T, 3) float64, odometry
    count: int = 0


class RetrievalPair:
    """Every frame is kept as an embedding of its own; the network's read-out answers from the best K of all."""

    def __init__(self, network: Kinaema):
        self.network = network

    def start(self, batch: int, capacity: int) -> Frames:
        """Room for the embeddings of ``capacity`` frames, or of K where that is more."""
        config, device = self.network.config, self.network.temperature.device
        room = max(capacity, config.num_hypotheses)
        key = torch.zeros(batch, room, config.key_dim, device=device)
        content = torch.zeros(batch, room, config.content_dim, device=device)
        return Frames(key, content, torch.zeros(batch, room, 3, dtype=torch.float64, device=device))

    def update(self, state: Frames, features: Tensor, odometry: Tensor) -> Frames:
        """Write key, content and odometry of one frame into the room that ``state`` has for it, in place."""
        state.key[:, state.count], state.content[:, state.count], _ = self.network.descriptor(features)
        state.pose[:, state.count] = odometry
        return replace(state, count=state.count + 1)

    def query(self, state: Frames, features: Tensor) -> Estimates:
        """Answer by the network's query over a memory that has one embedding for each frame."""
        config = self.network.config
        n = max(state.count, config.num_hypotheses)  # as many as a query wants hypotheses from
        nothing = MemoryState.empty(
            replace(config, num_embeddings=config.num_hypotheses),
            len(features),
            features.device,
        )
        kept = (torch.arange(n, device=features.device) < state.count).float()
        memory = replace(
            nothing,
            key=state.key[:, :n],
            content=state.content[:, :n],
            pose=state.pose[:, :n],
            count=kept.expand(len(features), n),
            robot=state.pose[:, state.count - 1],
        )
        return self.network.query(memory, features)

    def num_bytes(self, state: Frames) -> int:
        """Size of one drive's keys, contents and poses; it grows with every frame."""
        return state.count * sum(
            t[0, 0].numel() * t.element_size() for t in (state.key, state.content, state.pose)
        )


class Retrieval(RetrievalPair):
    """Answers with the pose of the stored frame whose key is most like the query's, of all frames."""

    def query(self, state: Frames, features: Tensor) -> Estimates:
        """The most similar frame's pose by odometry; `seen` is the cosine similarity mapped to [0, 1]."""
        key, _, _ = self.network.descriptor(features)
        similarity, index = torch.einsum("bqd,bnd->bqn", key, state.key[:, : state.count]).max(dim=-1)
        stored = state.pose.gather(1, index[..., None].expand(-1, -1, 3))
        robot = state.pose[:, None, state.count - 1]
        return Estimates(between(robot, stored), None, (1.0 + similarity) / 2.0)

    def num_bytes(self, state: Frames) -> int:
        """Size of one drive's keys and poses, which are all that is read; it grows with every frame."""
        return state.count * sum(t[0, 0].numel() * t.element_size() for t in (state.key, state.pose))
