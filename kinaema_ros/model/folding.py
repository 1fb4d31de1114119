"""How two embeddings become one, and which two where none is free: what a full memory forgets."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import numpy as np
import torch
import torch.nn.functional as F
from scipy.spatial import cKDTree
from torch import Tensor

from kinaema_ros.model import pose_graph
from kinaema_ros.model.config import KinaemaConfig
from kinaema_ros.model.matching import fuse, match, transfer
from kinaema_ros.model.se2 import between
from kinaema_ros.model.token_memory import TokenMemory
from kinaema_ros.model.tokens import MIN_QUALITY, Tokens, pack, spread


def merge(config: KinaemaConfig, memory: TokenMemory) -> TokenMemory:
    """Of the embeddings outside the window, the two that the memory needs least as two become one.

    They are near each other and turned alike, and have tokens in common: a view of another room, beyond a wall, has none.
    """
    limits = config.fold
    slot = memory.closed.nonzero()[:, 0]
    apart, nearest = neighbours(config, memory.pose[slot])
    cost = apart + limits.count_cost * (memory.count[slot] + memory.count[slot[nearest]])
    least, first = cost.topk(min(limits.compared, len(cost)), largest=False)
    pairs = slot[torch.stack([first, nearest[first]])]
    best = (least / (in_common(config, memory, *pairs) + limits.no_overlap)).argmin()
    pair = pairs[:, best]
    kept, gone = pair[memory.count[pair].argsort(descending=True, stable=True)].tolist()
    return fold(config, memory, gone, kept, 0)


def neighbours(config: KinaemaConfig, pose: Tensor) -> tuple[Tensor, Tensor]:
    """How far (K,) each pose (K, 3) is from the one that is nearest to it, and which (K,) that is.

    Distance and turn count as shares of those up to which a view is folded.
    """
    limits = config.fold
    heading = torch.stack([pose[:, 2].cos(), pose[:, 2].sin()], dim=-1)  # the chord of a turn, for its arc
    points = torch.cat([pose[:, :2] / limits.max_distance, heading / limits.max_angle], dim=-1).cpu().numpy()
    distance, index = cKDTree(points).query(points, k=[1, 2])
    # Of two poses that are one, either may come first.
    itself = index[:, 0] == np.arange(len(points))
    nearest = np.where(itself, index[:, 1], index[:, 0])
    return torch.from_numpy(distance[:, 1]).to(pose), torch.from_numpy(nearest).to(pose.device)


def in_common(config: KinaemaConfig, memory: TokenMemory, first: Tensor, second: Tensor) -> Tensor:
    """Which share of their tokens embeddings ``first`` (K,) have in common with ``second`` (K,), by what they look like."""
    both = torch.cat([first, second])
    a, b = memory.tokens.unpack_descriptors(both).chunk(2)
    similarity = a @ b.mT  # (K, M, M)
    best = torch.maximum(similarity.amax(dim=-1, keepdim=True), similarity.amax(dim=-2, keepdim=True))
    alike = (similarity >= best.clamp_min(config.tokens.min_similarity)).sum((-2, -1))
    known = (memory.tokens.quality[both] > 0).sum(-1)
    return alike / torch.minimum(*known.chunk(2)).clamp_min(1)


def fold(config: KinaemaConfig, memory: TokenMemory, gone: int, kept: int, min_matches: int) -> TokenMemory:
    """Embedding ``gone`` becomes part of ``kept``, unless they share too few tokens: then all stays as it is."""
    limits = config.fold
    slots = torch.tensor([kept, gone], device=memory.pose.device)
    poses, both = memory.pose[slots], memory.tokens.unpack(slots)
    kept_T_gone, gone_T_kept = between(poses, poses.flip(0))
    ours = both[0]
    others, blur = transfer(both[1], gone_T_kept, memory.height[kept] - memory.height[gone])
    matches = match(others.descriptor, ours.descriptor[None], config.tokens.min_similarity)
    i, j = matches.view, matches.token
    std = torch.linalg.vector_norm(torch.stack([others.depth_std[i], ours.depth_std[j]]), dim=0)
    same = (others.bearing[i] * ours.bearing[j]).sum(-1) > math.cos(limits.max_bearing)
    same &= (others.inverse_depth[i] - ours.inverse_depth[j]).abs() < config.tokens.max_deviations * std
    if int(same.sum()) < min_matches:
        return memory
    i, j = i[same], j[same]
    views = memory.count[kept] + memory.count[gone]
    share = memory.count[gone] / views
    depth, depth_std = fuse(
        ours.inverse_depth[j], ours.depth_std[j], others.inverse_depth[i], others.depth_std[i]
    )
    merged = Tokens(
        F.normalize(ours.descriptor[j].lerp(others.descriptor[i], share), dim=-1),
        F.normalize(ours.bearing[j].lerp(others.bearing[i], share), dim=-1),
        depth,
        depth_std,
        torch.maximum(ours.quality[j], others.quality[i]) + config.tokens.evidence,
    )
    ours = Tokens(*(
        getattr(ours, f.name).index_put((j,), getattr(merged, f.name)) for f in fields(Tokens)
    ))  # fmt: skip
    left = others.quality * (blur < limits.max_blur)  # a token of unknown distance is not where it was
    others = replace(others, quality=left.index_put((i,), torch.zeros_like(left[i])))
    together = Tokens(*(torch.cat([getattr(ours, f.name), getattr(others, f.name)]) for f in fields(Tokens)))
    return replace(
        memory,
        tokens=memory.tokens.put(slots[:1], pack(choose(config, bounded(together)[None]))),
        count=memory.count.index_put((slots,), torch.stack([views, torch.zeros_like(views)])),
        written=memory.written.index_put((slots[:1],), memory.updates),
        graph=pose_graph.absorb(config.pose_graph, memory.graph, slots[1], slots[0], kept_T_gone),
        places=memory.places.absorb(slots[1], slots[0], kept_T_gone),
    )


def choose(config: KinaemaConfig, tokens: Tokens) -> Tokens:
    """The M tokens of each place (..., K) that are worth keeping: well seen, of known distance, and spread."""
    placed = tokens.depth_std < 0.3 * tokens.inverse_depth.abs().clamp_min(0.05)
    worth = torch.where(tokens.known, tokens.quality + config.tokens.placed_worth * placed, 0.0)
    index = spread(replace(tokens, quality=worth), config.tokens.tokens, config.tokens.cell)
    return tokens.best(index)


def bounded(tokens: Tokens) -> Tokens:
    """Qualities in (0, 1]. A token that has lost all its worth is gone."""
    return replace(tokens, quality=torch.where(tokens.known, tokens.quality.clamp(MIN_QUALITY, 1.0), 0.0))
