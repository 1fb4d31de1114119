"""The recurrent cell: N embeddings of local tokens, corrected by a view, contextualised, gated one by one.

After Kinaema (arXiv 2510.20261), on tokens. Correct: the view's tokens attend to those of the window, the embeddings of
the newest views; where two show one point, the parallax between them tells its distance, and what does not fit loses its
worth. Contextualise: a view that leaves the window and an old embedding of the same place become one: tokens of one
point are merged, the best of all stay. Gate: each token changes by its own certainty, each embedding by its address, the
pose. The work of an update does not depend on how many came before it.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from kinaema_ros.model import pose_graph
from kinaema_ros.model.camera_pose import (
    CameraPose,
    Rays,
    planar_rotation,
    refine,
    rotation_tilt,
    tilt_rotation,
)
from kinaema_ros.model.config import KinaemaConfig
from kinaema_ros.model.folding import bounded, choose, fold, merge
from kinaema_ros.model.matching import Matches, fuse, match, parallax, rays
from kinaema_ros.model.pose_graph import NONE, LoopClosure, PoseGraph
from kinaema_ros.model.revisit import find_revisit
from kinaema_ros.model.se2 import apart, between, compose, inverse
from kinaema_ros.model.token_memory import TokenMemory
from kinaema_ros.model.tokens import Tokens, pack

# Deviations, metres and radians, of a camera that was found in an old memory.
RELOCATED_POSITION, RELOCATED_YAW = 0.15, 0.03


def update(
    config: KinaemaConfig, memory: TokenMemory, view: Tokens, odometry: Tensor, height: float = 0.0
) -> TokenMemory:
    """Fold one view (C tokens) into the memory.

    odometry (3,) float64: the camera's planar pose in the odom frame; height: metres, of its mount.
    """
    memory = follow(config, memory, odometry)
    memory, view = correct(config, memory, view, height)
    memory = close_oldest(config, memory)
    memory = keep(config, memory, view, height)
    if config.revisit.enabled:
        loop = find_revisit(config, memory, view, float(memory.tilt[2]) + height)
        if loop is not None:
            memory = believe(config, memory, loop)
        if int(memory.updates) % config.pose_graph.optimise_every == 0:
            memory = settle(config, memory)
    return memory


def follow(config: KinaemaConfig, memory: TokenMemory, odometry: Tensor) -> TokenMemory:
    """Move the robot by the odometry's motion since the last update; nothing moves at the first one."""
    first = memory.updates == 0
    motion = torch.where(first, 0.0, between(memory.odometry, odometry))
    return replace(
        memory,
        robot=compose(memory.robot, motion),
        odometry=odometry,
        updates=memory.updates + 1,
        graph=pose_graph.propagate(config.pose_graph, memory.graph, motion),
    )


def relocate(memory: TokenMemory, memory_T_camera: Tensor, odometry: Tensor) -> TokenMemory:
    """The memory with the camera at ``memory_T_camera`` (3,), where an odometry that began anew says ``odometry`` (3,).

    No view of before is in its window any more. From the embedding nearest to it the way goes on.
    """
    nearest = memory.nearest(memory_T_camera)
    return replace(
        memory,
        window_slot=torch.full_like(memory.window_slot, NONE),
        tilt=torch.zeros_like(memory.tilt),
        robot=memory_T_camera,
        odometry=odometry,
        graph=replace(
            memory.graph,
            anchor=nearest,
            anchor_T_robot=between(memory.pose[nearest], memory_T_camera),
            variance=memory_T_camera.new_tensor([RELOCATED_POSITION**2, RELOCATED_YAW**2]),
        ),
    )


