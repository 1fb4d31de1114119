"""In which direction a camera is seen to go between two views, against what odometry and mount say."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kinaema_ros.model.camera_pose import Rays, planar_rotation, refine
from kinaema_ros.model.config import KinaemaConfig
from kinaema_ros.model.matching import match
from kinaema_ros.model.tokens import Tokens

FITTING = 40  # points that must fit
MOST_STD = math.radians(1.5)  # what is seen less surely is drawn to where odometry has it
ASIDE = math.radians(45.0)  # from the camera's axis: whither it goes sideways is hard to tell from a turn
# Deviations of what odometry and mount say of a stretch: tilt and turn in radians; along, across and up as shares of its
# length. Along nearly nothing is said: what is usual of distances, from which the length would follow, may be wrong.
TILT, TURN, ALONG, ACROSS, UP = 0.05, 0.05, 1.0, 0.2, 0.1
ITERATIONS = 15
KERNEL = 1.0  # deviations


def course(
    config: KinaemaConfig, before: Tokens, after: Tokens, motion: Tensor
) -> tuple[float, float] | None:
    """By how much a camera is seen to go further to the left than ``motion`` (3,) says, and the deviation of that, radians.

    before, after: tokens (C,) of the views at both ends, level. The distances of what they show are free. None where too
    little is seen, or the camera goes sideways.
    """
    heading = math.atan2(*motion[[1, 0]].tolist())
    if abs(math.sin(heading)) > math.sin(ASIDE):
        return None
    matches = match(after.descriptor, before.descriptor[None], config.tokens.min_similarity)
    seen = before[matches.token]
    rays = Rays(torch.zeros_like(seen.bearing), seen.bearing, seen.inverse_depth, seen.depth_std)
    motion = motion.to(seen.bearing)
    length = torch.linalg.vector_norm(motion[:2])
    way = planar_rotation(motion.new_tensor(heading))  # its direction in the axes of the view before
    prior = torch.block_diag(
        torch.diag(motion.new_tensor([TILT, TILT, TURN]) ** -2),
        way @ torch.diag((length * motion.new_tensor([ALONG, ACROSS, UP])) ** -2) @ way.mT,
    )
    pose = refine(
        planar_rotation(motion[2:]),
        torch.cat([motion[:2], motion.new_zeros(1)])[None],
        rays[None],
        after.bearing[None, matches.view],
        motion.new_ones(1, len(matches)),
        config.tokens.noise,
        prior[None],
        iterations=ITERATIONS,
        kernel=KERNEL,
    )
    if int((pose.chi2 < config.tokens.max_deviations**2).sum()) < FITTING:
        return None
    along, left = (way.mT @ pose.position[0])[:2].tolist()
    across = way[:, 1].double()
    std = float((across @ pose.covariance[0, 3:, 3:] @ across).sqrt() / length)
    return (math.atan2(left, along), std) if std < MOST_STD else None
