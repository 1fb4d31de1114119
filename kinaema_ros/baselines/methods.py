"""What is compared: our memory and the baselines behind one interface.

``encoder`` makes an observation of an image, ``start`` an empty memory, ``update`` folds an observation into it, ``query``
asks where one was made. Ask before the next update: a method may reuse the state that it was given. Retrieval keeps
every frame, as history attention does; their states grow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor

from kinaema_ros.baselines.baseline import Baseline
from kinaema_ros.baselines.network import answer_of, seen_by
from kinaema_ros.camera import Intrinsics, Mount
from kinaema_ros.comparison import Comparison
from kinaema_ros.errors import InputError
from kinaema_ros.images import RGB
from kinaema_ros.model import pose_graph
from kinaema_ros.model.answer import Answer
from kinaema_ros.model.config import KinaemaConfig
from kinaema_ros.model.kind import Network
from kinaema_ros.model.localise import vote
from kinaema_ros.model.network import Kinaema
from kinaema_ros.model.se2 import between
from kinaema_ros.model.token_memory import TokenMemory
from kinaema_ros.model.tokens import Tokens

# Image (H, W, 3) of the robot's camera, that camera, and where it is: None for at the base, level
Encoder = Callable[[RGB, Intrinsics, "Mount | None"], Any]


class Method(Protocol):
    """A way to remember one drive. Odometry is float64 (3,) in the odom frame."""

    @property
    def encoder(self) -> Encoder:
        """What its observations are made by; methods may share one."""

    def start(self, capacity: int) -> Any:
        """Return an empty memory for at most ``capacity`` frames."""

    def update(self, state: Any, observation: Any, odometry: Tensor) -> Any:
        """Return the state after one more frame."""

    def query(self, state: Any, observation: Any, same_camera: bool) -> Answer:
        """Where an observation was made, by the robot's own camera or by another one."""

    def num_bytes(self, state: Any) -> int:
        """Size of what is remembered."""


class NetworkEncoder:
    """An image as a network's own view. Methods that share an encoder share what it makes of an image."""

    def __init__(self, network: Network):
        self.network = network

    def __call__(self, rgb: RGB, camera: Intrinsics, mount: Mount | None) -> Any:
        """Of local tokens: (C,)."""
        return self.network.view(torch.from_numpy(rgb).to(self.device), camera, mount)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.network.device


class NetworkMethod:
    """A network's memory: the shipped kind, or the paper's."""

    def __init__(self, network: Network, encoder: NetworkEncoder):
        self.network, self.encoder = network, encoder

    def start(self, capacity: int) -> Any:
        """An empty memory; ``capacity`` plays no part."""
        return self.network.empty()

    def update(self, state: Any, observation: Any, odometry: Tensor) -> Any:
        """Fold one frame into the memory."""
        return self.network.update(state, observation, odometry.to(self.encoder.device))

    def query(self, state: Any, observation: Any, same_camera: bool) -> Answer:
        """The best of the answers, as ``SpatialMemory.locate`` gives it."""
        return self.network.locate(state, observation, 0.0 if same_camera else None)[0]

    def answers(self, state: Any, photo: Any) -> list[Answer]:
        """All distinct places of a photo by the robot's own camera, the likeliest first."""
        return self.network.locate(state, photo, 0.0)

    def compare(self, state: Any, view: Any, odometry: Tensor, photo: Any) -> Comparison:
        """Whether ``view``, from where the robot is, shows the place of a photo by its own camera."""
        return self.network.compare(state, view, odometry.to(self.encoder.device), 0.0, photo, 0.0)

    def num_bytes(self, state: Any) -> int:
        """Size of the memory; it does not grow."""
        return state.num_bytes


class KinaemaMethod(NetworkMethod):
    """A memory of local tokens. ``InputError`` for a network of another kind."""

    def __init__(self, network: Network, encoder: NetworkEncoder):
        if not isinstance(network, Kinaema):
            raise InputError(
                "retrieval and no_memory see by local tokens, which this checkpoint does not have: leave them out, or give "
                "one that does, such as models/kinaema.safetensors"
            )
        super().__init__(network, encoder)
        self.network: Kinaema


class RetrievalPair(KinaemaMethod):
    """Every frame is kept with all its tokens; a photo is matched against them as against embeddings.

    Poses are the odometry's: nothing corrects its drift.
    """

    def start(self, capacity: int) -> TokenMemory:
        """Room for ``capacity`` frames."""
        self.network = self.network.with_config(keeps_all(self.network.config, capacity))
        return self.network.empty()

    def num_bytes(self, state: TokenMemory) -> int:
        """Size of the frames' tokens and poses; it grows with every frame."""
        frame = sum(
            part[0].numel() * part.element_size() for part in (*vars(state.tokens).values(), state.pose)
        )
        return int((state.count > 0).sum()) * frame


