"""Where a photo was taken: its tokens attend to the memory's.

Vote: the photo's strongest tokens vote for embeddings. Propose: around each of the best-voted ones, all matches together
give a pose. Verify: for each pose, the embeddings around it say which tokens the photo must show, and where; what is
found there, and what is not, tells how good the pose is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import compress

import torch
import torch.nn.functional as F
from torch import Tensor

from kinaema_ros.model.camera_pose import CameraPose, Rays, Upright, refine, search, search_motion, stack
from kinaema_ros.model.config import KinaemaConfig, SearchConfig
from kinaema_ros.model.matching import Matches, match, positive, rays
from kinaema_ros.model.se2 import apart, between, compose
from kinaema_ros.model.token_memory import TokenMemory
from kinaema_ros.model.tokens import Tokens, squares

DEPTH_DEVIATIONS = 2.0  # within which a token's distance is looked for
AT_ONCE = 8  # places voted for at a time: what comes of it fits into a processor's cache


@dataclass
class Evidence:
    """What speaks for a pose; each of them rises with how well it explains the photo, but for the tilt and height.

    A token of unknown distance may be seen at many places, and matches by chance: it counts for less.
    """

    similarity: float  # sum over the photo's tokens of how much more alike than by chance their matches are
    share: float  # of the tokens that the photo must show, those that it shows
    best_share: float  # the same of the one embedding that fits best
    coverage: float  # of the photo's squares with tokens, those with a match
    inliers: float  # tokens of the photo that match
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
    tokens = unpack(config, memory, index)
    matches = match(photo.descriptor, tokens.descriptor, config.tokens.min_similarity)
    if not len(matches):
        return []
    proposed = propose(config, memory, photo, index, tokens, matches, height)
    return verify(config, memory, photo, proposed, height)


def unpack(config: KinaemaConfig, memory: TokenMemory, index: Tensor) -> Tokens:
    """The tokens of the places ``index``; those of unknown distance about as far off as things in rooms are."""
    tokens = memory.tokens.unpack(index)
    of_prior = (
        tokens.depth_std / config.tokens.prior_depth_std
    ) ** 2  # share of what is known that the prior tells
    other = config.search.usual_depth - config.tokens.prior_depth
    return replace(tokens, inverse_depth=tokens.inverse_depth + of_prior * other)


def vote(limits: SearchConfig, photo: Tokens, places: Tensor) -> Tensor:
    """How many of the photo's tokens find their like among descriptors (P, M, D) of places, and how alike: (P,)."""
    asked = photo.descriptor[: limits.vote_tokens].T
    # Parts whose similarities stay in the processor's cache take a quarter less time than all at once.
    similarity = torch.cat([(part @ asked).amax(1) for part in places.split(AT_ONCE)])  # (P, tokens asked)
    return (similarity - limits.vote_similarity).clamp_min(0).sum(1)


@dataclass
class Start:
    """A first pose by the matches of a group of embeddings, and the K matches that agree on it."""

    place: int  # the embedding that leads the group, in whose frame the pose is
    rotation: Tensor  # (3, 3)
    position: Tensor  # (3,)
    stored: Rays  # (K,)
    seen: Tensor  # (K, 3)
    view: Tensor  # (K,) tokens of the photo


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
    starts = []
    for lead in leads(config, matches, beside):
        mine = matches[together[lead][matches.place]]
        lead_T_place = between(pose[lead], pose).float()
        stored = rays(tokens, mine.place, mine.token, lead_T_place, rise - rise[lead])
        start = begin(limits, photo, int(index[lead]), stored, mine.view)
        if start is not None:
            starts.append(start)
    if not starts:
        return []
    refined = refine_all(
        config,
        memory,
        starts,
        [start.stored for start in starts],
        [start.seen for start in starts],
        height,
        iterations=6,
    )
    fits = refined.chi2 < config.tokens.max_deviations**2
    # Several embeddings may hold one point: what counts is how much of the photo agrees.
    hits = [
        len(torch.unique(start.view[fit[: len(start.view)]])) for start, fit in zip(starts, fits, strict=True)
    ]
    order = sorted(range(len(hits)), key=lambda number: -hits[number])[: limits.verified]
    least = limits.min_hits * hits[order[0]]
    places = torch.tensor([start.place for start in starts], device=index.device)
    found = compose(memory.pose[places], refined.planar.double())
    distance, turn = apart(found[:, None], found)
    same = (distance < limits.same_distance) & (turn < limits.same_angle)
    kept: list[int] = []
    for number in order:
        if hits[number] >= least and not same[number, kept].any():
            kept.append(number)
    return [(starts[i].place, refined[i : i + 1]) for i in kept]


def leads(config: KinaemaConfig, matches: Matches, beside: Tensor) -> Iterator[int]:
    """The places (of P) with the most and best matches, none beside (P, P) an earlier one."""
    limits = config.search
    strength = torch.zeros(len(beside), device=beside.device).index_add(
        0, matches.place, matches.similarity - config.tokens.min_similarity + 0.2
    )
    least = limits.min_strength * float(strength.max())
    for _ in range(limits.hypotheses):
        lead = int(strength.argmax())
        if strength[lead] <= least:
            return
        yield lead
        strength = strength.masked_fill(beside[lead], 0.0)


