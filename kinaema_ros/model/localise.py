"""Where a photo was taken: its tokens attend to the memory's.

Vote: the photo's strongest tokens vote for embeddings. Propose: around each of the best-voted ones, all matches together
give a pose. Verify: for each pose, the embeddings around it say which tokens the photo must show, and where; what is
found there, and what is not, tells how good the pose is.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kinaema_ros.model.camera_pose import CameraPose, Rays, Upright, refine, search, stack
from kinaema_ros.model.config import KinaemaConfig, SearchConfig
from kinaema_ros.model.matching import Matches, match, rays
from kinaema_ros.model.se2 import apart, between, compose
from kinaema_ros.model.token_memory import TokenMemory
from kinaema_ros.model.tokens import Tokens, squares


@dataclass
class Evidence:
    """What speaks for a pose; each of them rises with how well it explains the photo, but for the tilt and height."""

    similarity: float  # sum over the photo's tokens of how much more alike than by chance their matches are
    share: float  # of the tokens that the photo must show, those that it shows
    best_share: float  # the same of the one embedding that fits best
    coverage: float  # of the photo's squares with tokens, those with a match
    inliers: int  # tokens of the photo that match
    roll: float  # radians, of the photo's camera
    pitch: float  # radians, the same
    height: float  # metres above the robot's base


@dataclass
class Hypothesis:
    """A pose from which the photo may have been taken."""

    place: int  # the embedding in whose frame it was found
    place_T_photo: Tensor  # (3,) float64, planar
    memory_T_photo: Tensor  # (3,) float64
    covariance: Tensor  # (3, 3) of place_T_photo, by the residuals' own noise
    evidence: Evidence


def hypotheses(
    config: KinaemaConfig, memory: TokenMemory, photo: Tokens, height: float | None
) -> list[Hypothesis]:
    """The poses (not ranked) from which a photo of C tokens may have been taken.

    height: metres, of the mount of the robot's own camera, if that took the photo; None: another one did.
    """
    limits = config.search
    used = (memory.count > 0).nonzero()[:, 0]
    if not len(used):
        return []
    votes = vote(limits, photo, memory.tokens.unpack_descriptors(used, limits.vote_stored))
    index = used[votes.topk(min(limits.shortlist, len(votes))).indices]
    tokens = memory.tokens.unpack(index)
    matches = match(photo.descriptor, tokens.descriptor, config.tokens.min_similarity)
    if not len(matches):
        return []
    proposed = propose(config, memory, photo, index, tokens, matches, height)
    found = [verify(config, memory, photo, place, pose, height) for place, pose in proposed]
    return [hypothesis for hypothesis in found if hypothesis is not None]


def vote(limits: SearchConfig, photo: Tokens, places: Tensor) -> Tensor:
    """How many of the photo's tokens find their like among descriptors (P, M, D) of places, and how alike: (P,)."""
    asked = photo.descriptor[: limits.vote_tokens]
    similarity = (asked @ places.flatten(0, 1).T).view(len(asked), *places.shape[:2]).amax(-1)
    return (similarity - limits.vote_similarity).clamp_min(0).sum(0)


