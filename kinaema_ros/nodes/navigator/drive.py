"""The navigator's GoalRobot: it asks memory_node for the goal and lets Nav2 drive there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from geometry_msgs.msg import PoseStamped
from numpy.typing import ArrayLike

from kinaema_interfaces.action import NavigateToImage
from kinaema_interfaces.srv import CompareView, QueryPose
from kinaema_ros import geometry
from kinaema_ros.comparison import Comparison, Verdict
from kinaema_ros.estimate import Estimate
from kinaema_ros.geometry import Array
from kinaema_ros.navigation.errors import NavigationError, NoAnswer
from kinaema_ros.navigation.photo_drive import Check, DriveLimits, beyond
from kinaema_ros.nodes.navigator.nav2_client import Nav2Client
from kinaema_ros.nodes.navigator.robot_motion import RobotMotion
from kinaema_ros.nodes.support.memory_client import MemoryClient, MemoryUnavailable, QueryRefused

Code = NavigateToImage.Result
# Why memory_node may refuse now and answer later; all its other reasons are about the photo or place.
_PASSING = {
    "query_before_update": Code.MEMORY_EMPTY,
    "query_busy": Code.QUERY_FAILED,
    "query_inactive": Code.MEMORY_UNAVAILABLE,
    "query_without_odometry": Code.QUERY_FAILED,
    "query_on_hold": Code.QUERY_FAILED,
    "query_localizing": Code.QUERY_FAILED,
    "query_failed": Code.QUERY_FAILED,
    "frame_unknown": Code.TF_ERROR,
}
# Of its other reasons, those that have a code of their own.
_REFUSALS = {
    "query_hfov": Code.INVALID_GOAL,
    "no_such_place": Code.NO_SUCH_PLACE,
    "place_forgotten": Code.NOT_SEEN,
}


class Nav2Robot:
    """A GoalRobot. ``request`` asks for the photo in the fixed frame; query_timeout: seconds of wall time."""

    def __init__(
        self,
        memory: MemoryClient,
        nav2: Nav2Client,
        motion: RobotMotion,
        request: QueryPose.Request,
        limits: DriveLimits,
        query_timeout: float,
        behavior_tree: str = "",
        warn: Callable[[str], object] = lambda _: None,
    ):
        self._memory, self._nav2, self._motion = memory, nav2, motion
        self._request, self._limits, self._query_timeout = request, limits, query_timeout
        self._behavior_tree, self._warn = behavior_tree, warn
        self.sent: PoseStamped | None = None  # Nav2's goal
        self._fixed_T_goal: Array = np.zeros(3)
        # How Nav2's frame lay to the fixed one when Nav2 took the goal over into its own.
        self._nav2_T_fixed: Array | None = None
        self._beyond: PoseStamped | None = (
            None  # what Nav2 reported when it first looked as if that had changed
        )

    @property
    def travelled(self) -> float:
        """Metres driven so far."""
        return self._motion.travelled

    @property
    def pose(self) -> Array:
        """Where the robot is, by its odometry."""
        return self._motion.pose

    def ask(self, check: Check) -> Estimate:
        """The memory's answer about the photo. Raises NoAnswer, or NavigationError for a photo it cannot use."""
        try:
            return self._memory.ask(self._request, self._query_timeout, check)
        except MemoryUnavailable as error:
            raise NoAnswer(str(error), Code.MEMORY_UNAVAILABLE) from error
        except QueryRefused as error:
            if error.reason in _PASSING:
                raise NoAnswer(str(error), _PASSING[error.reason]) from error
            raise NavigationError(str(error), _REFUSALS.get(error.reason, Code.INVALID_IMAGE)) from error

    def compare(self, check: Check) -> Comparison:
        """What the memory says of the photo and the camera's view. Raises NoAnswer."""
        asked = self._request
        if asked.place:
            return Comparison(Verdict.RECOGNISED, "a place that was named has no photo to compare with")
        request = CompareView.Request(
            image=asked.image, compressed_image=asked.compressed_image, hfov_deg=asked.hfov_deg
        )
        try:
            return self._memory.compare(request, self._query_timeout, check)
        except (MemoryUnavailable, QueryRefused) as error:
            raise NoAnswer(str(error)) from error

    def send(self, pose: ArrayLike, check: Check) -> None:
        """Replaces Nav2's goal by the pose (3,) of the fixed frame; returns when Nav2 has accepted it."""
        goal = self._motion.goal(pose)
        self._nav2.send(goal, self._behavior_tree, check)
        self.sent = self._motion.to_report(goal, pose)
        self._fixed_T_goal, self._check = np.array(pose, dtype=np.float64), check
        self._nav2_T_fixed = self._beyond = None

    def arrived(self) -> bool:
        """Whether Nav2 says that the robot is there. Raises NavigationError if Nav2 gave up or fell silent.

        Nav2 brings a goal into its own frame once, when it takes it. Where a localisation has moved that frame since,
        the goal is sent anew.
        """
        arrived = self._nav2.arrived()
        if arrived:
            self._motion.look(self._check)
        if not self._goal_moved():
            return arrived
        self._warn("Nav2's localisation moved the goal: sending it anew")
        self.send(self._fixed_T_goal, self._check)
        return False

    def _goal_moved(self) -> bool:
        """Whether Nav2's goal lies elsewhere than ours by now, by two reports in a row: one may be paired badly."""
        reported = self._nav2.robot_pose
        nav2_T_fixed = None if reported is None else self._motion.correction(reported)
        if nav2_T_fixed is None or reported is self._beyond:
            return False
        if self._nav2_T_fixed is None:
            self._nav2_T_fixed = nav2_T_fixed
        nav2_T_goal = geometry.compose(self._nav2_T_fixed, self._fixed_T_goal)
        step = geometry.between(nav2_T_goal, geometry.compose(nav2_T_fixed, self._fixed_T_goal))
        before, self._beyond = self._beyond, reported if beyond(step, self._limits) else None
        return before is not None and self._beyond is not None
