"""Driving to a photo: ask, send, ask again on the way, replace the goal, arrive."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray

from kinaema_interfaces.srv import QueryPose
from kinaema_ros import geometry

from .goal_fusion import GoalFusion
from .nav2_client import Code, Nav2Client, NavigationError
from .photo_query import MemoryUnavailable, PhotoPose, PhotoQuery, QueryRefused
from .robot_motion import RobotMotion

Array = NDArray[np.float64]
_CODES = {
    "query_before_update": Code.MEMORY_EMPTY,
    "query_inactive": Code.MEMORY_UNAVAILABLE,
    "query_without_odometry": Code.QUERY_FAILED,
    "query_on_hold": Code.QUERY_FAILED,
    "query_failed": Code.QUERY_FAILED,
    "frame_unknown": Code.TF_ERROR,
}


@dataclass(frozen=True)
class DriveLimits:
    """What one goal asks for and how patient the node is; metres, radians, seconds."""

    min_seen: float
    position_tolerance: float
    yaw_tolerance: float
    requery_period: float
    query_timeout: float
    goal_timeout: float
    max_corrections: int

    def __post_init__(self) -> None:
        for name, high in (("min_seen", 1.0), ("position_tolerance", math.inf), ("yaw_tolerance", math.inf)):
            value = getattr(self, name)
            if not (math.isfinite(value) and 0.0 <= value <= high):
                raise NavigationError(
                    Code.INVALID_GOAL,
                    f"{name} is {value:g}; it must be finite, positive, or 0 for the node's default"
                    + (", and at most 1" if high == 1.0 else ""),
                )


def ask(
    memory: PhotoQuery, request: QueryPose.Request, timeout: float, check: Callable[[], None]
) -> PhotoPose:
    """Asks the memory; what goes wrong is a NavigationError."""
    try:
        return memory.ask(request, timeout, check)
    except MemoryUnavailable as error:
        raise NavigationError(Code.MEMORY_UNAVAILABLE, str(error)) from error
    except QueryRefused as error:  # all other reasons are about the photo
        raise NavigationError(_CODES.get(error.reason, Code.INVALID_IMAGE), str(error)) from error


def first_answer(
    memory: PhotoQuery, request: QueryPose.Request, limits: DriveLimits, check: Callable[[], None]
) -> PhotoPose:
    """As ``ask``, refusing a photo of a place that was probably never seen."""
    answer = ask(memory, request, limits.query_timeout, check)
    if answer.seen < limits.min_seen:
        raise NavigationError(
            Code.NOT_SEEN,
            f"the photo's place is probably not in memory: seen with probability {answer.seen:.2f}, at least "
            f"{limits.min_seen:.2f} is asked for. Drive past it first, or lower min_seen",
        )
    return answer


class PhotoDrive:
    """One photo, driven to. ``now`` is the node's clock in seconds; ``check`` raises when the drive must
    end."""

    goal: GoalFusion  # from the first answer on, in the fixed frame

    def __init__(
        self,
        memory: PhotoQuery,
        nav2: Nav2Client,
        motion: RobotMotion,
        now: Callable[[], float],
        check: Callable[[], None],
        warn: Callable[[str], object],
    ):
        self._memory, self._nav2, self._motion = memory, nav2, motion
        self._now, self._caller_check, self._warn = now, check, warn
        self.queries, self.seen = 0, 0.0
        self.sent: PoseStamped | None = None  # Nav2's goal, and below the same pose in the fixed frame
        self._fixed_T_sent: Array = np.zeros(3)
        self._travelled = 0.0  # at the last answer
        self._deadline = math.inf
        self._goal_timeout = math.inf

    def run(self, request: QueryPose.Request, limits: DriveLimits, behavior_tree: str) -> Iterator[None]:
        """Yields while driving, about whenever Nav2 should be looked at again, and ends on arrival.

        Raises NavigationError for every other end. The goal in Nav2 is the caller's to cancel.
        """
        self._goal_timeout, self._deadline = limits.goal_timeout, self._now() + limits.goal_timeout
        first = first_answer(self._memory, request, limits, self._check)
        self._count(first)
        self.goal = GoalFusion(first.pose, first.covariance)
        self._send(behavior_tree)
        corrections, asked = 0, self._now()
        while True:
            self._check()
            if self._nav2.arrived():
                # The photo's view is before the camera now; the memory gets no sharper about it than here.
                self._ask_again(request, limits)
                if not self._moved(limits):
                    return
                if corrections == limits.max_corrections:
                    self._warn(f"arrived, though the estimate still moves after {corrections} corrections")
                    return
                corrections += 1
                self._send(behavior_tree)
            elif not 0.0 <= self._now() - asked < limits.requery_period:  # negative: the clock was set back
                self._ask_again(request, limits)
                asked = self._now()
                if self._moved(limits):
                    self._send(behavior_tree)
            yield

    def _check(self) -> None:
        self._caller_check()
        if self._now() > self._deadline:
            raise NavigationError(
                Code.TIMEOUT,
                f"the goal took longer than {self._goal_timeout:g} s (parameter goal_timeout), so the "
                f"robot was stopped",
            )

    def _count(self, answer: PhotoPose) -> None:
        self.queries += 1
        self.seen = answer.seen
        self._travelled = self._motion.travelled

    def _ask_again(self, request: QueryPose.Request, limits: DriveLimits) -> None:
        """Sharpens the goal; an answer that does not come, or does not know the photo, changes nothing."""
        before = self._travelled
        try:
            answer = ask(self._memory, request, limits.query_timeout, self._check)
        except NavigationError as error:
            if error.code not in (Code.MEMORY_UNAVAILABLE, Code.MEMORY_EMPTY, Code.QUERY_FAILED):
                raise
            self._warn(f"driving on by the last estimate: {error}")
            return
        self._count(answer)
        self.goal.age(self._travelled - before)
        if answer.seen < limits.min_seen:
            self._warn(f"an answer was not used: the photo was seen with probability {answer.seen:.2f} only")
        elif not self.goal.add(answer.pose, answer.covariance):
            self._warn(f"an answer was set aside as an outlier: {np.round(answer.pose, 2).tolist()}")

    def _moved(self, limits: DriveLimits) -> bool:
        """True if the estimate left the goal that Nav2 has by more than is tolerated."""
        step = geometry.between(self._fixed_T_sent, self.goal.pose)
        return bool(
            math.hypot(step[0], step[1]) > limits.position_tolerance or abs(step[2]) > limits.yaw_tolerance
        )

    def _send(self, behavior_tree: str) -> None:
        pose, goal = self.goal.pose.copy(), self._motion.goal(self.goal.pose)
        self._nav2.send(goal, behavior_tree, self._check)
        self._fixed_T_sent, self.sent = pose, goal
