"""Where a camera stands, from what it sees of known points: all six degrees of freedom.

A match pairs a token, a ray with an inverse depth and its deviation, with the direction in which the camera sees it. A
robust search finds a first pose, Gauss and Newton's method the best one, in which every token's inverse depth is a
variable of its own: a token of unknown distance then tells the heading and nothing false. Cameras have their x axis
ahead, y to the left and z up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

OPTICAL_R_CAMERA = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
MAX_ANGLE = 1.2  # radians from the middle of the view: P3P sees points through a pinhole
FARTHEST = 50.0  # metres; what is farther off tells no position
LEAST_INFORMATION = 1e-6  # 1/rad^2 and 1/m^2, of a pose of which nothing is known
LEAST_MOTION = 6  # points that tell a motion: any five fit one
ONLY_TURNED = 0.7  # share of these that a turn alone explains
WIDE = 3.0  # deviations beyond which a match loses its say where a pose is not nearly known
BEHIND = 1e6  # deviations squared of what would be behind the camera


@dataclass
class Rays:
    """K tokens in one common frame: from where each was seen, in which direction, and how far off it is."""

    origin: Tensor  # (..., K, 3)
    direction: Tensor  # (..., K, 3) unit length
    inverse_depth: Tensor  # (..., K) 1/m
    depth_std: Tensor  # (..., K) 1/m

    def __getitem__(self, which: Tensor | None) -> Rays:
        return Rays(
            self.origin[which], self.direction[which], self.inverse_depth[which], self.depth_std[which]
        )

    @property
    def points(self) -> Tensor:
        """(..., K, 3), none farther than FARTHEST from where it was seen."""
        return self.origin + self.direction / self.inverse_depth.clamp_min(1.0 / FARTHEST)[..., None]

    @property
    def located(self) -> Tensor:
        """(..., K) bool: whether the distance is known to a third, or to be large."""
        return self.depth_std < 0.35 * self.inverse_depth + 1.0 / FARTHEST

    def directions_from(self, position: Tensor, rotation: Tensor) -> tuple[Tensor, Tensor]:
        """How a camera at ``position`` (3,), turned by ``rotation`` (3, 3), sees them.

        Returns directions (K, 3) in the camera's axes and their deviations (K,) in radians by the unknown distance.
        """
        away = self.origin - position
        seen = (self.direction + self.inverse_depth[..., None] * away) @ rotation
        length = torch.linalg.vector_norm(seen, dim=-1).clamp_min(1e-6)
        blur = self.depth_std * torch.linalg.vector_norm(away, dim=-1) / length
        return seen / length[..., None], blur

    def cosine_to(self, seen: Tensor, position: Tensor, rotation: Tensor, deviations: float) -> Tensor:
        """How nearly (K,) such a camera may see each of them where it sees ``seen`` (K, 3).

        The cosine of the angle between the two at the best of the distances that are so many deviations from what is known.
        """
        away, direction = (self.origin - position) @ rotation, self.direction @ rotation
        across = away - (away * seen).sum(-1, keepdim=True) * seen
        best = -(across * direction).sum(-1) / across.square().sum(-1).clamp_min(1e-9)
        reach = deviations * self.depth_std
        least = (self.inverse_depth - reach).clamp_min(0.0)
        depth = torch.minimum(torch.maximum(best, least), self.inverse_depth + reach)
        towards = direction + depth[..., None] * away
        return (towards * seen).sum(-1) / torch.linalg.vector_norm(towards, dim=-1).clamp_min(1e-6)


def stack(rays: list[Rays], seen: list[Tensor]) -> tuple[Rays, Tensor, Tensor]:
    """Several sets of matches (K, ...) as one (B, K, ...): rays, directions, and a weight (B, K), 0 where there is none."""
    size = max(len(directions) for directions in seen)

    def fill(values: list[Tensor], value: float) -> Tensor:
        return torch.stack(
            [F.pad(v, (0, 0) * (v.dim() - 1) + (0, size - len(v)), value=value) for v in values]
        )

    weight = fill([torch.ones(len(directions), device=directions.device) for directions in seen], 0.0)
    stacked = Rays(
        fill([r.origin for r in rays], 0.0),
        fill([r.direction for r in rays], 1.0),
        fill([r.inverse_depth for r in rays], 1.0),
        fill([r.depth_std for r in rays], 1.0),
    )
    return stacked, fill(seen, 1.0), weight


@dataclass
class CameraPose:
    """B poses of a camera in the frame of the tokens, and how well they fit."""

    rotation: Tensor  # (B, 3, 3) frame_R_camera
    position: Tensor  # (B, 3)
    information: Tensor  # (B, 6, 6) about a rotation about the frame's axes and the position
    chi2: Tensor  # (B, K) squared residual of each match in deviations

    @property
    def planar(self) -> Tensor:
        """(B, 3) x, y and the heading of the camera's x axis."""
        forward = self.rotation[:, :, 0]
        return torch.cat([self.position[:, :2], torch.atan2(forward[:, 1], forward[:, 0])[:, None]], dim=-1)

    @property
    def covariance(self) -> Tensor:
        """(B, 6, 6) float64, positive definite also where rounding has left ``information`` indefinite."""
        values, vectors = torch.linalg.eigh((self.information + self.information.mT).double().nan_to_num())
        return (vectors * (2.0 / values.clamp_min(LEAST_INFORMATION)[:, None])) @ vectors.mT

    @property
    def planar_covariance(self) -> Tensor:
        """(B, 3, 3) float64, of x, y, yaw."""
        index = torch.tensor([3, 4, 2], device=self.information.device)
        return self.covariance[:, index[:, None], index]

    @property
    def tilt(self) -> Tensor:
        """(B, 2) roll (the left side up) and pitch (down) against the frame's plane."""
        return rotation_tilt(self.rotation)

    def __getitem__(self, which: Tensor | slice) -> CameraPose:
        return CameraPose(
            self.rotation[which], self.position[which], self.information[which], self.chi2[which]
        )


