"""Image -> local features: points that are found again from elsewhere, and what each looks like.

The network is XFeat (Potje et al., "XFeat: accelerated features for lightweight image matching", arXiv 2404.19174),
pretrained on photographs and frozen: it carries over to simulators and to real cameras alike. Batch normalisation is
folded into the convolutions, since it is never trained.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DESCRIPTOR_DIM = 64
CELL = 8  # pixels across which the descriptors' grid has one
MULTIPLE = 32  # the network halves its input five times
SUPPRESSION = 5  # pixels across the square in which only the strongest point stays
MIN_RELIABILITY = 0.05  # of a pixel: the likelihood that it is a point


@dataclass
class Keypoints:
    """K points of one image, the strongest first."""

    pixels: Tensor  # (K, 2) x, y in the image that was given; the centre of the first pixel is (0, 0)
    descriptors: Tensor  # (K, DESCRIPTOR_DIM) unit length
    scores: Tensor  # (K,) in [0, 1]

    @property
    def count(self) -> int:
        """K."""
        return len(self.scores)

    @classmethod
    def joined(cls, parts: list[Keypoints]) -> Keypoints:
        """Those of all ``parts``, of one image."""
        scores, order = torch.cat([part.scores for part in parts]).sort(descending=True, stable=True)
        pixels = torch.cat([part.pixels for part in parts])[order]
        return cls(pixels, torch.cat([part.descriptors for part in parts])[order], scores)


class ConvRelu(nn.Sequential):
    """A convolution with the bias that its batch normalisation became, and ReLU."""

    def __init__(self, cin: int, cout: int, kernel: int = 3, stride: int = 1):
        super().__init__(
            nn.Conv2d(cin, cout, kernel, stride, padding=kernel // 2),
            nn.ReLU(inplace=True),
        )


class LocalFeatures(nn.Module):
    """The network and the choice of points from its maps."""

    def __init__(self) -> None:
        super().__init__()
        self.skip = nn.Conv2d(1, 24, 1)
        self.block1 = nn.Sequential(
            ConvRelu(1, 4), ConvRelu(4, 8, stride=2), ConvRelu(8, 8), ConvRelu(8, 24, stride=2)
        )
        self.block2 = nn.Sequential(ConvRelu(24, 24), ConvRelu(24, 24))
        self.block3 = nn.Sequential(ConvRelu(24, 64, stride=2), ConvRelu(64, 64), ConvRelu(64, 64, 1))
        self.block4 = nn.Sequential(ConvRelu(64, 64, stride=2), ConvRelu(64, 64), ConvRelu(64, 64))
        self.block5 = nn.Sequential(
            ConvRelu(64, 128, stride=2), ConvRelu(128, 128), ConvRelu(128, 128), ConvRelu(128, 64, 1)
        )
        self.fusion = nn.Sequential(ConvRelu(64, 64), ConvRelu(64, 64), nn.Conv2d(64, 64, 1))
        self.reliability = nn.Sequential(ConvRelu(64, 64, 1), ConvRelu(64, 64, 1), nn.Conv2d(64, 1, 1))
        self.point = nn.Sequential(
            ConvRelu(64, 64, 1), ConvRelu(64, 64, 1), ConvRelu(64, 64, 1), nn.Conv2d(64, CELL**2 + 1, 1)
        )
        self.requires_grad_(False)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a quarter less time on a CPU

    def forward(self, grey: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Grey (1, 1, H, W), H and W multiples of 32, to three maps.

        Descriptors (1, 64, H / 8, W / 8), the likelihood of a point (H, W), reliability (1, 1, H / 8, W / 8).
        """
        grey = (grey - grey.mean()) / torch.sqrt(grey.var(correction=0) + 1e-5)
        x = self.block2(self.block1(grey) + self.skip(F.avg_pool2d(grey, 4)))
        fine = self.block3(x)
        middle = self.block4(fine)
        coarse = self.block5(middle)
        size = fine.shape[-2:]
        features = self.fusion(
            fine + F.interpolate(middle, size, mode="bilinear") + F.interpolate(coarse, size, mode="bilinear")
        )
        inside = F.softmax(self.point(F.pixel_unshuffle(grey, CELL)), dim=1)[:, :-1]
        return (
            F.normalize(features, dim=1),
            F.pixel_shuffle(inside, CELL)[0, 0],
            self.reliability(features).sigmoid(),
        )

    @torch.no_grad()
    def detect(self, rgb: Tensor, area: float, most: int) -> Keypoints:
        """The points of an image (H, W, 3) uint8 of any size, read out at about ``area`` pixels; at most ``most``."""
        height, width = rgb.shape[:2]
        h, w = input_size(height, width, area)
        rgb = rgb.to(self.skip.weight.dtype)
        grey = (rgb @ rgb.new_full((3,), 1.0 / 3.0))[None, None]
        grey = F.interpolate(grey, (h, w), mode="bilinear", antialias=h < height)
        descriptors, likelihood, reliability = self(grey)
        y, x = torch.nonzero(
            (likelihood == _strongest_around(likelihood)) & (likelihood > MIN_RELIABILITY), as_tuple=True
        )
        at = torch.stack([x, y], dim=-1).to(grey.dtype)
        scores = likelihood[y, x] * _sample(reliability, at, (h, w), "bilinear")[:, 0]
        scores, order = scores.topk(min(most, len(scores)))
        x, y, at = x[order], y[order], at[order]
        described = F.normalize(_sample(descriptors, at, (h, w), "bicubic"), dim=-1)
        fine = at + torch.stack([_peak(likelihood, x, y, 1), _peak(likelihood, x, y, 0)], dim=-1)
        scale = torch.tensor([width / w, height / h], device=rgb.device, dtype=at.dtype)
        return Keypoints((fine + 0.5) * scale - 0.5, described, scores)


