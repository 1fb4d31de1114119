"""The navigator's GoalRobot: it asks memory_node for the goal and lets Nav2 drive there."""

from __future__ import annotations

from geometry_msgs.msg import PoseStamped
from numpy.typing import ArrayLike

from kinaema_interfaces.action import NavigateToImage
from kinaema_interfaces.srv import QueryPose
from kinaema_ros.estimate import Estimate
from kinaema_ros.navigation.photo_drive import Check, NavigationError, NoAnswer
from kinaema_ros.nodes.navigator.nav2_client import Nav2Client
from kinaema_ros.nodes.navigator.robot_motion import RobotMotion
from kinaema_ros.nodes.support.memory_client import MemoryClient, MemoryUnavailable, QueryRefused

Code = NavigateToImage.Result
# Why memory_node may refuse now and answer later; all its other reasons are about the photo.
_PASSING = {
    "query_before_update": Code.MEMORY_EMPTY,
    "query_busy": Code.QUERY_FAILED,
    "query_inactive": Code.MEMORY_UNAVAILABLE,
    "query_without_odometry": Code.QUERY_FAILED,
    "query_on_hold": Code.QUERY_FAILED,
    "query_failed": Code.QUERY_FAILED,
    "frame_unknown": Code.TF_ERROR,
}


class Nav2Robot:
    """A GoalRobot. ``request`` asks for the photo in the fixed frame; query_timeout: seconds of wall time."""

    def __init__(
        self,
        memory: MemoryClient,
        nav2: Nav2Client,
        motion: RobotMotion,
        request: QueryPose.Request,
        query_timeout: float,
        behavior_tree: str = "",
    ):
        self._memory, self._nav2, self._motion = memory, nav2, motion
        self._request, self._query_timeout, self._behavior_tree = request, query_timeout, behavior_tree
        self.sent: PoseStamped | None = None  # Nav2's goal

    @property
    def travelled(self) -> float:
        """Metres driven so far."""
        return self._motion.travelled

    def ask(self, check: Check) -> Estimate:
        """The memory's answer about the photo. Raises NoAnswer, or NavigationError for a photo it cannot use."""
        try:
            return self._memory.ask(self._request, self._query_timeout, check)
        except MemoryUnavailable as error:
            raise NoAnswer(str(error), Code.MEMORY_UNAVAILABLE) from error
        except QueryRefused as error:
            if error.reason in _PASSING:
                raise NoAnswer(str(error), _PASSING[error.reason]) from error
            code = Code.INVALID_GOAL if error.reason == "query_hfov" else Code.INVALID_IMAGE
            raise NavigationError(str(error), code) from error

    def send(self, pose: ArrayLike, check: Check) -> None:
        """Replaces Nav2's goal by the pose (3,) of the fixed frame; returns when Nav2 has accepted it."""
        goal = self._motion.goal(pose)
        self._nav2.send(goal, self._behavior_tree, check)
        self.sent = goal

    def arrived(self) -> bool:
        """Whether Nav2 says that the robot is there. Raises NavigationError if Nav2 gave up or fell silent."""
        return self._nav2.arrived()
