"""What a memory of local tokens holds."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from kinaema_ros.errors import InputError
from kinaema_ros.model.config import KinaemaConfig
from kinaema_ros.model.places import Places
from kinaema_ros.model.pose_graph import NONE, PoseGraph
from kinaema_ros.model.se2 import apart
from kinaema_ros.model.tokens import PackedTokens

LARGEST = 1e9  # of any number in a memory: metres, radians, their inverses and squares


@dataclass
class TokenMemory:
    """Immutable by convention: an update makes a new one, a query keeps the one it read.

    N embeddings, each anchored where the camera stood, and a window of the W newest views with all their tokens. The
    memory's frame has its origin at the first view.
    """

    tokens: PackedTokens  # (N, M) of the embeddings, the best first
    pose: Tensor  # (N, 3) float64, of the camera at that place, memory frame
    height: Tensor  # (N,) metres, of the camera above the robot's base
    count: Tensor  # (N,) views folded into the embedding, 0: free
    written: Tensor  # (N,) int64, number of the update that last wrote it
    window: PackedTokens  # (W, C) of the newest views
    window_slot: Tensor  # (W,) int64, the embedding of each of them, NONE: no view
    tilt: Tensor  # (3,) roll, pitch (radians) and height (metres) of the last view's camera against the mount
    robot: Tensor  # (3,) float64, the robot's camera in the memory frame at the last update
    odometry: Tensor  # (3,) float64, the same instant in the odom frame
    updates: Tensor  # () int64
    graph: PoseGraph  # how the embeddings' poses relate
    places: Places  # those that have names

    @staticmethod
    def empty(config: KinaemaConfig, device: torch.device | str = "cpu") -> TokenMemory:
        """A memory that has seen nothing: every embedding is free."""
        n, size, sizes = config.num_embeddings, config.window.size, config.tokens

        def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=device)

        return TokenMemory(
            tokens=PackedTokens.empty(n, sizes.tokens, sizes.dim, device),
            pose=zeros(n, 3, dtype=torch.float64),
            height=zeros(n),
            count=zeros(n),
            written=zeros(n, dtype=torch.int64),
            window=PackedTokens.empty(size, sizes.view_tokens, sizes.dim, device),
            window_slot=torch.full((size,), NONE, dtype=torch.int64, device=device),
            tilt=zeros(3),
            robot=zeros(3, dtype=torch.float64),
            odometry=zeros(3, dtype=torch.float64),
            updates=zeros(dtype=torch.int64),
            graph=PoseGraph.empty(config.pose_graph, n, device),
            places=Places.empty(device),
        )

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name, such as "tokens.quality"."""
        parts: dict[str, Tensor] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                parts[field.name] = value
            else:
                parts |= {f"{field.name}.{name}": part for name, part in vars(value).items()}
        return parts

    @staticmethod
    def from_tensors(parts: dict[str, Tensor]) -> TokenMemory:
        """The reverse of ``tensors``."""
        groups = {"tokens": PackedTokens, "window": PackedTokens, "graph": PoseGraph, "places": Places}
        values = {name: value for name, value in parts.items() if "." not in name}
        nested = {
            group: kind(**{n.partition(".")[2]: v for n, v in parts.items() if n.startswith(f"{group}.")})
            for group, kind in groups.items()
        }
        return TokenMemory(**values, **nested)  # type: ignore[arg-type]

    def enlarged(self, empty: TokenMemory) -> TokenMemory:
        """This memory with the free embeddings that ``empty``, a memory of as many or more, has beyond it."""
        n = len(self.pose)

        def both(part: Tensor, more: Tensor) -> Tensor:
            return torch.cat([part, more[n:]])

        tokens = {name: both(part, getattr(empty.tokens, name)) for name, part in vars(self.tokens).items()}
        return replace(
            self,
            tokens=PackedTokens(**tokens),
            pose=both(self.pose, empty.pose),
            height=both(self.height, empty.height),
            count=both(self.count, empty.count),
            written=both(self.written, empty.written),
            graph=self.graph.enlarged(n, empty.graph, len(empty.pose)),
        )

    def check(self) -> None:
        """Raises InputError where a value is none that updates write: what is read from a file may say anything."""
        n, count = len(self.pose), 2**53
        ranges = {
            "count": (0, count),
            "updates": (0, count),
            "written": (0, int(self.updates)),
            "window_slot": (NONE, n - 1),
            "graph.tail": (NONE, n - 1),
            "graph.head": (0, n - 1),
            "graph.anchor": (NONE, n - 1),
            "graph.loops": (0, count),
            "graph.information": (0, LARGEST),
            "graph.slack": (1, LARGEST),
            "graph.variance": (0, LARGEST),
            "graph.noise": (1e-6, 1e6),
            "tokens.depth_std": (0, LARGEST),
            "window.depth_std": (0, LARGEST),
            "places.embedding": (NONE, n - 1),
            "places.confidence": (0, 1),
        }
        for name, tensor in self.tensors().items():
            least, most = ranges.get(name, (-LARGEST, LARGEST))
            values = tensor.double()  # a half's infinity is not above what overflows in it
            if not bool(((values >= least) & (values <= most)).all()):  # NaN is in no range
                raise InputError(f"the tensor {name!r} holds values outside of {least} to {most}")
        self.places.check()

    @property
    def viewpoints(self) -> Tensor:
        """(P, 3) of the camera at the places that the embeddings hold, memory frame."""
        return self.pose[self.count > 0]

    def nearest(self, pose: Tensor) -> Tensor:
        """The embedding () nearest to a pose (3,) in the memory's frame; a radian counts as a metre."""
        distance, turn = apart(pose, self.pose)
        return torch.where(self.count > 0, distance + turn, torch.inf).argmin()

    @property
    def num_bytes(self) -> int:
        """Size of all tensors."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors().values())

    @property
    def viewed(self) -> Tensor:
        """The places (J,) of the window that hold a view."""
        return (self.window_slot != NONE).nonzero()[:, 0]

    @property
    def closed(self) -> Tensor:
        """(N,) bool: embeddings that have left the window."""
        closed = self.count > 0
        closed[self.window_slot[self.viewed]] = False
        return closed
