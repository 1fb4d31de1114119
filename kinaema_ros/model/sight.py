"""What the robot's camera sees from where it stands, and whether that is what a photo shows."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from kinaema_ros.comparison import Comparison, Verdict
from kinaema_ros.estimate import as_pose
from kinaema_ros.model.camera_pose import planar_rotation, search_motion
from kinaema_ros.model.cell import correct, follow
from kinaema_ros.model.config import KinaemaConfig
from kinaema_ros.model.localise import Hypothesis, around
from kinaema_ros.model.matching import match, rays
from kinaema_ros.model.se2 import between
from kinaema_ros.model.token_memory import TokenMemory
from kinaema_ros.model.tokens import Tokens, pack

LEAST_STD = 0.03  # 1/m: what an embedding says of a distance is no surer, for the robot's pose against it is not exact
TOLERANCE = 0.005  # radians, of a point's direction by a motion of the camera


@dataclass
class Sight:
    """What the camera sees from where the robot stands."""

    memory: TokenMemory  # of the newest views and of the present one alone, with all of their tokens
    view: Tokens  # (C,) the present one
    known: int  # tokens of it that the memory knows to be here


def sight(config: KinaemaConfig, memory: TokenMemory, view: Tokens, odometry: Tensor, height: float) -> Sight:
    """Look at a view (C tokens) from here; the memory stays as it is.

    odometry (3,) float64: the camera's planar pose in the odom frame; height: metres, of its mount.
    """
    memory, view = correct(config, follow(config, memory, odometry), view, height)
    view, known = placed(config, memory, view, height)
    viewed = memory.viewed
    window, slot = memory.window.unpack(viewed), memory.window_slot[viewed]
    tokens = Tokens(*(
        torch.cat([getattr(window, field.name), getattr(view, field.name)[None]]) for field in fields(Tokens)
    ))  # fmt: skip
    alone = replace(
        memory,
        tokens=pack(tokens),
        pose=torch.cat([memory.pose[slot], memory.robot[None]]),
        height=torch.cat([memory.height[slot], (memory.tilt[2] + height)[None]]),
        count=memory.count.new_ones(len(slot) + 1),
    )
    return Sight(alone, view, known)


def placed(config: KinaemaConfig, memory: TokenMemory, view: Tokens, height: float) -> tuple[Tokens, int]:
    """The view with the distances that the embeddings around know: a robot that turns where it arrives sees no parallax.

    Returns also how many of its tokens they know.
    """
    index = around(config.search, memory, memory.robot)
    if not len(index):
        return view, 0
    tokens = memory.tokens.unpack(index)
    matches = match(view.descriptor, tokens.descriptor, config.tokens.min_similarity)
    robot_T_place = between(memory.robot, memory.pose[index]).float()
    rise = memory.height[index] - memory.tilt[2] - height
    stored = rays(tokens, matches.place, matches.token, robot_T_place, rise)
    like = view.bearing
    expected, blur = stored.directions_from(like.new_zeros(3), torch.eye(3, device=like.device))
    scale = torch.linalg.vector_norm(stored.direction + stored.inverse_depth[:, None] * stored.origin, dim=-1)
    off = torch.linalg.vector_norm(expected - view.bearing[matches.view], dim=-1)
    agree = off < config.search.radius + blur.clamp_max(config.search.radius)
    known = len(torch.unique(matches.view[agree]))
    agree &= stored.located
    std = (stored.depth_std / scale).clamp_min(LEAST_STD)
    information = torch.where(agree, std**-2, 0.0)
    weighted = information * stored.inverse_depth / scale
    total = (view.depth_std**-2).index_add(0, matches.view, information)
    depth = (view.inverse_depth * view.depth_std**-2).index_add(0, matches.view, weighted) / total
    return replace(view, inverse_depth=depth, depth_std=total.rsqrt()), known


def verdict(
    config: KinaemaConfig, here: Sight, photo: Tokens, best: Hypothesis | None, same_camera: bool
) -> Comparison:
    """What the best hypothesis about a photo in a sight is worth; ``same_camera``: the robot's own took the photo."""
    limits = config.comparison
    robot, places = here.memory.robot, here.memory.pose
    for what, tokens in (("photo", photo), ("camera's view", here.view)):
        points = int(tokens.known.sum())
        if points < limits.min_tokens:
            return Comparison(Verdict.UNDECIDED, f"too little to see: {points} points in the {what}")
    found, share = (0.0, 0.0) if best is None else (best.evidence.inliers, best.evidence.coverage)
    words = f"the camera sees {found:.0f} of the photo's points, in {share:.0%} of the photo"
    if best is not None and found >= limits.min_found and share >= limits.min_coverage:
        std = float(torch.linalg.eigvalsh(best.covariance[:2, :2])[-1].sqrt())
        if std > limits.max_std:
            return Comparison(Verdict.UNDECIDED, f"{words}, but where it lies only to within {std:.1f} m")
        turn = planar_rotation(between(robot, places[best.place])[2])
        return Comparison(
            Verdict.RECOGNISED,
            words,
            as_pose(between(robot, best.memory_T_photo).cpu().numpy()),
            (limits.inflation * turn @ best.covariance.double() @ turn.mT).cpu().numpy(),
        )
    least = 1.0 if same_camera else limits.other_camera
    if found >= least * limits.other_found or share >= least * limits.other_coverage:
        return Comparison(Verdict.UNDECIDED, words)
    if here.known < limits.min_known:
        return Comparison(
            Verdict.UNDECIDED, f"the camera sees neither the photo's place nor what was here before: {words}"
        )
    fits = shared(config, here.view, photo)
    if fits >= least * limits.other_shared:
        return Comparison(
            Verdict.UNDECIDED, f"{words}, but {fits} of them if it may have moved from there in any way"
        )
    return Comparison(Verdict.OTHER_PLACE, f"{words}, and {here.known} points that were here before")


def shared(config: KinaemaConfig, view: Tokens, photo: Tokens) -> int:
    """How many of a photo's points a view shows, at whatever distances.

    A robot that turned on the spot knows few: then the photo's pose is not found, though the view shows it.
    """
    matches = match(photo.descriptor, view.descriptor[None], config.tokens.min_similarity)
    motion = search_motion(view.bearing[matches.token], photo.bearing[matches.view], TOLERANCE)
    return 0 if motion is None else int(motion[2].sum())