def begin(limits: SearchConfig, photo: Tokens, place: int, stored: Rays, view: Tensor) -> Start | None:
    """The pose at which most of the matches between ``stored`` (J,) and the photo's tokens ``view`` (J,) agree."""
    seen = photo.bearing[view]
    start = begin_at_points(limits, place, stored, seen, view)
    agreed = 0 if start is None else len(start.view)
    here = torch.linalg.vector_norm(stored.origin, dim=-1) < limits.one_spot
    if int((here & ~stored.located).sum()) <= agreed:
        return start
    by_motion = begin_at_directions(limits, place, stored[here], seen[here], view[here])
    return by_motion if by_motion is not None and len(by_motion.view) > agreed else start


def begin_at_points(
    limits: SearchConfig, place: int, stored: Rays, seen: Tensor, view: Tensor
) -> Start | None:
    """By the matches (J,) of known distance."""
    located = stored.located
    if int(located.sum()) < limits.min_located:
        return None
    found = search(stored.points[located], seen[located], limits.tolerance, limits.iterations)
    if found is None:
        return None
    near = agreeing(stored, seen, *found, 2.0 * limits.tolerance)
    return Start(place, *found, stored[near], seen[near], view[near])


def begin_at_directions(
    limits: SearchConfig, place: int, stored: Rays, seen: Tensor, view: Tensor
) -> Start | None:
    """By directions alone, all from about one spot (J,): of what a robot saw turning on the spot no distance is known.

    They tell the photo's heading and in which direction it lies; how far, what is likely of distances will tell.
    """
    motion = search_motion(stored.direction, seen, 0.5 * limits.tolerance)
    if motion is None:
        return None
    rotation, towards, fits = motion
    return Start(place, rotation, limits.first_distance * towards, stored[fits], seen[fits], view[fits])


def refine_all(
    config: KinaemaConfig,
    memory: TokenMemory,
    first: Sequence[Start | Expected],
    stored: list[Rays],
    seen: list[Tensor],
    height: float | None,
    iterations: int,
) -> CameraPose:
    """The poses nearest to the first ones at which the tokens ``stored`` are ``seen``, one set (K, ...) of each."""
    tokens, directions, weight = stack(stored, seen)
    return refine(
        torch.stack([one.rotation for one in first]),
        torch.stack([one.position for one in first]),
        tokens,
        directions,
        weight,
        config.tokens.noise,
        upright=upright(config.search, torch.stack([memory.height[one.place] for one in first]), height),
        iterations=iterations,
    )


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


@dataclass
class Expected:
    """What the embeddings around a pose hold in front of a camera there: J tokens, and P of the photo's like them."""

    place: int  # the embedding in whose frame the pose is
    rotation: Tensor  # (3, 3) of the camera
    position: Tensor  # (3,)
    stored: Rays  # (J,)
    owner: Tensor  # (J,) which of the embeddings around the pose holds it
    token: Tensor  # (P,) of the J
    view: Tensor  # (P,) of the photo's
    similarity: Tensor  # (P,)
    embeddings: int  # around the pose

    def found(self, photo: Tokens, radius: float) -> Tensor:
        """Which pairs (of the P) show one point: about where the token may be, and the likest there of both sides."""
        seen = photo.bearing[self.view]
        cosine = self.stored[self.token].cosine_to(seen, self.position, self.rotation, DEPTH_DEVIATIONS)
        close = cosine > math.cos(radius)
        similarity = torch.where(close, self.similarity, -1.0)
        of_token = similarity.new_full((len(self.owner),), -1.0).scatter_reduce(
            0, self.token, similarity, "amax"
        )
        of_view = torch.full_like(photo.quality, -1.0).scatter_reduce(0, self.view, similarity, "amax")
        # Several embeddings may hold the same point: each of them may match, if about as well as the best.
        best = (similarity >= of_token[self.token]) & (similarity > of_view[self.view] - 0.1)
        return (close & best).nonzero()[:, 0]


def verify(
    config: KinaemaConfig,
    memory: TokenMemory,
    photo: Tokens,
    proposed: list[tuple[int, CameraPose]],
    height: float | None,
) -> list[Hypothesis]:
    """Look again, for all tokens that the photo must show if it was taken there; without those that find too few."""
    limits, size = config.search, extent(photo)
    shown = [expect(config, memory, photo, place, pose, size) for place, pose in proposed]
    views = [one for one in shown if one is not None]
    for radius, iterations in ((limits.radius, 2), (0.5 * limits.radius, 3)):
        found = [one.found(photo, radius) for one in views]
        enough = [len(pairs) >= limits.min_inliers for pairs in found]
        views, found = list(compress(views, enough)), list(compress(found, enough))
        if not views:
            return []
        refined = refine_all(
            config,
            memory,
            views,
            [one.stored[one.token[pairs]] for one, pairs in zip(views, found, strict=True)],
            [photo.bearing[one.view[pairs]] for one, pairs in zip(views, found, strict=True)],
            height,
            iterations,
        )
        views = [
            replace(one, rotation=rotation, position=position)
            for one, rotation, position in zip(views, refined.rotation, refined.position, strict=True)
        ]
    hypotheses = []
    for number, (one, pairs) in enumerate(zip(views, found, strict=True)):
        pairs = pairs[refined.chi2[number, : len(pairs)] < config.tokens.max_deviations**2]
        if len(torch.unique(one.view[pairs])) >= limits.min_inliers:
            pose = refined[number : number + 1]
            place_T_photo = pose.planar[0].double()
            hypotheses.append(
                Hypothesis(
                    one.place,
                    place_T_photo,
                    compose(memory.pose[one.place], place_T_photo),
                    pose.planar_covariance[0] + of_scale(config, place_T_photo, one.stored[one.token[pairs]]),
                    evidence(limits, photo, pose, memory, one, pairs, size),
                )
            )
    return hypotheses


