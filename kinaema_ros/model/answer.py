"""``Answer``: one place at which a photo may have been taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from kinaema_ros import geometry
from kinaema_ros.camera import Mount
from kinaema_ros.estimate import Alternative, Estimate, as_pose
from kinaema_ros.geometry import Array

if TYPE_CHECKING:
    from kinaema_ros.model.kind import Memory

MAX_ALTERNATIVES = 3


@dataclass
class Answer:
    """In the robot's frame at the last update. ``covariance`` is None where a method says nothing of its certainty."""

    pose: Tensor  # (3,) float64, robot_T_photo
    covariance: Tensor | None  # (3, 3) float64 of x, y, yaw in the robot's axes
    seen: float  # probability that the photo's place is in memory
    confidence: float  # probability that the pose is within 1 m and 20 degrees of the truth
    recognised: float = 0.0  # the same of the pose in the memory's frame, however the robot has drifted since; 0: nothing said


def as_estimate(answers: list[Answer], state: Memory, mount: Mount, photo: Mount | None) -> Estimate:
    """The best of the answers (K,) and a few others, for the robot's base instead of its camera.

    mount: of the camera when the robot was last seen; photo: when it took the photo, None: another camera did.
    """
    best, *others = [_of_robot(answer, mount, photo) for answer in answers[: 1 + MAX_ALTERNATIVES]]
    return Estimate(
        pose=best.pose,
        covariance=best.covariance,
        seen=answers[0].seen,
        confidence=best.confidence,
        alternatives=tuple(others),
        odom_pose=as_pose(geometry.compose(base_pose(state.odometry, mount), best.pose)),
        num_updates=int(state.updates),
    )


def _of_robot(answer: Answer, mount: Mount, photo: Mount | None) -> Alternative:
    """The answer for the robot's base instead of its camera, in the frame of the base."""
    assert answer.covariance is not None
    pose, covariance = of_base(answer.pose.cpu().numpy(), answer.covariance.cpu().numpy(), mount, photo)
    return Alternative(as_pose(pose), covariance, answer.confidence)


def of_base(pose: Array, covariance: Array, mount: Mount, photo: Mount | None) -> tuple[Array, Array]:
    """A photo's pose and covariance in the camera's frame, in the base's; of the base if the robot's camera took it."""
    pose = geometry.compose(mount.planar, pose)
    covariance = geometry.rotate_covariance(covariance, mount.yaw)
    return (pose, covariance) if photo is None else photo.base_pose(pose, covariance)


def base_pose(parent_T_camera: Tensor, mount: Mount) -> Array:
    """``parent_T_base`` (3,), from the pose (3,) of its camera."""
    return geometry.compose(parent_T_camera.cpu().numpy(), geometry.inverse(mount.planar))
