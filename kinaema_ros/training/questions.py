"""Photos asked about while simulated drives go through the memory: what its judge is fitted on."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from kinaema_ros import geometry
from kinaema_ros.camera import Intrinsics
from kinaema_ros.model.judge import TERMS, Candidates
from kinaema_ros.model.localise import hypotheses
from kinaema_ros.model.network import Kinaema, candidates
from kinaema_ros.model.se2 import apart
from kinaema_ros.model.token_memory import TokenMemory
from kinaema_ros.training.drives import Drive, Photo


@dataclass
class Questions:
    """Q photos, each with K places for hypotheses."""

    candidates: Candidates  # (Q, K, ...)
    truth: Tensor  # (Q, 3) float64, robot_T_photo; of no meaning for unseen places
    seen: Tensor  # (Q,) bool
    same_camera: Tensor  # (Q,) bool

    @classmethod
    def joined(cls, parts: list[Questions]) -> Questions:
        """Those of all ``parts``, one after another."""
        together = Candidates(*(
            torch.cat([getattr(part.candidates, field.name) for part in parts]) for field in fields(Candidates)
        ))  # fmt: skip
        return cls(
            together,
            torch.cat([part.truth for part in parts]),
            torch.cat([part.seen for part in parts]),
            torch.cat([part.same_camera for part in parts]),
        )

    def __getitem__(self, which: Tensor) -> Questions:
        return Questions(self.candidates[which], self.truth[which], self.seen[which], self.same_camera[which])

    @property
    def errors(self) -> tuple[Tensor, Tensor]:
        """Metres and radians (Q, K) by which the hypotheses are off; infinite where there is no truth."""
        distance, turn = apart(self.truth[:, None], self.candidates.pose)
        known = self.seen[:, None] & self.candidates.there
        return torch.where(known, distance, torch.inf), torch.where(known, turn, torch.inf)


@torch.inference_mode()
def ask(network: Kinaema, drive: Drive) -> Questions:
    """Drive through the memory and ask about each photo when its moment has come."""
    memory = TokenMemory.empty(network.config)
    parts = []
    for t, (rgb, odometry) in enumerate(zip(drive.frames, drive.odometry, strict=True)):
        view = network.view(torch.from_numpy(rgb), drive.camera, drive.mount)
        memory = network.update(memory, view, torch.from_numpy(odometry), drive.mount.z)
        parts += [
            _asked(network, memory, photo, drive.camera, geometry.between(drive.poses[t], photo.pose))
            for photo in drive.photos
            if photo.moment == t + 1
        ]
    return Questions.joined(parts)


def _asked(
    network: Kinaema, memory: TokenMemory, photo: Photo, robots: Intrinsics, robot_T_photo: geometry.Array
) -> Questions:
    rgb = torch.from_numpy(photo.rgb)
    if photo.mount is None:
        tokens, height = network.photo(rgb, photo.camera, robots), None
    else:
        tokens, height = network.view(rgb, photo.camera, photo.mount), photo.mount.z
    found = hypotheses(network.config, memory, tokens, height)
    size = network.config.search.verified
    if found:
        of = candidates(network.config, memory, found, height)
        missing = size - len(found)
        of = Candidates(
            F.pad(of.terms, (0, 0, 0, missing)),
            F.pad(of.pose, (0, 0, 0, missing)),
            torch.cat([of.covariance, torch.eye(3, dtype=torch.float64).expand(missing, 3, 3)]),
            F.pad(of.drift, (0, 0, 0, missing)),
            F.pad(of.there, (0, missing)),
        )
    else:
        of = Candidates(
            torch.zeros(size, TERMS),
            torch.zeros(size, 3, dtype=torch.float64),
            torch.eye(3, dtype=torch.float64).expand(size, 3, 3),
            torch.zeros(size, 2),
            torch.zeros(size, dtype=torch.bool),
        )
    return Questions(
        of[None],  # type: ignore[index]
        torch.from_numpy(robot_T_photo)[None],
        torch.tensor([photo.seen]),
        torch.tensor([photo.mount is not None]),
    )