@dataclass
class Upright:
    """What is known of B cameras before they see anything: about level, about so high."""

    tilt_std: float  # radians
    height: Tensor  # (B,) metres, in the frame of the tokens
    height_std: float  # metres

    def information(self) -> Tensor:
        """(6,) about a rotation about the frame's axes and the position; nothing about heading, x and y."""
        tilt, height = self.tilt_std**-2, self.height_std**-2
        return self.height.new_tensor([tilt, tilt, 0.0, 0.0, 0.0, height])

    def off(self, rotation: Tensor, position: Tensor) -> Tensor:
        """How far (B, 6) poses are from it."""
        up = rotation[:, :, 2]
        zero = torch.zeros_like(self.height)
        return torch.stack([-up[:, 1], up[:, 0], zero, zero, zero, position[:, 2] - self.height], dim=-1)


def axis_rotation(vector: Tensor) -> Tensor:
    """The rotation (..., 3, 3) about a vector (..., 3) by its length in radians (Rodrigues)."""
    angle = torch.linalg.vector_norm(vector, dim=-1).clamp_min(1e-8)[..., None, None]
    zero = torch.zeros_like(vector[..., 0])
    x, y, z = vector.unbind(-1)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3)) / angle
    eye = torch.eye(3, dtype=vector.dtype, device=vector.device)
    return eye + angle.sin() * skew + (1.0 - angle.cos()) * (skew @ skew)


def planar_rotation(yaw: Tensor) -> Tensor:
    """The rotation (..., 3, 3) about z by yaw (...)."""
    zero, one = torch.zeros_like(yaw), torch.ones_like(yaw)
    cos, sin = yaw.cos(), yaw.sin()
    return torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], dim=-1).unflatten(-1, (3, 3))


def tilt_rotation(tilt: Tensor) -> Tensor:
    """level_R_camera (..., 3, 3) of roll and pitch (..., 2); ``rotation_tilt`` undoes it."""
    roll, pitch = tilt.unbind(-1)
    zero, one = torch.zeros_like(roll), torch.ones_like(roll)
    cr, sr, cp, sp = roll.cos(), roll.sin(), pitch.cos(), pitch.sin()
    by_pitch = torch.stack([cp, zero, sp, zero, one, zero, -sp, zero, cp], dim=-1).unflatten(-1, (3, 3))
    by_roll = torch.stack([one, zero, zero, zero, cr, -sr, zero, sr, cr], dim=-1).unflatten(-1, (3, 3))
    return by_pitch @ by_roll


def rotation_tilt(rotation: Tensor) -> Tensor:
    """Roll and pitch (..., 2) of a camera turned by ``rotation`` (..., 3, 3), whatever its heading."""
    forward, left, up = rotation[..., 2, :].unbind(-1)
    return torch.stack([torch.atan2(left, up), -forward.clamp(-1, 1).asin()], dim=-1)


def tangents(direction: Tensor) -> Tensor:
    """Two unit vectors (..., 2, 3) across a unit direction (..., 3) and each other."""
    steep = direction[..., 2].abs() > 0.99
    zero = torch.zeros_like(direction[..., 0])
    across = torch.stack([torch.where(steep, 1.0, zero), zero, torch.where(steep, zero, 1.0)], dim=-1)
    side = F.normalize(torch.linalg.cross(across, direction), dim=-1)
    return torch.stack([side, torch.linalg.cross(direction, side)], dim=-2)