def propose(
    config: KinaemaConfig,
    memory: TokenMemory,
    photo: Tokens,
    index: Tensor,
    tokens: Tokens,
    matches: Matches,
    height: float | None,
) -> list[tuple[int, CameraPose]]:
    """Poses (place, camera in its frame) by the matches with ``tokens`` (P, M) of places ``index`` (P,), best first."""
    limits = config.search
    pose, rise = memory.pose[index], memory.height[index]
    distance, turn = apart(pose[:, None], pose[None])  # (P, P)
    together = (distance < limits.group_distance) & (turn < limits.group_angle)
    beside = (distance < limits.group_distance / 3) & (turn < limits.group_angle / 2)
    strength = torch.zeros(len(index), device=index.device).index_add(
        0, matches.place, matches.similarity - config.tokens.min_similarity + 0.2
    )
    places, starts, stored, seen, tokens_of = [], [], [], [], []
    least = limits.min_strength * float(strength.max())
    for _ in range(limits.hypotheses):
        lead = int(strength.argmax())
        if strength[lead] <= least:
            break
        strength = strength.masked_fill(beside[lead], 0.0)
        mine = matches[together[lead][matches.place]]
        lead_T_place = between(pose[lead], pose).float()
        group = rays(tokens, mine.place, mine.token, lead_T_place, rise - rise[lead])
        directions = photo.bearing[mine.view]
        located = group.located
        # Nothing is located after turning on the spot: then the directions alone must do.
        if int(located.sum()) < limits.min_located:
            located = torch.ones_like(located)
        start = search(group.points[located], directions[located], limits.tolerance, limits.iterations)
        if start is not None:
            places.append(int(index[lead]))
            starts.append(start)
            near = agreeing(group, directions, *start, 2.0 * limits.tolerance)
            stored.append(group[near])
            seen.append(directions[near])
            tokens_of.append(mine.view[near])
    if not starts:
        return []
    rotation, position = (torch.stack(parts) for parts in zip(*starts, strict=True))
    group, directions, weight = stack(stored, seen)
    known = upright(limits, memory.height[torch.tensor(places, device=index.device)], height)
    refined = refine(
        rotation, position, group, directions, weight, config.tokens.noise, upright=known, iterations=4
    )
    fits = refined.chi2 < config.tokens.max_deviations**2
    # Several embeddings may hold one point: what counts is how much of the photo agrees.
    hits = torch.tensor(
        [len(torch.unique(view[fit[: len(view)]])) for view, fit in zip(tokens_of, fits, strict=True)],
        dtype=torch.float32,
        device=index.device,
    )
    off = known.off(refined.rotation, refined.position).square() * known.information()
    hits = torch.where((off < limits.max_off**2).all(-1), hits, 0.0)
    hits, order = hits.topk(min(limits.verified, len(hits)))
    best = order[(hits >= limits.min_hits * hits[0]) & (hits > 0)].tolist()
    return [(places[i], refined[i : i + 1]) for i in best]


def upright(limits: SearchConfig, rise: Tensor, height: float | None) -> Upright:
    """What is known of a photo's camera in the frames of places whose cameras were ``rise`` (B,) above the base."""
    if height is None:
        return Upright(limits.other_tilt_std, limits.other_height - rise, limits.other_height_std)
    return Upright(limits.own_tilt_std, height - rise, limits.own_height_std)


def agreeing(group: Rays, directions: Tensor, rotation: Tensor, position: Tensor, tolerance: float) -> Tensor:
    """Which matches (K,) a camera sees within ``tolerance`` radians, but for their own uncertainty, of where they are."""
    expected, blur = group.directions_from(position, rotation)
    off = torch.linalg.vector_norm(expected - directions, dim=-1)
    return off < tolerance + blur.clamp_max(tolerance)


