"""Driving to a photo: ask, send, ask again on the way, replace the goal, arrive, look whether it is there. No ROS in here.

The navigator drives a robot by it through Nav2, and `kinaema evaluate memnav` measures it in simulation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from kinaema_ros import geometry
from kinaema_ros.comparison import Comparison, Verdict
from kinaema_ros.estimate import Alternative, Estimate
from kinaema_ros.geometry import Array
from kinaema_ros.metrics import MIN_CONFIDENCE, MIN_SEEN
from kinaema_ros.navigation.candidates import LEAST_CONFIDENCE, Candidates, named, near
from kinaema_ros.navigation.errors import (
    DriveTimeout,
    NoAnswer,
    NotReached,
    NotSeen,
    NotSure,
    OtherPlace,
)
from kinaema_ros.navigation.goal_fusion import GoalFusion
from kinaema_ros.settings import check, setting

LOOK_PERIOD = 0.1  # seconds between two looks at whether the robot is there
Check = Callable[[], None]  # raises NavigationError when the drive must end


class GoalRobot(Protocol):
    """A robot that can be sent to poses (3,) of a frame that is fixed while driving, such as the odometry's.

    ``check`` is to be called while waiting, and lets what it raises through.
    """

    @property
    def travelled(self) -> float:
        """Metres driven so far."""

    @property
    def pose(self) -> Array:
        """Where the robot is (3,), in that frame."""

    def ask(self, check: Check) -> Estimate:
        """Where the memory says the photo was taken. Raises NoAnswer where it may know later."""

    def send(self, pose: ArrayLike, check: Check) -> None:
        """Replaces the goal. Raises NavigationError if the robot cannot go there."""

    def arrived(self) -> bool:
        """Whether the robot is at the goal sent last. Raises NavigationError if it gave up."""

    def compare(self, check: Check) -> Comparison:
        """Whether the camera sees what the photo shows, and from where in that frame. Raises NoAnswer where nobody can tell."""


@dataclass(frozen=True)
class DriveLimits:
    """What one goal asks for, with the navigator's defaults. Raises ValueError for a value out of range."""

    min_seen: float = setting(
        MIN_SEEN,
        "Refuse a photo whose place was seen with a lower probability, where the goal names none",
        low=0.0,
        high=1.0,
    )
    min_confidence: float = setting(
        MIN_CONFIDENCE,
        "Refuse a photo whose place is known with a lower probability to 1 m and 20 degrees, where the goal names none",
        low=0.0,
        high=1.0,
    )
    position_tolerance: float = setting(
        0.25,
        "Farthest that Nav2's goal may lie, and the robot stand at the end, from the estimate (m), where the goal "
        "names none",
        low=0.0,
        high=100.0,
    )
    yaw_tolerance: float = setting(
        0.26,
        "The same for headings (rad)",
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
        3,
        "How often a robot that arrived may be sent on because the estimate moved, or because it stands beside its goal",
        low=0,
        high=20,
    )

    def __post_init__(self) -> None:
        check(self)


def refuse_unsure(answer: Estimate, limits: DriveLimits) -> None:
    """Raises NotSeen for a photo of a place that was probably never seen, NotSure where it may be elsewhere."""
    if answer.seen < limits.min_seen:
        raise NotSeen(
            f"the photo's place is probably not in memory: seen with probability {answer.seen:.2f}, at least "
            f"{limits.min_seen:.2f} is asked for. Drive past it first, or lower min_seen"
        )
    if answer.confidence < limits.min_confidence:
        places = [f"{_place(at.pose)} with probability {at.confidence:.2f}" for at in named(answer)]
        where = places[0] if len(places) == 1 else f"{places[0]}, or else {', '.join(places[1:])}"
        raise NotSure(
            f"where the photo was taken is not sure enough: probably {where}; at least {limits.min_confidence:.2f} is "
            "asked for. Show another photo of the place, or lower min_confidence to go to the first"
        )


def _place(pose: ArrayLike) -> str:
    x, y, yaw = np.asarray(pose, dtype=np.float64).tolist()
    return f"({x:.2f} m, {y:.2f} m, {math.degrees(yaw):.0f} deg)"


def beyond(step: ArrayLike, limits: DriveLimits) -> bool:
    """True if a step (3,) is farther, or turns more, than is tolerated between a goal and where it should be."""
    x, y, yaw = np.asarray(step, dtype=np.float64)
    return bool(math.hypot(x, y) > limits.position_tolerance or abs(yaw) > limits.yaw_tolerance)