def of_scale(config: KinaemaConfig, place_T_photo: Tensor, fitting: Rays) -> Tensor:
    """The covariance (3, 3) of a pose by what no residual shows: unknown distances are all too near or all too far.

    fitting: the K tokens that it rests on. Nothing where most of their distances are known.
    """
    share = float((~fitting.located).double().mean())
    relative = config.tokens.prior_depth_std / config.search.usual_depth
    variance = (relative * share**2) ** 2 * place_T_photo[:2].square().sum()
    return torch.diag(F.pad(variance.expand(2), (0, 1)))


def expect(
    config: KinaemaConfig,
    memory: TokenMemory,
    photo: Tokens,
    place: int,
    pose: CameraPose,
    size: tuple[Tensor, Tensor],
) -> Expected | None:
    """What a photo of this ``extent`` shows if it was taken at about ``pose``; None where nobody was or saw enough."""
    limits, rotation, position = config.search, pose.rotation[0], pose.position[0]
    if float(torch.linalg.vector_norm(position)) > limits.max_distance:
        return None
    index = around(limits, memory, compose(memory.pose[place], pose.planar[0].double()))
    if not len(index):
        return None
    tokens = unpack(config, memory, index)
    owner, token = tokens.known.nonzero().unbind(-1)
    place_T_other = between(memory.pose[place], memory.pose[index]).float()
    stored = rays(tokens, owner, token, place_T_other, memory.height[index] - memory.height[place])
    low, high = size
    expected, blur = stored.directions_from(position, rotation)
    likely = inside(expected, low - 0.2, high + 0.2)
    stored, owner, token = stored[likely], owner[likely], token[likely]
    expected, blur = expected[likely], blur[likely]
    if len(owner) < limits.min_inliers:
        return None
    similarity = tokens.descriptor[owner, token] @ photo.descriptor.T  # (J, C)
    reach = 4.0 * limits.radius  # no step of the pose will turn or move a token farther
    likely_within = torch.where(
        blur < limits.radius, math.cos(reach + DEPTH_DEVIATIONS * limits.radius), -1.0
    )
    near = expected @ photo.bearing.T - likely_within[:, None]  # of most tokens this tells enough
    of, view = positive(torch.minimum(similarity - limits.guided_similarity, near))
    cosine = stored[of].cosine_to(photo.bearing[view], position, rotation, DEPTH_DEVIATIONS)
    close = cosine > math.cos(reach)
    of, view = of[close], view[close]
    return Expected(place, rotation, position, stored, owner, of, view, similarity[of, view], len(index))


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
    memory: TokenMemory,
    expected: Expected,
    pairs: Tensor,
    size: tuple[Tensor, Tensor],
) -> Evidence:
    """Count what was found: ``pairs`` of the expected tokens, in a photo of this ``extent``."""
    direction, blur = expected.stored.directions_from(pose.position[0], pose.rotation[0])
    weight = limits.radius / (limits.radius + blur)  # (J,)
    visible = inside(direction, *size)
    token, view, owner = expected.token[pairs], expected.view[pairs], expected.owner

    def of_embeddings(tokens: Tensor) -> Tensor:
        return weight.new_zeros(expected.embeddings).index_add(0, owner[tokens], weight[tokens])

    def best(values: Tensor, index: Tensor, number: int) -> Tensor:
        return weight.new_zeros(number).scatter_reduce(0, index, values, "amax")

    gain = (expected.similarity[pairs] - limits.guided_similarity) * weight[token]
    of_view = best(weight[token], view, len(photo.quality))
    seen = photo.known
    _, square = torch.unique(squares(photo.bearing[seen], limits.coverage_cell), return_inverse=True)
    roll, pitch = pose.tilt[0].tolist()
    hits, shown = of_embeddings(token), of_embeddings(visible.nonzero()[:, 0])
    return Evidence(
        similarity=float(best(gain, view, len(photo.quality)).sum()),
        share=float(hits.sum() / shown.sum().clamp_min(30.0)),
        best_share=float((hits / shown.clamp_min(20.0)).max()),
        coverage=float(best(of_view[seen], square, int(square.max()) + 1).mean()),
        inliers=float(of_view.sum()),
        roll=roll,
        pitch=pitch,
        height=float(pose.position[0, 2] + memory.height[expected.place]),
    )
