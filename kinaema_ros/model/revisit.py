"""Recognition of an old place in the present view, by which drift is corrected."""

from __future__ import annotations

import torch
from torch import Tensor

from kinaema_ros.model.camera_pose import Upright, refine, search
from kinaema_ros.model.config import KinaemaConfig
from kinaema_ros.model.matching import match, rays
from kinaema_ros.model.pose_graph import LoopClosure
from kinaema_ros.model.se2 import apart, between
from kinaema_ros.model.token_memory import TokenMemory
from kinaema_ros.model.tokens import Tokens


def find_revisit(
    config: KinaemaConfig, memory: TokenMemory, view: Tokens, height: float
) -> LoopClosure | None:
    """The old place that the present view (C tokens) shows, or None where none is sure.

    Only places around where odometry expects the robot are asked: of look-alikes elsewhere nothing is believed. Nor is
    a pose that tilts a view which is level: matches that are wrong together find one. height: metres, of the camera.
    """
    limits = config.revisit
    index = candidates(config, memory)
    if not len(index):
        return None
    tokens = memory.tokens.unpack(index)
    matches = match(view.descriptor, tokens.descriptor, config.tokens.min_similarity)
    if len(matches) < limits.min_inliers:
        return None
    lead = int(torch.bincount(matches.place).argmax())
    place = index[lead]
    lead_T_place = between(memory.pose[place], memory.pose[index]).float()
    stored = rays(
        tokens, matches.place, matches.token, lead_T_place, memory.height[index] - memory.height[place]
    )
    seen = view.bearing[matches.view]
    located = stored.located
    first = search(stored.points[located], seen[located], 3.0 * config.tokens.noise, limits.iterations)
    if first is None:
        return None
    rotation, position = first
    weight = torch.ones_like(stored.inverse_depth)
    pose = refine(
        rotation[None],
        position[None],
        stored[None],
        seen[None],
        weight[None],
        config.tokens.noise,
        upright=Upright(limits.tilt_std, height - memory.height[place][None], limits.height_std),
        kernel=config.tokens.kernel,
    )
    fits = pose.chi2[0] < config.tokens.max_deviations**2
    covariance = pose.planar_covariance[0]
    variance = torch.stack([(covariance[0, 0] + covariance[1, 1]) / 2.0, covariance[2, 2]])
    place_T_robot = pose.planar[0].double()
    off, turn = apart(between(memory.pose[place], memory.robot), place_T_robot)
    sure = (
        len(torch.unique(matches.view[fits])) >= limits.min_inliers
        and 2.0 * float(variance[0]) < limits.max_std**2
        and float(off) < limits.max_distance
        and float(turn) < limits.max_turn
        and float(pose.tilt[0].abs().max()) < limits.max_tilt
    )
    if not sure:
        return None
    own = torch.tensor([limits.position_std, limits.yaw_std], dtype=torch.float64, device=variance.device)
    return LoopClosure(
        place,
        place_T_robot,
        limits.inflation * variance + own**2,
    )


def candidates(config: KinaemaConfig, memory: TokenMemory) -> Tensor:
    """The embeddings (J,) around where odometry expects the robot that were not written lately, the nearest first."""
    limits = config.revisit
    distance, turn = apart(memory.robot, memory.pose)
    old = (memory.count > 0) & (memory.written < memory.updates - limits.min_age)
    near = old & (distance < limits.max_distance) & (turn < limits.max_angle)
    cost = torch.where(near, distance + turn, torch.inf)
    return cost.topk(min(limits.candidates, int(near.sum())), largest=False).indices
