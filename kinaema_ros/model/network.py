"""Kinaema: image -> tokens, the recurrent memory, and where a photo was taken, put together."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinaema_ros.camera import Intrinsics, Mount
from kinaema_ros.comparison import Comparison
from kinaema_ros.model import cell, pose_graph
from kinaema_ros.model.answer import Answer
from kinaema_ros.model.camera_pose import planar_rotation, tilt_rotation
from kinaema_ros.model.config import KinaemaConfig
from kinaema_ros.model.course import course
from kinaema_ros.model.judge import Candidates, Judge, rivals, terms, within
from kinaema_ros.model.local_features import DESCRIPTOR_DIM, Keypoints, LocalFeatures
from kinaema_ros.model.localise import Hypothesis, hypotheses, vote
from kinaema_ros.model.se2 import between, compose
from kinaema_ros.model.sight import sight, verdict
from kinaema_ros.model.token_memory import TokenMemory
from kinaema_ros.model.tokens import Tokens

# Deviations that no simulator has: of calibration, mount, stamps and blur. Metres, radians, and of the distance.
UNMODELLED_POSITION, UNMODELLED_YAW, UNMODELLED_SHARE = 0.02, math.radians(0.5), 0.005
LOST_POSITION, LOST_YAW = (
    5.0,
    2.0,
)  # deviations, metres and radians, where nothing is known but the likeliest place
MOST_PIXELS = 3  # at which a photo is read out, in those of a frame


class Kinaema(nn.Module):
    """The whole network. Frozen: it is fitted by ``kinaema_ros.training``, without gradients through the memory."""

    def __init__(self, config: KinaemaConfig):
        super().__init__()
        self.config = config
        self.features = LocalFeatures()
        self.projection = nn.Linear(DESCRIPTOR_DIM, config.tokens.dim)
        self.judge = Judge()
        self.requires_grad_(False)

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self.projection.weight.device

    def with_config(self, config: KinaemaConfig) -> Kinaema:
        """The same weights with another configuration of the memory."""
        other = Kinaema(config).to(self.device)
        other.load_state_dict(self.state_dict())
        return other.eval()

    def empty(self) -> TokenMemory:
        """A memory that has seen nothing."""
        return TokenMemory.empty(self.config, self.device)

    def view(self, rgb: Tensor, camera: Intrinsics, mount: Mount | None = None) -> Tokens:
        """The tokens (C,) of an image (H, W, 3) uint8 of the robot's ``camera``, as a level one with the heading 0 has them."""
        sizes = self.config.tokens
        points = self.features.detect(rgb, sizes.view_pixels, sizes.view_tokens)
        return self.tokens(points, camera.scaled_to(rgb.shape[1], rgb.shape[0]), sizes.view_tokens, mount)

    def photo(self, rgb: Tensor, camera: Intrinsics, robots: Intrinsics) -> Tokens:
        """The tokens (C,) of a photo (H, W, 3) uint8 of another ``camera`` than the robot's, ``robots``."""
        camera = camera.scaled_to(rgb.shape[1], rgb.shape[0])
        size = len(self.config.tokens.photo_scales) * self.config.tokens.photo_tokens
        return self.tokens(self.photo_points(rgb, camera, robots), camera, size)

    def photo_points(self, rgb: Tensor, camera: Intrinsics, robots: Intrinsics) -> Keypoints:
        """The points of such a photo. ``camera`` has the photo's size.

        Local features know a point again at about the scale at which they met it: so the photo is read out at two, one
        below that of the robot's frames and one above, whatever its own resolution.
        """
        sizes = self.config.tokens
        height, width = rgb.shape[:2]
        density = robots.fx * math.sqrt(sizes.view_pixels / (robots.width * robots.height))
        largest = MOST_PIXELS * sizes.view_pixels
        scales = [share * density for share in sizes.photo_scales]  # pixels per radian at the middle
        return Keypoints.joined(
            [
                self.features.detect(
                    rgb, min(width * height * (scale / camera.fx) ** 2, largest), sizes.photo_tokens
                )
                for scale in scales
            ]
        )

    def tokens(self, points: Keypoints, camera: Intrinsics, size: int, mount: Mount | None = None) -> Tokens:
        """``size`` tokens (C,), those of an image's points first; none where the camera's distortion has no inverse."""
        sizes, device = self.config.tokens, points.descriptors.device
        ray = torch.from_numpy(camera.rays(points.pixels.cpu().numpy())).to(device, torch.float32)
        if mount is not None:
            ray = ray @ tilt_rotation(ray.new_tensor([mount.roll, mount.pitch])).mT
        there = ray.isfinite().all(-1)
        descriptor = F.normalize(self.projection(points.descriptors[there]), dim=-1)
        quality = 0.1 + 0.5 * points.scores[there].clamp(0, 1)
        empty = Tokens.empty((size - len(quality),), sizes.dim, device)
        return Tokens(
            torch.cat([descriptor, empty.descriptor]),
            torch.cat([ray[there], empty.bearing]),
            torch.full((size,), sizes.prior_depth, device=device),
            torch.full((size,), sizes.prior_depth_std, device=device),
            torch.cat([quality, empty.quality]),
        )

    def update(self, memory: TokenMemory, view: Tokens, odometry: Tensor, height: float = 0.0) -> TokenMemory:
        """Fold one view into the memory.

        odometry (3,) float64: the camera's planar pose in the odom frame; height: metres, of its mount.
        """
        return cell.update(self.config, memory, view, odometry, height)

    def locate(self, memory: TokenMemory, photo: Tokens, height: float | None) -> list[Answer]:
        """Where the photo was taken, in the robot's frame: distinct places, the likeliest first; at least one.

        height: metres, of the mount of the robot's own camera, if that took the photo; None: another one did.
        """
        found = hypotheses(self.config, memory, photo, height)
        if not found:
            return [self.lost(memory, photo)]
        return self.judged(candidates(self.config, memory, found, height))

    def continues(self, before: TokenMemory, after: TokenMemory, view: Tokens) -> bool:
        """Whether the view that made ``after`` of ``before`` shows what the newest views before it saw.

        Of its tokens those gained worth that fit theirs, by the odometry between them.
        """
        if not len(before.viewed):
            return True
        newest = after.window.unpack(((after.updates - 1) % self.config.window.size)[None])[0]
        fits = newest.quality > view.quality + 0.5 * self.config.tokens.evidence
        return int(fits.sum()) >= self.config.window.min_continued

    def course(self, before: Tokens, after: Tokens, motion: Tensor) -> tuple[float, float] | None:
        """By how much (radians) the views (C,) show the camera to go further to the left than ``motion`` (3,) says.

        Also the deviation of that; None where too little is seen.
        """
        return course(self.config, before, after, motion)

    def compare(
        self,
        memory: TokenMemory,
        view: Tokens,
        odometry: Tensor,
        height: float,
        photo: Tokens,
        photo_height: float | None,
    ) -> Comparison:
        """Whether the robot stands where the photo was taken, by what its camera sees from there; the memory stays as it is.

        view, odometry and height as in ``update``, photo and photo_height as in ``locate``.
        """
        here = sight(self.config, memory, view, odometry, height)
        found = hypotheses(self.config, here.memory, photo, photo_height)
        best = None
        if found:
            evidence = torch.tensor([terms(one.evidence, photo_height) for one in found], device=self.device)
            best = found[int(self.judge.rating(evidence).argmax())]
        return verdict(self.config, here, photo, best, photo_height is not None)

    def judged(self, of: Candidates) -> list[Answer]:
        """The distinct ones (K,) of one photo's candidates, whose poses are in the robot's frame, as answers."""
        score = self.judge.score(of)
        distinct = rivals(self.config.search, of.pose, of.there)
        right = self.judge.right(of, score, distinct)
        covariance = self.judge.covariance(of) + unmodelled(of.pose)
        recognised, near = right.sigmoid(), within(self.judge.drift_covariance(of.drift))
        kept: list[int] = []
        for index in score.argsort(descending=True, stable=True).tolist():
            if all(bool(distinct[index, better]) for better in kept):
                kept.append(index)
        # An alternative is what it would be if it was right; the best answer says how far off it may be if it is not.
        covariance[kept[0]] += self.judge.astray(right[kept[0]])
        seen = self.judge.seen(of)[kept[0]].sigmoid()
        sure = torch.minimum(recognised, seen)
        return [
            Answer(of.pose[i], covariance[i], float(seen), float(sure[i] * near[i]), float(sure[i]))
            for i in kept
        ]

    def localization_covariance(self, memory: TokenMemory) -> Tensor:
        """(3, 3) of the robot's camera in the memory's frame, which the oldest place holds."""
        oldest = pose_graph.root(self.config.pose_graph, memory.graph)
        drift = pose_graph.drift(self.config.pose_graph, memory.graph, memory.pose, oldest[None])[0]
        return self.judge.drift_covariance(drift) + unmodelled(torch.zeros_like(memory.robot))

    def lost(self, memory: TokenMemory, photo: Tokens) -> Answer:
        """Nothing fits: the embedding that looks most like the photo, which is probably not the place."""
        used = (memory.count > 0).nonzero()[:, 0]
        places = memory.tokens.unpack_descriptors(used, self.config.search.vote_stored)
        likeliest = used[vote(self.config.search, photo, places).argmax()]
        variances = [LOST_POSITION**2, LOST_POSITION**2, LOST_YAW**2]
        covariance = torch.diag(torch.tensor(variances, dtype=torch.float64, device=used.device))
        return Answer(between(memory.robot, memory.pose[likeliest]), covariance, 0.0, 0.0)


