"""Which tokens show the same point: attention between views, and what two views say of a point's distance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kinaema_ros.model.camera_pose import Rays, planar_rotation, tangents
from kinaema_ros.model.tokens import Tokens


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
    similarity = places @ view.T  # (P, M, K)
    of_view = similarity.amax(dim=1)  # (P, K)
    nearest = last_argmax(similarity)  # (P, M)
    alike = similarity.gather(2, nearest[..., None])[..., 0]
    place, token = ((alike >= least) & (alike >= of_view.gather(1, nearest))).nonzero().unbind(-1)
    return Matches(place, token, nearest[place, token], alike[place, token])


def last_argmax(values: Tensor) -> Tensor:
    """Where each row (..., K) has its maximum; on a CPU PyTorch's takes ten times as long as NumPy's."""
    if values.device.type != "cpu":
        return values.argmax(dim=-1)
    return torch.from_numpy(values.numpy().argmax(axis=-1))


def positive(values: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (J,) and columns (J,) of what is above 0 in a table (R, C); on a CPU PyTorch's take six times as long."""
    if values.device.type != "cpu":
        return (values > 0).nonzero().unbind(-1)  # type: ignore[return-value]
    flat = torch.from_numpy(np.flatnonzero(values.numpy() > 0))
    return flat // values.shape[1], flat % values.shape[1]


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
