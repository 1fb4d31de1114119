"""Local tokens: what an embedding knows of its place.

A token is a point of the surroundings: what it looks like (a unit descriptor), in which direction it lies from where
the camera was, and how far off it is. Distances come from parallax, so what is kept is the inverse of the distance
and its standard deviation: for a point that nothing is known of, or that is far away, both are finite, and an
observation is nearly linear in it (Civera, Davison, Montiel, "Inverse depth parametrization for monocular SLAM", 2008).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

LEVELS = 16  # of a descriptor's component: two fit into a byte
ANGLE_UNIT = math.pi / 32768
MIN_QUALITY = 0.01  # of a token that is there


@dataclass
class Tokens:
    """K tokens of each of ... places. In a place's frame: x ahead, y to the left, z up, level, at the camera."""

    descriptor: Tensor  # (..., K, D) unit length, zero where there is no token
    bearing: Tensor  # (..., K, 3) unit length
    inverse_depth: Tensor  # (..., K) 1/m
    depth_std: Tensor  # (..., K) 1/m, of the inverse depth
    quality: Tensor  # (..., K) how much the token is worth, 0: there is none

    @staticmethod
    def empty(shape: tuple[int, ...], dim: int, device: torch.device | str = "cpu") -> Tokens:
        """No tokens, in tables of this shape (..., K)."""
        bearing = torch.zeros(*shape, 3, device=device)
        bearing[..., 0] = 1.0
        zeros = torch.zeros(shape, device=device)
        return Tokens(torch.zeros(*shape, dim, device=device), bearing, zeros, zeros + 1.0, zeros)

    def __getitem__(self, index: Tensor | slice | int | None) -> Tokens:
        return Tokens(*(getattr(self, field.name)[index] for field in fields(self)))

    def best(self, index: Tensor) -> Tokens:
        """The tokens index (..., J) of each place."""
        return Tokens(*(
            value.gather(
                index.dim() - 1,
                index.view(*index.shape, *[1] * (value.dim() - index.dim())).expand(*index.shape, *value.shape[index.dim():]),
            )
            for value in (getattr(self, field.name) for field in fields(self))
        ))  # fmt: skip

    @property
    def known(self) -> Tensor:
        """(..., K) bool: where there is a token."""
        return self.quality > 0


@dataclass
class PackedTokens:
    """Tokens in a quarter of the bytes: what a memory keeps. M tokens of each of N places."""

    descriptor: Tensor  # (N, M, D / 2) uint8, two components a byte
    angles: Tensor  # (N, M, 2) int16, azimuth and elevation in units of pi / 32768
    inverse_depth: Tensor  # (N, M) float16
    depth_std: Tensor  # (N, M) float16
    quality: Tensor  # (N, M) uint8, in 255ths

    @staticmethod
    def empty(places: int, tokens: int, dim: int, device: torch.device | str = "cpu") -> PackedTokens:
        """Places without tokens."""
        return pack(Tokens.empty((places, tokens), dim, device))

    def unpack(self, index: Tensor | slice, tokens: int | None = None) -> Tokens:
        """The first ``tokens`` (None: all) of the places ``index``."""
        part = slice(None, tokens)
        azimuth, elevation = (self.angles[index][:, part].float() * ANGLE_UNIT).unbind(-1)
        quality = self.quality[index][:, part].float() / 255.0
        return Tokens(
            self.unpack_descriptors(index, tokens),
            torch.stack(
                [azimuth.cos() * elevation.cos(), azimuth.sin() * elevation.cos(), elevation.sin()], dim=-1
            ),
            self.inverse_depth[index][:, part].float(),
            self.depth_std[index][:, part].float(),
            quality,
        )

    def unpack_descriptors(self, index: Tensor | slice, tokens: int | None = None) -> Tensor:
        """Of the first ``tokens`` of the places ``index`` alone, (J, K, D)."""
        part = slice(None, tokens)
        nibbles = self.descriptor[index][:, part]
        levels = torch.empty(
            *nibbles.shape, 2, device=nibbles.device
        )  # written in place: half of a query's search
        torch.sub(nibbles & 15, (LEVELS - 1) / 2, out=levels[..., 0])
        torch.sub(nibbles >> 4, (LEVELS - 1) / 2, out=levels[..., 1])
        descriptors = levels.flatten(-2)
        there = self.quality[index][:, part] > 0
        return descriptors.mul_((there / torch.linalg.vector_norm(descriptors, dim=-1))[..., None])

    def put(self, index: Tensor, rows: PackedTokens) -> PackedTokens:
        """A copy in which the places ``index`` (J,) are ``rows``."""
        return PackedTokens(*(
            getattr(self, field.name).index_put((index,), getattr(rows, field.name))
            for field in fields(self)
        ))  # fmt: skip


def angles(bearing: Tensor) -> Tensor:
    """Azimuth to the left and elevation (..., 2) of directions (..., 3), radians."""
    x, y, z = bearing.unbind(-1)
    return torch.stack([torch.atan2(y, x), torch.asin(z.clamp(-1.0, 1.0))], dim=-1)


def squares(bearing: Tensor, cell: float) -> Tensor:
    """A number (...) for the square of ``cell`` radians in which each direction (..., 3) lies."""
    azimuth, elevation = torch.floor(angles(bearing) / cell).unbind(-1)
    return azimuth * 4096 + elevation


def pack(tokens: Tokens) -> PackedTokens:
    """Tokens (N, M) in a quarter of the bytes, to within a sixteenth of a descriptor's range and 1e-4 rad."""
    # A component of a random unit vector has a deviation of 1 / sqrt(D): the levels reach to 2.5 of them.
    step = 5.0 / (LEVELS - 1) / math.sqrt(tokens.descriptor.shape[-1])
    levels = (tokens.descriptor / step + (LEVELS - 1) / 2).round().clamp(0, LEVELS - 1).to(torch.uint8)
    return PackedTokens(
        levels[..., 0::2] | (levels[..., 1::2] << 4),
        (angles(tokens.bearing) / ANGLE_UNIT).round().clamp(-32768, 32767).to(torch.int16),
        tokens.inverse_depth.half(),
        tokens.depth_std.half(),
        (tokens.quality * 255.0).ceil().clamp(0, 255).to(torch.uint8),
    )


def spread(tokens: Tokens, number: int, cell: float) -> Tensor:
    """Which ``number`` tokens (..., number) to keep: the best of each square of ``cell`` radians before all others."""
    square = squares(tokens.bearing, cell)
    order = tokens.quality.argsort(dim=-1, descending=True, stable=True)
    by_square = square.gather(-1, order).argsort(dim=-1, stable=True)  # within a square the best come first
    order = order.gather(-1, by_square)
    square = square.gather(-1, order)
    place = torch.arange(square.shape[-1], device=square.device).expand(square.shape)
    begins = torch.ones_like(square, dtype=torch.bool)
    begins[..., 1:] = square[..., 1:] != square[..., :-1]
    rank = place - torch.where(begins, place, 0).cummax(-1).values
    quality = tokens.quality.gather(-1, order)
    worth = torch.where(quality > 0, quality - rank.clamp_max(4), -1e6)
    return order.gather(-1, worth.topk(min(number, square.shape[-1]), dim=-1).indices)