def refine(
    rotation: Tensor,
    position: Tensor,
    rays: Rays,
    seen: Tensor,
    weight: Tensor,
    noise: float,
    prior: Tensor | None = None,
    upright: Upright | None = None,
    iterations: int = 6,
    kernel: float = WIDE,
) -> CameraPose:
    """The poses nearest to the first ones at which the matches agree best.

    rotation (B, 3, 3), position (B, 3): first poses. rays (B, K): of the tokens; seen (B, K, 3): unit directions in
    which the camera sees them, in its own axes; weight (B, K): 0 for no match. noise: radians. prior (B, 6, 6):
    information about the first poses. kernel: deviations beyond which a match loses its say (Geman and McClure);
    the first half of the iterations leads there from WIDE, for the first poses may be far off.
    """
    first_rotation, first_position = rotation, position
    depth = rays.inverse_depth
    depth_information = 1.0 / rays.depth_std.clamp_min(1e-4) ** 2
    # The matches lie along the last axis: a product of many small matrices takes several times as long.
    origin, direction = rays.origin.mT.contiguous(), rays.direction.mT.contiguous()  # (B, 3, K)
    # Across what is seen, in deviations, and along it: (B, 3, 3 * K) in the camera's axes
    axes = torch.cat([tangents(seen) / noise, seen[..., None, :]], dim=-2).permute(0, 3, 2, 1).flatten(2)
    damping = LEAST_INFORMATION * torch.eye(6, dtype=seen.dtype, device=seen.device)
    information = damping.expand(len(seen), 6, 6)
    for number in range(iterations + 1):
        away = origin - position[..., None]
        towards = torch.addcmul(direction, depth[:, None], away)  # (B, 3, K), times the inverse depth
        turned = (rotation @ axes).unflatten(2, (3, -1))  # (B, 3, 3, K) the axes in the frame
        sideways, along = (turned * towards[:, :, None]).sum(1).split([2, 1], dim=1)  # (B, 2, K), (B, 1, K)
        ahead = along.clamp_min(1e-3)
        residual = sideways / ahead
        off_depth = depth - rays.inverse_depth
        chi2 = residual.square().sum(1) + off_depth.square() * depth_information
        chi2 = torch.where(along[:, 0] < 0.05, BEHIND, chi2)
        if number == iterations:
            break
        # d residual / d towards (B, 3, 2, K)
        across = (
            torch.addcmul(turned[:, :, :2], residual[:, None], turned[:, :, 2:], value=-1.0) / ahead[:, None]
        )
        by_depth = (across * away[:, :, None]).sum(1)  # (B, 2, K)
        # turning the camera by a small vector a moves what it sees by -a x towards
        by_rotation = _cross(across, towards[:, :, None])
        jacobian = torch.cat([by_rotation, across * -depth[:, None, None]], dim=1)  # (B, 6, 2, K)
        # Each depth is eliminated on its own (Schur complement): it has a prior and appears in one match only.
        width = WIDE * (kernel / WIDE) ** min(1.0, 2.0 * number / iterations)
        believed = weight * (width**2 / (width**2 + chi2)) ** 2
        of_depth = by_depth.square().sum(1) + depth_information  # (B, K)
        pull_depth = (by_depth * residual).sum(1) + off_depth * depth_information
        mixed = (jacobian * by_depth[:, None]).sum(2)  # (B, 6, K)
        weighted = (jacobian * believed[:, None, None]).flatten(2)
        by_mixed = mixed * (believed / of_depth)[:, None]
        information = weighted @ jacobian.flatten(2).mT - by_mixed @ mixed.mT
        pull = weighted @ residual.flatten(1)[..., None] - by_mixed @ pull_depth[..., None]
        if prior is not None:
            off = torch.cat([_turn(rotation, first_rotation), position - first_position], dim=-1)
            information = information + prior
            pull = pull + prior @ off[..., None]
        if upright is not None:
            known = upright.information()
            information = information + torch.diag(known)
            pull = pull + (known * upright.off(rotation, position))[..., None]
        # In single precision a pose that too little is known of may be singular: then it stays where it is.
        step = -torch.linalg.solve_ex(information + damping, pull).result[..., 0]
        step = torch.where(step.isfinite(), step, 0.0)
        step = step * (0.5 / torch.linalg.vector_norm(step, dim=-1, keepdim=True).clamp_min(0.5))
        depth = depth - (pull_depth + (step[:, None] @ mixed)[:, 0]) / of_depth
        depth = depth.clamp(-0.05, 10.0)
        rotation = axis_rotation(step[:, :3]) @ rotation
        position = position + step[:, 3:]
    return CameraPose(rotation, position, information, chi2)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    """The cross products along the second axis (B, 3, ...); PyTorch takes thrice as long along any but the last."""
    a, b = torch.cat([a, a], dim=1), torch.cat([b, b], dim=1)
    return torch.addcmul(a[:, 1:4] * b[:, 2:5], a[:, 2:5], b[:, 1:4], value=-1.0)