def believe(config: KinaemaConfig, memory: TokenMemory, loop: LoopClosure) -> TokenMemory:
    """Learn from a loop how well the odometry does, and keep it, unless no drift explains how far off it is.

    Shelves that repeat have loops that are wrong by whole shelves, one after the other, and all of them are sure.
    """
    graph = memory.graph
    off, turn = apart(loop.place_T_robot, between(memory.pose[loop.place], memory.robot))
    innovation = torch.stack([off, turn]) ** 2

    def drift(graph: PoseGraph) -> Tensor:
        return pose_graph.drift(config.pose_graph, graph, memory.pose, loop.place[None])[0]

    expected = drift(graph)
    learned = pose_graph.learn_noise(config.pose_graph, graph, innovation, expected, loop.variance)
    limit = config.revisit.max_deviations**2
    if bool((innovation > limit * (expected + loop.variance)).any()):
        # Odometry that did better than configured until now may do as badly from here on.
        expected = drift(replace(graph, noise=graph.noise.clamp_min(1.0)))
        if bool((innovation > limit * (expected + loop.variance)).any()):
            return replace(memory, graph=learned)
    return replace(memory, graph=pose_graph.add_loop(config.pose_graph, learned, memory.pose, loop))


def settle(config: KinaemaConfig, memory: TokenMemory) -> TokenMemory:
    """Move all embeddings to where their relations agree, and the robot with the one it stands by.

    Relations say nothing of where all of it lies: the oldest place stays where it is.
    """
    pose = pose_graph.optimise(config.pose_graph, memory.graph, memory.pose)
    oldest = pose_graph.root(config.pose_graph, memory.graph)
    pose = compose(compose(memory.pose[oldest], inverse(pose[oldest])), pose)
    graph = pose_graph.narrow(config.pose_graph, memory.graph)
    return replace(memory, pose=pose, robot=pose_graph.robot(graph, pose), graph=graph)


def correct(
    config: KinaemaConfig, memory: TokenMemory, view: Tokens, height: float
) -> tuple[TokenMemory, Tokens]:
    """The view's and the window's tokens tell each other's distances and worth.

    Returns the view as a level camera would have it, which is ``tilt[2]`` above the mount.
    """
    viewed = memory.viewed
    if not len(viewed):
        return replace(memory, tilt=torch.zeros_like(memory.tilt)), view
    window = memory.window.unpack(viewed)
    slot = memory.window_slot[viewed]
    matches = match(view.descriptor, window.descriptor, config.tokens.min_similarity)
    robot_T_slot = between(memory.robot, memory.pose[slot]).float()
    stored = rays(window, matches.place, matches.token, robot_T_slot, memory.height[slot] - height)
    tilt, pose = find_tilt(config, memory, stored, view.bearing[matches.view])
    if pose is not None and config.window.heading_by_sight:
        memory = turn(config, memory, pose)
    view = replace(view, bearing=view.bearing @ tilt_rotation(tilt[:2]).mT)
    if bool(tilt.any()):
        memory, window, view, tilt = relevel(config, memory, window, view, tilt)
    slot_T_robot = between(memory.pose[slot], memory.robot).float()
    rise = tilt[2] + height - memory.height[slot]
    window, view = triangulate(config, window, view, matches, slot_T_robot, rise)
    return replace(memory, tilt=tilt, window=memory.window.put(viewed, pack(window))), view


def relevel(
    config: KinaemaConfig, memory: TokenMemory, window: Tokens, view: Tokens, tilt: Tensor
) -> tuple[TokenMemory, Tokens, Tokens, Tensor]:
    """Turn the window (P, C), the view (C,) and its ``tilt`` (3,) together a little back towards level.

    A view's tilt is against the window's views, whose own was against those before: nothing but that robots and heads are
    level most of the time keeps their errors from adding up. What the views say of each other stays as it is.
    """
    limits, slot = config.window, memory.window_slot[memory.viewed]
    back = tilt * tilt.new_tensor([limits.levelled_roll, limits.levelled_pitch, limits.levelled_height])
    turned = tilt_rotation(-back[:2])  # in the axes of the robot's heading
    slot_R_robot = planar_rotation(between(memory.pose[slot], memory.robot)[:, 2].float())
    window = replace(window, bearing=window.bearing @ (slot_R_robot @ turned @ slot_R_robot.mT).mT)
    view = replace(view, bearing=view.bearing @ turned.mT)
    left = rotation_tilt(turned @ tilt_rotation(tilt[:2]))
    tilt = torch.cat([left, (tilt - back)[2:]])
    height = memory.height.index_put((slot,), memory.height[slot] - back[2])
    return replace(memory, height=height), window, view, tilt


