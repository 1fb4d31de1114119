"""Which tokens show the same point: attention between views, and what two views say of a point's distance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kinaema_ros.model.camera_pose import Rays, planar_rotation, tangents
from kinaema_ros.model.tokens import Tokens

AT_ONCE = 8  # places matched at a time: what comes of it fits into a processor's cache


@dataclass
class Matches:
    """J pairs: token ``token`` of place ``place`` (both (J,)) and the view's token ``view``, and how alike they are."""

    place: Tensor
    token: Tensor
    view: Tensor
    similarity: Tensor

    def __len__(self) -> int:
        return len(self.place)

    def __getitem__(self, which: Tensor) -> Matches:
        return Matches(self.place[which], self.token[which], self.view[which], self.similarity[which])


def match(view: Tensor, places: Tensor, least: float) -> Matches:
    """Mutual nearest neighbours: the view's descriptors (K, D) against those (P, M, D) of each place by itself.

    A descriptor of zeros stands for no token and matches nothing.
    """
    parts = [_mutual(view, part, least) for part in places.split(AT_ONCE)]
    first = range(0, len(places), AT_ONCE)
    return Matches(
        torch.cat([part.place + number for part, number in zip(parts, first, strict=True)]),
        torch.cat([part.token for part in parts]),
        torch.cat([part.view for part in parts]),
        torch.cat([part.similarity for part in parts]),
    )


def _mutual(view: Tensor, places: Tensor, least: float) -> Matches:
    """The same for few places. Maxima with their indices would take most of the time."""
    similarity = view @ places.flatten(0, 1).T  # (K, P * M)
    of_view = similarity.view(len(view), *places.shape[:2]).amax(dim=2)  # (K, P)
    index, column = entries(similarity >= similarity.amax(dim=0).clamp_min(least))
    place, alike = column // places.shape[1], similarity[index, column]
    mutual = alike >= of_view[index, place]
    return Matches(place, column % places.shape[1], index, alike)[mutual]


def entries(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (J,) and columns (J,) at which a mask (R, C) holds; on a CPU ``nonzero`` takes six times as long."""
    if mask.device.type != "cpu":
        return mask.nonzero().unbind(-1)  # type: ignore[return-value]
    flat = torch.from_numpy(np.flatnonzero(mask.numpy()))
    return flat // mask.shape[1], flat % mask.shape[1]


def rays(tokens: Tokens, place: Tensor, token: Tensor, frame_T_place: Tensor, height: Tensor) -> Rays:
    """Tokens ``token`` (J,) of places ``place`` (J,) as rays of a frame in which the places are at frame_T_place (P, 3).

    tokens: (P, M). height (P,): of the places above the frame.
    """
    pose = frame_T_place[place]
    direction = planar_rotation(pose[:, 2]) @ tokens.bearing[place, token][..., None]
    return Rays(
        torch.cat([pose[:, :2], height[place][:, None]], dim=-1),
        direction[..., 0],
        tokens.inverse_depth[place, token],
        tokens.depth_std[place, token],
    )


def parallax(
    token_T_view: Tensor, rise: Tensor, bearing: Tensor, seen: Tensor, noise: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The inverse depth of tokens from the directions in which two views see them.

    token_T_view (J, 3): planar pose of the other view in the frame of the token's, rise (J,) metres above it;
    bearing (J, 3) in the token's frame, seen (J, 3) in the other's. Returns the inverse depth (J,), its standard
    deviation (J,), and by how many deviations (J,) the two directions miss each other.
    """
    direction = (planar_rotation(token_T_view[:, 2]) @ seen[..., None])[..., 0]
    basis = tangents(direction)
    shift = torch.cat([token_T_view[:, :2], rise[:, None]], dim=-1)
    towards = (basis @ shift[..., None])[..., 0]  # (J, 2): times the inverse depth this is the parallax
    offset = (basis @ bearing[..., None])[..., 0]
    squared = (towards**2).sum(-1).clamp_min(1e-9)
    depth = (towards * offset).sum(-1) / squared
    missed = torch.linalg.vector_norm(offset - depth[:, None] * towards, dim=-1) / noise
    return depth, noise * squared.rsqrt(), missed


def transfer(tokens: Tokens, source_T_target: Tensor, rise: float | Tensor) -> tuple[Tokens, Tensor]:
    """Tokens (K,) of a place as tokens of another one at source_T_target (3,), ``rise`` metres above it.

    Returns also by how many radians (K,) each may stand elsewhere, its distance being uncertain.
    """
    origin = torch.zeros_like(tokens.bearing)
    position = origin.new_tensor([float(source_T_target[0]), float(source_T_target[1]), float(rise)])
    here = Rays(origin, tokens.bearing, tokens.inverse_depth, tokens.depth_std)
    bearing, blur = here.directions_from(position, planar_rotation(source_T_target[2].to(origin)))
    length = torch.linalg.vector_norm(tokens.bearing - tokens.inverse_depth[:, None] * position, dim=-1)
    scale = 1.0 / length.clamp_min(1e-6)
    return (
        Tokens(
            tokens.descriptor,
            bearing,
            tokens.inverse_depth * scale,
            tokens.depth_std * scale,
            tokens.quality,
        ),
        blur,
    )


def fuse(mean: Tensor, std: Tensor, other: Tensor, other_std: Tensor) -> tuple[Tensor, Tensor]:
    """Two independent estimates (...) and their deviations as one."""
    information, more = std**-2, other_std**-2
    total = information + more
    return (mean * information + other * more) / total, total.rsqrt()
