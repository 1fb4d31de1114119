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
from kinaema_ros.model.localise import Hypothesis
from kinaema_ros.model.se2 import between
from kinaema_ros.model.token_memory import TokenMemory
from kinaema_ros.model.tokens import Tokens, pack


def sight(
    config: KinaemaConfig, memory: TokenMemory, view: Tokens, odometry: Tensor, height: float
) -> TokenMemory:
    """A memory of the newest views and of this one (C tokens) alone, with all of their tokens; the robot is where it was taken.

    odometry (3,) float64: the camera's planar pose in the odom frame; height: metres, of its mount.
    """
    memory, view = correct(config, follow(config, memory, odometry), view, height)
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