def verify(
    config: KinaemaConfig,
    memory: TokenMemory,
    photo: Tokens,
    place: int,
    pose: CameraPose,
    height: float | None,
) -> Hypothesis | None:
    """Look again, for all tokens that the photo must show if it was taken there; None where too few are found."""
    limits = config.search
    if float(torch.linalg.vector_norm(pose.position[0])) > limits.max_distance:
        return None
    index = around(limits, memory, compose(memory.pose[place], pose.planar[0].double()))
    if not len(index):
        return None
    tokens = memory.tokens.unpack(index)
    owner, token = tokens.known.nonzero().unbind(-1)
    place_T_other = between(memory.pose[place], memory.pose[index]).float()
    stored = rays(tokens, owner, token, place_T_other, memory.height[index] - memory.height[place])
    descriptor = tokens.descriptor[owner, token]
    low, high = extent(photo)
    expected, _ = stored.directions_from(pose.position[0], pose.rotation[0])
    likely = inside(expected, low - 0.2, high + 0.2)
    stored, owner, descriptor = stored[likely], owner[likely], descriptor[likely]
    if len(owner) < limits.min_inliers:
        return None
    similarity = descriptor @ photo.descriptor.T  # (J, C)
    for radius in (limits.radius, 0.5 * limits.radius):
        expected, blur = stored.directions_from(pose.position[0], pose.rotation[0])
        visible = inside(expected, low, high) & (blur < 2.0 * radius)
        close = (expected @ photo.bearing.T > torch.cos(expected.new_tensor(radius))) & visible[:, None]
        allowed = torch.where(close, similarity, -1.0)
        best, view = allowed.max(1)
        # Several embeddings may hold the same point: each of them may match, if about as well as the best.
        found = (best > limits.guided_similarity) & (best > allowed.amax(0)[view] - 0.1)
        if int(found.sum()) < limits.min_inliers:
            return None
        matched, seen = stored[found], photo.bearing[view[found]]
        weight = torch.ones_like(matched.inverse_depth)
        pose = refine(
            pose.rotation,
            pose.position,
            matched[None],
            seen[None],
            weight[None],
            config.tokens.noise,
            upright=upright(limits, memory.height[place][None], height),
            iterations=4,
        )
    found = found.nonzero()[pose.chi2[0] < config.tokens.max_deviations**2, 0]
    if len(torch.unique(view[found])) < limits.min_inliers:
        return None
    expected, _ = stored.directions_from(pose.position[0], pose.rotation[0])
    visible = inside(expected, low, high)
    gain = torch.zeros_like(photo.quality).scatter_reduce(
        0, view[found], best[found] - limits.guided_similarity, "amax"
    )
    planar = pose.planar[0].double()
    above_base = float(pose.position[0, 2] + memory.height[place])
    return Hypothesis(
        place,
        planar,
        compose(memory.pose[place], planar),
        pose.planar_covariance[0].double(),
        evidence(limits, photo, pose, above_base, gain, owner[visible], owner[found], len(index)),
    )


def around(limits: SearchConfig, memory: TokenMemory, memory_T_photo: Tensor) -> Tensor:
    """The embeddings (J,) nearest to a pose, with about its heading."""
    distance, turn = apart(memory_T_photo, memory.pose)
    cost = torch.where((memory.count > 0) & (turn < limits.nearby_angle), distance + 0.7 * turn, torch.inf)
    nearest = cost.topk(min(limits.nearby, len(cost)), largest=False)
    return nearest.indices[nearest.values < limits.nearby_distance]


def extent(photo: Tokens) -> tuple[Tensor, Tensor]:
    """The corners (2,), (2,) of the part of the photo, as tangents to the left and up, in which it has tokens."""
    tangent = _tangent(photo.bearing[photo.known])
    return tangent.amin(0), tangent.amax(0)


def inside(direction: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Which directions (J, 3) in the camera's axes lie between these corners of the photo: (J,) bool."""
    tangent = _tangent(direction)
    return (direction[:, 0] > 0.1) & ((tangent > low) & (tangent < high)).all(-1)


def _tangent(direction: Tensor) -> Tensor:
    return direction[:, 1:] / direction[:, :1].clamp_min(0.1)


def evidence(
    limits: SearchConfig,
    photo: Tokens,
    pose: CameraPose,
    height: float,
    gain: Tensor,
    visible: Tensor,
    found: Tensor,
    places: int,
) -> Evidence:
    """Count what was found: gain (C,) of the photo's tokens; the places of the tokens to be seen, and of those found."""
    shown, hits = torch.bincount(visible, minlength=places), torch.bincount(found, minlength=places)
    square = squares(photo.bearing, limits.coverage_cell)
    roll, pitch = pose.tilt[0].tolist()
    return Evidence(
        similarity=float(gain.sum()),
        share=len(found) / max(len(visible), 30),
        best_share=float((hits / shown.clamp_min(20)).max()),
        coverage=len(torch.unique(square[gain > 0])) / len(torch.unique(square[photo.known])),
        inliers=int((gain > 0).sum()),
        roll=roll,
        pitch=pitch,
        height=height,
    )