class Retrieval(RetrievalPair):
    """Answers with the pose of the stored frame that most of the photo's tokens vote for."""

    def query(self, state: TokenMemory, observation: Tokens, same_camera: bool) -> Answer:
        """``seen`` is the mean vote of the photo's tokens."""
        used = (state.count > 0).nonzero()[:, 0]
        limits = self.network.config.search
        votes = vote(limits, observation, state.tokens.unpack_descriptors(used, limits.vote_stored))
        best = used[votes.argmax()]
        asked = int(observation.known[: limits.vote_tokens].sum())
        likeness = float(votes.max()) / max(asked, 1) / (1.0 - limits.vote_similarity)
        return Answer(between(state.robot, state.pose[best]), None, likeness, likeness)


class LastViews(KinaemaMethod):
    """Remembers the newest few views only: what a robot can recognise that looks for a place."""

    def start(self, capacity: int) -> TokenMemory:
        """Room for the window; ``capacity`` plays no part."""
        config = self.network.config
        few = replace(by_odometry_alone(config), num_embeddings=config.window.size + 1)
        self.network = self.network.with_config(few)
        return self.network.empty()

    def update(self, state: TokenMemory, observation: Tokens, odometry: Tensor) -> TokenMemory:
        """Look at one more view; the one that leaves the window is forgotten."""
        state = super().update(state, observation, odometry)
        left = state.closed.nonzero()[:, 0]
        if not len(left):
            return state
        slots = state.window_slot[state.viewed]
        oldest = slots[state.written[slots].argmin()]
        oldest_T_left = between(state.pose[oldest], state.pose[left[0]])
        config = self.network.config.pose_graph
        graph = pose_graph.absorb(config, state.graph, left[0], oldest, oldest_T_left)
        return replace(state, count=state.count.index_fill(0, left, 0.0), graph=graph)


class OwnPose:
    """Answers that the photo was taken where the robot stands."""

    def __init__(self, encoder: Encoder):
        self.encoder = encoder

    def start(self, capacity: int) -> None:
        """Nothing is kept."""
        return None

    def update(self, state: None, observation: Any, odometry: Tensor) -> None:
        """Nothing is kept."""
        return None

    def query(self, state: None, observation: Any, same_camera: bool) -> Answer:
        """The robot's own pose, seen with probability 0.5, without deviations."""
        return Answer(torch.zeros(3, dtype=torch.float64), None, 0.5, 0.5)

    def num_bytes(self, state: None) -> int:
        """Zero."""
        return 0


class LearnedEncoder:
    """An image as a learned baseline's view."""

    def __init__(self, baseline: Baseline):
        self.baseline = baseline

    def __call__(self, rgb: RGB, camera: Intrinsics, mount: Mount | None) -> Tensor:
        """(V,)."""
        return seen_by(self.baseline, torch.from_numpy(rgb), camera, mount)


class Learned:
    """A learned baseline."""

    def __init__(self, baseline: Baseline):
        self.baseline = baseline
        self.encoder = LearnedEncoder(baseline)

    def start(self, capacity: int) -> Any:
        """The baseline's own."""
        return self.baseline.start(1, capacity)

    def update(self, state: Any, observation: Tensor, odometry: Tensor) -> Any:
        """Read one frame."""
        return self.baseline.update(state, observation[None], odometry[None].to(observation.device))

    def query(self, state: Any, observation: Tensor, same_camera: bool) -> Answer:
        """What the baseline reads out, in the robot's frame."""
        return answer_of(self.baseline, state, observation)

    def num_bytes(self, state: Any) -> int:
        """The baseline's own."""
        return self.baseline.num_bytes(state)


def keeps_all(config: KinaemaConfig, capacity: int) -> KinaemaConfig:
    """Of a memory in which each of ``capacity`` frames stays an embedding of its own, with all its tokens."""
    return replace(
        by_odometry_alone(config),
        num_embeddings=capacity + config.window.size,
        tokens=replace(config.tokens, tokens=config.tokens.view_tokens),
        fold=replace(config.fold, max_distance=1e-6, max_angle=1e-6, min_matches=10**6),
    )


def by_odometry_alone(config: KinaemaConfig) -> KinaemaConfig:
    """Of a memory whose poses are the odometry's: nothing that is seen corrects them."""
    return replace(
        config,
        window=replace(config.window, heading_by_sight=False),
        revisit=replace(config.revisit, enabled=False),
    )
