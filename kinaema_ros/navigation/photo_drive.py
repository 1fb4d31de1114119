"""Driving to a photo: ask, send, ask again on the way, replace the goal, arrive. No ROS in here.

The navigator drives a robot by it through Nav2, and `kinaema evaluate memnav` measures it in simulation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from kinaema_ros import geometry
from kinaema_ros.estimate import Estimate
from kinaema_ros.geometry import Array
from kinaema_ros.navigation.goal_fusion import GoalFusion
from kinaema_ros.settings import check, setting


class NoAnswer(Exception):
    """The memory cannot be asked right now; a robot that has a goal already drives on by it."""


class NotSeen(Exception):
    """The photo shows a place that is probably not in memory."""


class DriveTimeout(Exception):
    """The drive took too long."""


@dataclass(frozen=True)
class DriveLimits:
    """What one goal asks for, with the navigator's defaults. Raises ValueError for a value out of range."""

    min_seen: float = setting(
        0.5,
        "Refuse a photo whose place was seen with a lower probability, where the goal names none",
        low=0.0,
        high=1.0,
    )
    position_tolerance: float = setting(
        0.25,
        "Replace Nav2's goal when the estimate moved farther (m), where the goal names none",
        low=0.0,
        high=100.0,
    )
    yaw_tolerance: float = setting(
        0.26,
        "Replace Nav2's goal when the estimate turned more (rad), where the goal names none",
        low=0.0,
        high=6.3,  # a goal's full turn, in single precision
    )
    requery_period: float = setting(
        3.0, "Time between two questions to the memory on the way (s of the node's clock)", low=0.2, high=60.0
    )
    goal_timeout: float = setting(
        600.0, "Longest time a goal may take (s of the node's clock)", low=1.0, high=86400.0
    )
    max_corrections: int = setting(
        3, "How often a robot that arrived may be sent on because the estimate moved", low=0, high=20
    )

    def __post_init__(self) -> None:
        check(self)


def refuse_unseen(answer: Estimate, min_seen: float) -> None:
    """Raises NotSeen for a photo of a place that was probably never seen."""
    if answer.seen < min_seen:
        raise NotSeen(
            f"the photo's place is probably not in memory: seen with probability {answer.seen:.2f}, at least "
            f"{min_seen:.2f} is asked for. Drive past it first, or lower min_seen"
        )


class PhotoDrive:
    """One photo, driven to. Poses are in a frame that is fixed while driving, such as the odometry's.

    ask: the memory's answer about the photo, or NoAnswer. send: replaces the goal (3,) of whatever plans and
    drives. arrived: whether that says that it is there. travelled: metres driven so far. now: the clock, in
    seconds. check: raises when the drive must end.
    """

    goal: GoalFusion  # from the first answer on

    def __init__(
        self,
        ask: Callable[[], Estimate],
        send: Callable[[Array], object],
        arrived: Callable[[], bool],
        travelled: Callable[[], float],
        now: Callable[[], float],
        check: Callable[[], object] = lambda: None,
        warn: Callable[[str], object] = lambda _: None,
    ):
        self._ask, self._send, self._arrived = ask, send, arrived
        self._travelled, self._now, self._caller_check, self._warn = travelled, now, check, warn
        self.queries, self.seen = 0, 0.0
        self._fixed_T_sent: Array = np.zeros(3)
        self._travelled_before = 0.0  # at the last answer
        self._deadline = self._goal_timeout = math.inf

    def run(self, limits: DriveLimits) -> Iterator[None]:
        """Yields while driving, about whenever it should be looked again whether the robot is there; ends on arrival.

        Raises NotSeen, DriveTimeout, and what the callbacks raise. The goal sent last is the caller's to cancel.
        """
        self._goal_timeout, self._deadline = limits.goal_timeout, self._now() + limits.goal_timeout
        first = self._ask()
        refuse_unseen(first, limits.min_seen)
        self._count(first)
        self.goal = GoalFusion(first.pose, first.covariance)
        self._send_goal()
        corrections, asked = 0, self._now()
        while True:
            self.check()
            if self._arrived():
                # The photo's view is before the camera now; the memory gets no sharper about it than here.
                self._ask_again(limits.min_seen)
                if not self._moved(limits):
                    return
                if corrections == limits.max_corrections:
                    self._warn(f"arrived, though the estimate still moves after {corrections} corrections")
                    return
                corrections += 1
                self._send_goal()
            elif not 0.0 <= self._now() - asked < limits.requery_period:  # negative: the clock was set back
                self._ask_again(limits.min_seen)
                asked = self._now()
                if self._moved(limits):
                    self._send_goal()
            yield

    def check(self) -> None:
        """Raises when the drive must end."""
        self._caller_check()
        if self._now() > self._deadline:
            raise DriveTimeout(
                f"the goal took longer than {self._goal_timeout:g} s (parameter goal_timeout), so the robot was stopped"
            )

    def _count(self, answer: Estimate) -> None:
        self.queries += 1
        self.seen = answer.seen
        self._travelled_before = self._travelled()

    def _ask_again(self, min_seen: float) -> None:
        """Sharpens the goal; an answer that does not come, or does not know the photo, changes nothing."""
        before = self._travelled_before
        try:
            answer = self._ask()
        except NoAnswer as error:
            self._warn(f"driving on by the last estimate: {error}")
            return
        self._count(answer)
        self.goal.age(self._travelled_before - before)
        if answer.seen < min_seen:
            self._warn(f"an answer was not used: the photo was seen with probability {answer.seen:.2f} only")
        elif not self.goal.add(answer.pose, answer.covariance):
            self._warn(f"an answer was set aside as an outlier: {np.round(answer.pose, 2).tolist()}")

    def _moved(self, limits: DriveLimits) -> bool:
        """True if the estimate left the goal that was sent by more than is tolerated."""
        step = geometry.between(self._fixed_T_sent, self.goal.pose)
        return bool(
            math.hypot(step[0], step[1]) > limits.position_tolerance or abs(step[2]) > limits.yaw_tolerance
        )

    def _send_goal(self) -> None:
        pose = self.goal.pose.copy()
        self._send(pose)
        self._fixed_T_sent = pose