def turn(config: KinaemaConfig, memory: TokenMemory, pose: CameraPose) -> TokenMemory:
    """The robot's heading as it sees it by the window's tokens, ``pose`` (1,) where odometry expects it to be at 0.

    Odometry and sight have their say by their variances; how much the odometry errs is learned from how far the two are
    apart. The position stays the odometry's: what is seen of it rests on distances, which rest on the odometry.
    """
    graph, yaw = memory.graph, pose.planar[0, 2].double()
    by_matches = config.window.inflation * pose.planar_covariance[0, 2, 2]
    measured = by_matches + (config.window.turn_share * graph.anchor_T_robot[2]) ** 2
    expected = graph.variance[1] * graph.noise[1]
    graph = pose_graph.learn_yaw_noise(
        config.pose_graph, graph, yaw**2, expected, measured, int(memory.updates)
    )
    learning = int(memory.updates) <= config.window.size
    if learning or yaw**2 > config.tokens.max_deviations**2 * (expected + measured):
        return replace(memory, graph=graph)
    share = expected / (expected + measured)
    correction = F.pad((share * yaw)[None], (2, 0))
    return replace(
        memory,
        robot=compose(memory.robot, correction),
        graph=replace(
            graph,
            anchor_T_robot=compose(graph.anchor_T_robot, correction),
            variance=graph.variance * torch.stack([torch.ones_like(share), 1.0 - share]),
        ),
    )


def find_tilt(
    config: KinaemaConfig, memory: TokenMemory, stored: Rays, seen: Tensor
) -> tuple[Tensor, CameraPose | None]:
    """Roll, pitch and height (3,) of the view's camera, by what it sees (J, 3) of the window's tokens ``stored`` (J,).

    On a level robot all three are 0, and noise must not make them wander; a camera on a head nods. So a tilt is
    believed only where markedly more matches fit with it than without. Returns also a level camera's pose (1,), which
    odometry expects to be 0; None: it is tilted, or too little is seen. How a tilted one is turned is not seen well enough.
    """
    limits, noise, last = config.window, config.tokens.noise, memory.tilt
    if len(seen) < limits.min_matches:
        return last, None
    tilt = torch.stack([torch.zeros_like(last), last])
    position = F.pad(tilt[:, 2:], (2, 0))
    pose = refine(
        tilt_rotation(tilt[:, :2]),
        position,
        Rays(*(part.expand(2, *part.shape) for part in vars(stored).values())),
        seen.expand(2, *seen.shape),
        torch.ones(2, len(seen), device=seen.device),
        noise,
        _tilt_prior(config, memory),
        iterations=8,
        kernel=config.tokens.kernel,
    )
    level, free = (pose.chi2 < config.tokens.max_deviations**2).sum(-1).tolist()
    if free > limits.tilt_gain * level + limits.min_fit:
        return torch.cat([pose.tilt[1], pose.position[1, 2:]]), None
    return (torch.zeros_like(last), pose[:1]) if level >= limits.min_level else (last, None)


def _tilt_prior(config: KinaemaConfig, memory: TokenMemory) -> Tensor:
    """Information (2, 6, 6) about rotation and position of a level camera and of one that nods."""
    limits, like = config.window, memory.tilt
    position, yaw = limits.planar_std, limits.yaw_std
    if limits.heading_by_sight:
        step = pose_graph.step_variance(config.pose_graph, memory.graph).sqrt().tolist()
        position = min(step[0] / 4.0, position)  # must not take up what the heading explains
    planar = [yaw, position, position]
    level = [limits.level_std, limits.level_std, *planar, limits.rise_std]
    free = [limits.tilt_std, limits.tilt_std, *planar, limits.height_std]
    return torch.diag_embed(torch.tensor([level, free], dtype=like.dtype, device=like.device) ** -2)