def unmodelled(robot_T_photo: Tensor) -> Tensor:
    """The covariances (..., 3, 3) of what is not in the residuals, of poses (..., 3) as seen from the robot."""
    distance2 = robot_T_photo[..., :2].square().sum(-1)
    position = UNMODELLED_POSITION**2 + UNMODELLED_SHARE**2 * distance2
    return torch.diag_embed(
        torch.stack([position, position, torch.full_like(position, UNMODELLED_YAW**2)], dim=-1)
    )


def candidates(
    config: KinaemaConfig, memory: TokenMemory, found: list[Hypothesis], height: float | None
) -> Candidates:
    """What the judge needs to know of one photo's hypotheses (K,), with poses in the robot's frame."""
    device = memory.pose.device
    place = torch.tensor([hypothesis.place for hypothesis in found], device=device)
    place_T_photo = torch.stack([hypothesis.place_T_photo for hypothesis in found])
    robot_T_place = between(memory.robot, memory.pose[place])
    turn = planar_rotation(robot_T_place[:, 2])  # x, y, yaw turn as a vector does, yaw being about z
    covariance = torch.stack([hypothesis.covariance for hypothesis in found])
    return Candidates(
        torch.tensor([terms(hypothesis.evidence, height) for hypothesis in found], device=device),
        compose(robot_T_place, place_T_photo),
        (turn @ (covariance + covariance.mT) @ turn.mT) / 2.0,
        pose_graph.drift(config.pose_graph, memory.graph, memory.pose, place).float(),
        torch.ones(len(found), dtype=torch.bool, device=device),
    )
