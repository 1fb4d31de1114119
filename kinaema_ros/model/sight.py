"""What the robot's camera sees from where it stands, and whether that is what a photo shows."""

from __future__ import annotations

from dataclasses import fields, replace

import torch
from torch import Tensor

from kinaema_ros.comparison import Comparison, Verdict
from kinaema_ros.estimate import as_pose
from kinaema_ros.model.camera_pose import planar_rotation
from kinaema_ros.model.cell import correct, follow
from kinaema_ros.model.config import ComparisonConfig, KinaemaConfig
from kinaema_ros.model.localise import Hypothesis, around
from kinaema_ros.model.matching import match, rays
from kinaema_ros.model.se2 import between
from kinaema_ros.model.token_memory import TokenMemory
from kinaema_ros.model.tokens import Tokens, pack

LEAST_STD = 0.03  # 1/m: what an embedding says of a distance is no surer, for the robot's pose against it is not exact


def sight(
    config: KinaemaConfig, memory: TokenMemory, view: Tokens, odometry: Tensor, height: float
) -> TokenMemory:
    """A memory of the newest views and of this one (C tokens) alone, with all of their tokens; the robot is where it was taken.

    odometry (3,) float64: the camera's planar pose in the odom frame; height: metres, of its mount.
    """
    memory, view = correct(config, follow(config, memory, odometry), view, height)
    view = placed(config, memory, view, height)
    viewed = memory.viewed
    window, slot = memory.window.unpack(viewed), memory.window_slot[viewed]
    tokens = Tokens(*(
        torch.cat([getattr(window, field.name), getattr(view, field.name)[None]]) for field in fields(Tokens)
    ))  # fmt: skip
    return replace(
        memory,
        tokens=pack(tokens),
        pose=torch.cat([memory.pose[slot], memory.robot[None]]),
        height=torch.cat([memory.height[slot], (memory.tilt[2] + height)[None]]),
        count=memory.count.new_ones(len(slot) + 1),
    )


def placed(config: KinaemaConfig, memory: TokenMemory, view: Tokens, height: float) -> Tokens:
    """The view with the distances that the embeddings around know: a robot that turns where it arrives sees no parallax."""
    index = around(config.search, memory, memory.robot)
    if not len(index):
        return view
    tokens = memory.tokens.unpack(index)
    matches = match(view.descriptor, tokens.descriptor, config.tokens.min_similarity)
    robot_T_place = between(memory.robot, memory.pose[index]).float()
    rise = memory.height[index] - memory.tilt[2] - height
    stored = rays(tokens, matches.place, matches.token, robot_T_place, rise)
    like = view.bearing
    expected, blur = stored.directions_from(like.new_zeros(3), torch.eye(3, device=like.device))
    scale = torch.linalg.vector_norm(stored.direction + stored.inverse_depth[:, None] * stored.origin, dim=-1)
    off = torch.linalg.vector_norm(expected - view.bearing[matches.view], dim=-1)
    agree = stored.located & (off < config.search.radius + blur.clamp_max(config.search.radius))
    std = (stored.depth_std / scale).clamp_min(LEAST_STD)
    information = torch.where(agree, std**-2, 0.0)
    weighted = information * stored.inverse_depth / scale
    total = (view.depth_std**-2).index_add(0, matches.view, information)
    depth = (view.inverse_depth * view.depth_std**-2).index_add(0, matches.view, weighted) / total
    return replace(view, inverse_depth=depth, depth_std=total.rsqrt())


def verdict(
    limits: ComparisonConfig, here: TokenMemory, view: Tokens, photo: Tokens, best: Hypothesis | None
) -> Comparison:
    """What the best hypothesis about a photo in a ``sight`` of this view is worth."""
    points = min(int(photo.known.sum()), int(view.known.sum()))
    if points < limits.min_tokens:
        which = "photo" if int(photo.known.sum()) == points else "camera's view"
        return Comparison(Verdict.UNDECIDED, f"too little to see: {points} points in the {which}")
    found, share = (0, 0.0) if best is None else (best.evidence.inliers, best.evidence.coverage)
    words = f"the camera sees {found} of the photo's points, in {share:.0%} of the photo"
    if best is not None and found >= limits.min_found and share >= limits.min_coverage:
        here_T_place = between(here.robot, here.pose[best.place])
        turn = planar_rotation(here_T_place[2])
        return Comparison(
            Verdict.RECOGNISED,
            words,
            as_pose(between(here.robot, best.memory_T_photo).cpu().numpy()),
            (limits.inflation * turn @ best.covariance.double() @ turn.mT).cpu().numpy(),
        )
    if found < limits.other_found and share < limits.other_coverage:
        return Comparison(Verdict.OTHER_PLACE, words)
    return Comparison(Verdict.UNDECIDED, words)