class PhotoDrive:
    """A robot's drive to one photo.

    now: the clock, in seconds. check: raises NavigationError when the drive must end. warn: is told what went
    wrong without ending the drive.
    """

    goal: GoalFusion  # from the first answer on

    def __init__(
        self,
        robot: GoalRobot,
        now: Callable[[], float],
        check: Check = lambda: None,
        warn: Callable[[str], object] = lambda _: None,
    ):
        self._robot, self._now, self._caller_check, self._warn = robot, now, check, warn
        self.queries, self.seen, self.confidence = 0, 0.0, 0.0
        self._candidates = Candidates()
        self.doubt = ""  # why the camera could not tell that the robot arrived at the photo's place
        self._fixed_T_sent: Array = np.zeros(3)
        self._travelled_before = 0.0  # at the last answer
        self._deadline = self._goal_timeout = math.inf

    def run(self, limits: DriveLimits) -> Iterator[None]:
        """Yields while driving, to be resumed every LOOK_PERIOD; ends on arrival.

        Every other end is a NavigationError. The goal sent last is the caller's to cancel.
        """
        self._goal_timeout, self._deadline = limits.goal_timeout, self._now() + limits.goal_timeout
        first = self._robot.ask(self._check)
        refuse_unsure(first, limits)
        self._count(first)
        self._head_for(self._candidates.likeliest(first) or named(first)[0])
        corrections, asked = 0, self._now()
        while True:
            self._check()
            if self._robot.arrived():
                # The camera sees the photo's view now; no later answer will be more precise.
                self._ask_again(limits)
                comparison = self._compare()
                moved, beside = self._moved(limits), self._beside(limits)
                if (moved or beside) and corrections < limits.max_corrections:
                    corrections += 1
                    self._send_goal()
                elif beside:
                    raise NotReached(self._where_it_stands(limits))
                else:
                    if moved:
                        self._warn(
                            f"arrived, though the estimate still moves after {corrections} corrections"
                        )
                    if self._is_there(comparison):
                        return
                    self._go_elsewhere()
                    corrections = 0
            elif not 0.0 <= self._now() - asked < limits.requery_period:  # negative: the clock was set back
                self._ask_again(limits)
                asked = self._now()
                if self._moved(limits):
                    self._send_goal()
            yield

    def _check(self) -> None:
        self._caller_check()
        if self._now() > self._deadline:
            raise DriveTimeout(
                f"the goal took longer than {self._goal_timeout:g} s (parameter drive.goal_timeout), so the robot was stopped"
            )

    def _count(self, answer: Estimate) -> None:
        self.queries += 1
        self.seen, self.confidence = answer.seen, answer.confidence
        self._travelled_before = self._robot.travelled

    def _ask_again(self, limits: DriveLimits) -> None:
        """Sharpens the goal; an answer that does not come, or does not know the photo, changes nothing."""
        before = self._travelled_before
        try:
            answer = self._robot.ask(self._check)
        except NoAnswer as error:
            self._warn(f"driving on by the last estimate: {error}")
            return
        self._count(answer)
        self.goal.age(self._travelled_before - before)
        place = self._candidates.likeliest(answer)
        least = LEAST_CONFIDENCE if self.tried else limits.min_confidence
        if place is None or answer.seen < limits.min_seen or place.confidence < least:
            self._warn(
                f"an answer was not used: seen with probability {answer.seen:.2f}, sure with {answer.confidence:.2f} only"
            )
        elif not self.goal.add(place.pose, place.covariance):
            self._warn(f"an answer was set aside as an outlier: {np.round(place.pose, 2).tolist()}")

    @property
    def tried(self) -> list[Array]:
        """Goals (3,) at which the robot arrived and its camera saw another place."""
        return self._candidates.tried

    def _compare(self) -> Comparison:
        """The photo against what the camera sees. One that is recognised from elsewhere tells where to go."""
        try:
            comparison = self._robot.compare(self._check)
        except NoAnswer as error:
            return Comparison(Verdict.UNDECIDED, str(error))
        pose, covariance = comparison.pose, comparison.covariance
        if pose is not None and covariance is not None and not near(self._robot.pose, pose):
            self._candidates.reject(
                self._fixed_T_sent
            )  # or the memory's next answers would call the robot back
            self.goal = GoalFusion(pose, covariance)
        return comparison

    def _is_there(self, comparison: Comparison) -> bool:
        """Whether this is the photo's place: what the camera says, and where it cannot tell, the odometry.

        A place to which the robot went because a likelier one was another must be recognised.
        """
        undecided, pose = comparison.verdict == Verdict.UNDECIDED, comparison.pose
        from_here = pose is None or near(self._robot.pose, pose)  # a named place has none
        recognised = comparison.verdict == Verdict.RECOGNISED and from_here
        there = recognised or (undecided and not self.tried)
        self.doubt = f"not confirmed by the camera: {comparison.why}" if there and undecided else ""
        if self.doubt:
            self._warn(f"arrived, but {self.doubt}")
        elif not there:
            self._warn(
                f"arrived at {_place(self._fixed_T_sent)}, but not at the photo's place: {comparison.why}"
            )
        return there

    def _go_elsewhere(self) -> None:
        """Sends the robot to the likeliest place at which it was not yet. Raises OtherPlace where there is none."""
        place = self._candidates.reject(self._fixed_T_sent)
        if place is not None:
            self._head_for(place)
            return
        raise OtherPlace(
            f"the robot was at {', '.join(map(_place, self.tried))}, where the camera sees another place than the photo's, "
            "and the memory knows no other that looks like it: show another photo of the place, or drive past it first"
        )

    def _head_for(self, place: Alternative) -> None:
        self.goal = GoalFusion(place.pose, place.covariance)
        self._send_goal()

    def _moved(self, limits: DriveLimits) -> bool:
        """True if the estimate left the goal that was sent by more than is tolerated."""
        return beyond(geometry.between(self._fixed_T_sent, self.goal.pose), limits)

    def _beside(self, limits: DriveLimits) -> bool:
        """True if the robot stands farther from the goal that was sent than is tolerated."""
        return beyond(geometry.between(self._fixed_T_sent, self._robot.pose), limits)

    def _where_it_stands(self, limits: DriveLimits) -> str:
        x, y, yaw = geometry.between(self._fixed_T_sent, self._robot.pose)
        return (
            f"Nav2 says that the robot arrived, but by its odometry it stands {math.hypot(x, y):.2f} m and "
            f"{math.degrees(abs(yaw)):.0f} deg beside the goal, also after it was sent there {limits.max_corrections + 1} "
            f"times ({limits.position_tolerance:g} m and {math.degrees(limits.yaw_tolerance):.0f} deg are tolerated): the goal "
            "may lie in an obstacle, Nav2's goal checker may be coarser than that, or its localisation jumps"
        )

    def _send_goal(self) -> None:
        pose = self.goal.pose.copy()
        self._robot.send(pose, self._check)
        self._fixed_T_sent = pose