def triangulate(
    config: KinaemaConfig,
    window: Tokens,
    view: Tokens,
    matches: Matches,
    slot_T_robot: Tensor,
    rise: Tensor,
) -> tuple[Tokens, Tokens]:
    """Window (P, C) and view (C,), in which matched tokens are placed by parallax and judged by whether they fit.

    slot_T_robot (P, 3), rise (P,): of the view against each of the window's.
    """
    limits = config.tokens
    place, token, index = matches.place, matches.token, matches.view
    bearing, seen = window.bearing[place, token], view.bearing[index]
    pose, rises = slot_T_robot[place], rise[place]
    depth, std, missed = parallax(pose, rises, bearing, seen, limits.noise)
    view_depth, view_std, _ = parallax(
        between(pose, torch.zeros_like(pose)), -rises, seen, bearing, limits.noise
    )
    old, old_std = window.inverse_depth[place, token], window.depth_std[place, token]
    off = (depth - old).abs() * (std**2 + old_std**2).rsqrt()
    fits = (missed < limits.max_deviations) & (off < limits.max_deviations) & (depth > -2.0 * std)
    moved = torch.linalg.vector_norm(pose[:, :2], dim=-1) > config.window.min_distance
    placed = fits & moved
    vote = torch.where(fits, limits.evidence, -limits.evidence)

    at = (place[placed], token[placed])
    depth, std = fuse(old[placed], old_std[placed], depth[placed], std[placed])
    window = replace(
        window,
        inverse_depth=window.inverse_depth.index_put(at, depth),
        depth_std=window.depth_std.index_put(at, std),
        quality=window.quality.index_put((place, token), vote, accumulate=True),
    )
    # A token of the view may be in several views of the window.
    more = torch.where(placed, view_std**-2, 0.0)
    information = (view.depth_std**-2).index_add(0, index, more)
    weighted = (view.inverse_depth * view.depth_std**-2).index_add(0, index, more * view_depth)
    view = replace(
        view,
        inverse_depth=weighted / information,
        depth_std=information.rsqrt(),
        quality=view.quality.index_add(0, index, vote),
    )
    return bounded(window), bounded(view)


def close_oldest(config: KinaemaConfig, memory: TokenMemory) -> TokenMemory:
    """The oldest view leaves the window: into an old embedding of its place, or it stays one of its own."""
    oldest = _oldest(config, memory)
    slot = int(memory.window_slot[oldest])
    if slot == NONE:
        return memory
    leaving = memory.window_slot.index_put((oldest,), torch.full_like(memory.window_slot[oldest], NONE))
    memory = replace(memory, window_slot=leaving)
    limits = config.fold
    distance, turn = apart(memory.pose[slot], memory.pose)
    distance, turn = distance / limits.max_distance, turn / limits.max_angle
    near = memory.closed & (distance < 1) & (turn < 1)
    near[slot] = False
    if not near.any():
        return memory
    nearest = int(torch.where(near, distance + turn, torch.inf).argmin())
    return fold(config, memory, slot, nearest, limits.min_matches)


def _oldest(config: KinaemaConfig, memory: TokenMemory) -> Tensor:
    return (memory.updates - 1) % config.window.size


def keep(config: KinaemaConfig, memory: TokenMemory, view: Tokens, height: float) -> TokenMemory:
    """The view takes an embedding of its own and a place in the window, and the window's embeddings their best tokens.

    Where none is free, two of one place become one.
    """
    if not (memory.count == 0).any():
        memory = merge(config, memory)
    slot = (memory.count == 0).float().argmax()
    oldest = _oldest(config, memory)
    memory = replace(
        memory,
        pose=memory.pose.index_put((slot,), memory.robot),
        height=memory.height.index_put((slot,), memory.tilt[2] + height),
        count=memory.count.index_put((slot,), torch.ones_like(memory.count[slot])),
        written=memory.written.index_put((slot,), memory.updates),
        window=memory.window.put(oldest[None], pack(view[None])),
        window_slot=memory.window_slot.index_put((oldest,), slot),
        graph=pose_graph.add_child(config.pose_graph, memory.graph, slot),
    )
    viewed = memory.viewed
    best = pack(choose(config, memory.window.unpack(viewed)))
    return replace(memory, tokens=memory.tokens.put(memory.window_slot[viewed], best))