def input_size(height: int, width: int, area: float) -> tuple[int, int]:
    """Height and width, multiples of 32, of about ``area`` pixels and nearly the image's aspect."""
    scale = math.sqrt(area / (height * width))
    return tuple(max(1, round(side * scale / MULTIPLE)) * MULTIPLE for side in (height, width))  # type: ignore[return-value]


def _strongest_around(values: Tensor) -> Tensor:
    """The largest of the square of SUPPRESSION pixels around each (H, W); max_pool2d takes 25 times as long."""
    reach = SUPPRESSION // 2
    for axis, size in enumerate(values.shape):
        padding = (0, 0, reach, reach) if axis == 0 else (reach, reach)
        padded = F.pad(values, padding, value=-torch.inf)
        values = functools.reduce(
            torch.maximum, [padded.narrow(axis, start, size) for start in range(SUPPRESSION)]
        )
    return values


def _sample(maps: Tensor, at: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    """Values of maps (1, C, h, w) at pixels (K, 2) of an image of ``size``: (K, C)."""
    h, w = size
    # XFeat was trained with this grid
    grid = 2.0 * at / torch.tensor([w - 1.0, h - 1.0], device=at.device, dtype=at.dtype) - 1.0
    return F.grid_sample(maps, grid[None, None], mode=mode, align_corners=False)[0, :, 0].T


def _peak(values: Tensor, x: Tensor, y: Tensor, axis: int) -> Tensor:
    """How far (K,) from the maxima at x, y the top of the parabola through them and their neighbours lies on ``axis``."""
    dx, dy = (1, 0) if axis == 1 else (0, 1)
    h, w = values.shape
    centre = values[y, x]
    before = values[(y - dy).clamp_min(0), (x - dx).clamp_min(0)]
    after = values[(y + dy).clamp_max(h - 1), (x + dx).clamp_max(w - 1)]
    curvature = (2.0 * centre - before - after).clamp_min(1e-9)
    return (0.5 * (after - before) / curvature).clamp(-0.5, 0.5)
