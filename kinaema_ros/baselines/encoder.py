"""Image -> features -> (key, content): what the learned baselines are told about one view.

The trunk is EfficientNet-Lite0 (Tan and Le, arXiv 1905.11946, without squeeze-and-excitation and with ReLU6)
up to its eleventh block, pretrained on ImageNet and frozen: features of photographs transfer from procedural
scenes to scenes that nobody modelled, which features trained on procedural scenes alone do not. Batch
normalisation is folded into the convolutions, since the trunk is never trained.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinaema_ros.baselines.config import LearnedConfig
from kinaema_ros.camera import Intrinsics
from kinaema_ros.images import RGB
from kinaema_ros.model.camera_pose import tilt_rotation

# (expansion, output channels, kernel, stride) of EfficientNet-Lite0's blocks 0 to 10
LITE0_BLOCKS = (
    (1, 16, 3, 1),
    (6, 24, 3, 2), (6, 24, 3, 1),
    (6, 40, 5, 2), (6, 40, 5, 1),
    (6, 80, 3, 2), (6, 80, 3, 1), (6, 80, 3, 1),
    (6, 112, 5, 1), (6, 112, 5, 1), (6, 112, 5, 1),
)  # fmt: skip
STEM_CHANNELS = 32
BLANK = 127  # what a camera did not see; the trunk's zero
FINE_BLOCK, FINE_CELLS = 4, (6, 8)  # stride 8: edges and textures, where they are in the view
COARSE_BLOCK, COARSE_CELLS = 10, (4, 5)  # stride 16: parts of objects
FEATURE_DIM = 40 * 6 * 8 + 112 * 4 * 5


class SamePadConv(nn.Module):
    """Convolution with bias, padded as TensorFlow's SAME does for even input sizes, optionally ReLU6."""

    def __init__(self, cin: int, cout: int, kernel: int, stride: int, groups: int = 1, act: bool = True):
        super().__init__()
        total = max(kernel - stride, 0)
        self.pad = (total // 2, total - total // 2, total // 2, total - total // 2)
        self.conv = nn.Conv2d(cin, cout, kernel, stride, groups=groups)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """(B, cin, H, W) -> (B, cout, H / stride, W / stride), rounded down."""
        if self.pad[0] == self.pad[1]:
            x = F.conv2d(
                x, self.conv.weight, self.conv.bias, self.conv.stride, self.pad[0], 1, self.conv.groups
            )
        else:
            x = self.conv(F.pad(x, self.pad))
        return F.relu6(x) if self.act else x


class InvertedBottleneck(nn.Module):
    """MobileNetV2 block (Sandler et al., arXiv 1801.04381): expand, filter each channel, project, add."""

    def __init__(self, cin: int, cout: int, expansion: int, kernel: int, stride: int):
        super().__init__()
        hidden = cin * expansion
        layers: list[nn.Module] = [] if expansion == 1 else [SamePadConv(cin, hidden, 1, 1)]
        layers.append(SamePadConv(hidden, hidden, kernel, stride, groups=hidden))
        layers.append(SamePadConv(hidden, cout, 1, 1, act=False))
        self.layers = nn.Sequential(*layers)
        self.residual = stride == 1 and cin == cout

    def forward(self, x: Tensor) -> Tensor:
        """(B, cin, H, W) -> (B, cout, H / stride, W / stride), rounded down."""
        return x + self.layers(x) if self.residual else self.layers(x)


class Trunk(nn.Module):
    """Frozen image features."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SamePadConv(3, STEM_CHANNELS, 3, 2)
        blocks, channels = [], STEM_CHANNELS
        for expansion, cout, kernel, stride in LITE0_BLOCKS:
            blocks.append(InvertedBottleneck(channels, cout, expansion, kernel, stride))
            channels = cout
        self.blocks = nn.ModuleList(blocks)
        self.requires_grad_(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) uint8 RGB of the canonical camera -> (B, FEATURE_DIM) float."""
        dtype = self.stem.conv.weight.dtype
        x = (images.to(dtype) - 127.0) / 128.0  # the range that the pretrained weights expect
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        features = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index == FINE_BLOCK:
                features.append(F.adaptive_avg_pool2d(x, FINE_CELLS).flatten(1))
            if index == COARSE_BLOCK:
                features.append(F.adaptive_avg_pool2d(x, COARSE_CELLS).flatten(1))
        return torch.cat(features, dim=1)


class Descriptor(nn.Module):
    """Features -> what is compared (key), what is stored (content) and what is asked with (probe). Frozen.

    ``standardise`` must have seen the training set's statistics before the first use.
    """

    mean: Tensor
    inverse_std: Tensor

    def __init__(self, config: LearnedConfig):
        super().__init__()
        self.register_buffer("mean", torch.zeros(FEATURE_DIM))
        self.register_buffer("inverse_std", torch.ones(FEATURE_DIM))
        self.key = nn.Linear(FEATURE_DIM, config.key_dim)
        self.content = nn.Linear(FEATURE_DIM, config.content_dim)
        self.probe = nn.Linear(FEATURE_DIM, config.content_dim)
        self.requires_grad_(False)

    def standardise(self, features: Tensor) -> None:
        """Take mean and deviation of each feature from a sample (B, FEATURE_DIM)."""
        features = features.float()
        self.mean.copy_(features.mean(0))
        self.inverse_std.copy_(1.0 / features.std(0).clamp_min(1e-3))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(..., FEATURE_DIM) -> key (..., Dk) of unit length, content (..., Dc), probe (..., Dc)."""
        x = (features.to(self.mean.dtype) - self.mean) * self.inverse_std
        return F.normalize(self.key(x), dim=-1), self.content(x), self.probe(x)


def resample(
    image: RGB, source: Intrinsics, target: Intrinsics, tilt: tuple[float, float] = (0.0, 0.0)
) -> RGB:
    """What the target camera, level and without a lens, would have seen: (target.height, target.width, 3) uint8.

    image (H, W, 3) of ``source``, whose tilt is its roll and pitch in radians. Rays beyond the source's field of view are
    blank. Shrinks by area averaging first, so that fine texture does not alias.
    """
    shrink = min(source.fx / target.fx, source.fy / target.fy)
    if shrink > 1.0:
        width, height = max(1, round(source.width / shrink)), max(1, round(source.height / shrink))
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        source = source.scaled_to(width, height)
    if source == target and tilt == (0.0, 0.0):
        return image
    x, y = _sources(source, target, tilt)
    return cv2.remap(  # type: ignore[return-value]
        image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(BLANK, BLANK, BLANK)
    )


@functools.lru_cache(maxsize=8)
def _sources(
    source: Intrinsics, target: Intrinsics, tilt: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels x, y (H, W) float32 of the source that the target's pixels see."""
    at = np.stack(np.meshgrid(np.arange(target.width), np.arange(target.height)), axis=-1).reshape(-1, 2)
    ray = target.rays(at) @ tilt_rotation(torch.tensor(tilt, dtype=torch.float64)).numpy()
    pixels = source.pixels(ray).astype(np.float32).reshape(target.height, target.width, 2)
    return pixels[..., 0], pixels[..., 1]