def _turn(rotation: Tensor, first: Tensor) -> Tensor:
    """The small rotation vector (B, 3) that leads from ``first`` to ``rotation``."""
    m = rotation @ first.mT
    return 0.5 * torch.stack(
        [m[:, 2, 1] - m[:, 1, 2], m[:, 0, 2] - m[:, 2, 0], m[:, 1, 0] - m[:, 0, 1]], dim=-1
    )


def search(points: Tensor, seen: Tensor, tolerance: float, iterations: int) -> tuple[Tensor, Tensor] | None:
    """A pose from which many matches agree, rotation (3, 3) and position (3,); None where there is none.

    points (K, 3) in the frame; seen (K, 3): unit directions in the camera's axes; tolerance in radians. OpenCV's USAC
    with P3P samples: always the same result for the same matches.
    """
    ahead = seen[:, 0] > math.cos(MAX_ANGLE)
    if int(ahead.sum()) < 4:
        return None
    world = points[ahead].double().cpu().numpy()
    forward, left, up = seen[ahead].double().cpu().numpy().T
    pixels = np.stack([-left / forward, -up / forward], axis=-1)
    usac = cv2.UsacParams()
    usac.maxIterations, usac.threshold, usac.confidence = iterations, tolerance, 0.99
    usac.score, usac.loMethod, usac.final_polisher = (
        cv2.SCORE_METHOD_MSAC, cv2.LOCAL_OPTIM_NULL, cv2.NONE_POLISHER
    )  # fmt: skip
    try:
        found, _, turn, shift, _ = cv2.solvePnPRansac(world, pixels, np.eye(3), None, params=usac)
    except cv2.error:  # such as points on one line
        return None
    if not found:
        return None
    optical_R_frame = cv2.Rodrigues(turn)[0]
    rotation = torch.from_numpy(optical_R_frame.T @ OPTICAL_R_CAMERA).to(seen)
    return rotation, torch.from_numpy(-optical_R_frame.T @ shift[:, 0]).to(seen)


def search_motion(before: Tensor, after: Tensor, tolerance: float) -> tuple[Tensor, Tensor, Tensor] | None:
    """The motion of a camera that saw K points, whatever their distances are, in directions ``before`` and then ``after``.

    before, after: (K, 3), in the axes of the camera then; tolerance in radians. Returns the rotation before_R_after (3, 3),
    the unit vector (3,) along which it moved, zero if it only turned, and which points (K,) bool fit; None where too few do.
    OpenCV's USAC for an essential matrix: always the same result for the same matches.
    """
    ahead = torch.minimum(before[:, 0], after[:, 0]) > math.cos(MAX_ANGLE)
    if int(ahead.sum()) < LEAST_MOTION:
        return None
    first, second = ((-seen[ahead, 1:] / seen[ahead, :1]).double().cpu().numpy() for seen in (before, after))
    try:
        essential, fits = cv2.findEssentialMat(first, second, np.eye(3), cv2.USAC_ACCURATE, 0.999, tolerance)
        if essential is None or essential.shape != (3, 3):
            return None
        _, turn, shift, _ = cv2.recoverPose(essential, first, second, np.eye(3), mask=fits.copy())
    except cv2.error:
        return None
    fitting = torch.zeros_like(ahead)
    fitting[ahead] = torch.from_numpy(fits[:, 0] > 0).to(ahead.device)
    rotation = best_turn(before[fitting], after[fitting])
    off = torch.linalg.vector_norm(before - after @ rotation.mT, dim=-1)[fitting]
    if float((off < 2.0 * tolerance).double().mean()) > ONLY_TURNED:  # whither it moved is noise then
        return rotation, torch.zeros_like(before[0]), fitting
    rotation = torch.from_numpy(OPTICAL_R_CAMERA.T @ turn.T @ OPTICAL_R_CAMERA).to(before)
    return rotation, torch.from_numpy(-OPTICAL_R_CAMERA.T @ turn.T @ shift[:, 0]).to(before), fitting


def best_turn(before: Tensor, after: Tensor) -> Tensor:
    """The rotation before_R_after (3, 3) that brings directions ``after`` (K, 3) nearest to those of ``before`` (Kabsch)."""
    u, _, v = torch.linalg.svd(before.mT @ after)
    mirrored = torch.linalg.det(u @ v).sign()
    return (u * torch.stack([torch.ones_like(mirrored), torch.ones_like(mirrored), mirrored])) @ v
