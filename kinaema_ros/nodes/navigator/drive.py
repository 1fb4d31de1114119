"""A PhotoDrive (kinaema_ros/navigation/photo_drive.py) that asks memory_node and sends its goals to Nav2."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from geometry_msgs.msg import PoseStamped

from kinaema_interfaces.srv import QueryPose
from kinaema_ros.estimate import Estimate
from kinaema_ros.geometry import Array
from kinaema_ros.navigation.photo_drive import (
    DriveLimits,
    DriveTimeout,
    NoAnswer,
    NotSeen,
    PhotoDrive,
    refuse_unseen,
)
from kinaema_ros.nodes.navigator.nav2_client import Code, Nav2Client, NavigationError
from kinaema_ros.nodes.navigator.robot_motion import RobotMotion
from kinaema_ros.nodes.support.memory_client import MemoryClient, MemoryUnavailable, QueryRefused

_CODES = {
    "query_before_update": Code.MEMORY_EMPTY,
    "query_inactive": Code.MEMORY_UNAVAILABLE,
    "query_without_odometry": Code.QUERY_FAILED,
    "query_on_hold": Code.QUERY_FAILED,
    "query_failed": Code.QUERY_FAILED,
    "frame_unknown": Code.TF_ERROR,
}


class MemorySilent(NavigationError, NoAnswer):
    """The memory gives no answer for reasons that may pass."""


def ask(
    memory: MemoryClient, request: QueryPose.Request, timeout: float, check: Callable[[], None]
) -> Estimate:
    """Asks the memory; what goes wrong is a NavigationError."""
    try:
        return memory.ask(request, timeout, check)
    except MemoryUnavailable as error:
        raise MemorySilent(Code.MEMORY_UNAVAILABLE, str(error)) from error
    except QueryRefused as error:  # all other reasons are about the photo
        code = _CODES.get(error.reason, Code.INVALID_IMAGE)
        raise (NavigationError if code == Code.INVALID_IMAGE else MemorySilent)(code, str(error)) from error


def first_answer(
    memory: MemoryClient,
    request: QueryPose.Request,
    min_seen: float,
    timeout: float,
    check: Callable[[], None],
) -> Estimate:
    """As ``ask``, refusing a photo of a place that was probably never seen."""
    answer = ask(memory, request, timeout, check)
    try:
        refuse_unseen(answer, min_seen)
    except NotSeen as error:
        raise NavigationError(Code.NOT_SEEN, str(error)) from error
    return answer


class NavigatorDrive(PhotoDrive):
    """One photo, driven to. ``now`` is the node's clock in seconds; ``check`` raises when the drive must end."""

    def __init__(
        self,
        memory: MemoryClient,
        nav2: Nav2Client,
        motion: RobotMotion,
        now: Callable[[], float],
        check: Callable[[], None],
        warn: Callable[[str], object],
    ):
        super().__init__(
            self._ask_memory, self._send_to_nav2, nav2.arrived, lambda: motion.travelled, now, check, warn
        )
        self._memory, self._nav2, self._motion = memory, nav2, motion
        self._request, self._query_timeout, self._behavior_tree = QueryPose.Request(), 0.0, ""
        self.sent: PoseStamped | None = None  # Nav2's goal

    def drive(
        self, request: QueryPose.Request, limits: DriveLimits, query_timeout: float, behavior_tree: str
    ) -> Iterator[None]:
        """As ``run``; every end but arrival is a NavigationError."""
        self._request, self._query_timeout, self._behavior_tree = request, query_timeout, behavior_tree
        try:
            yield from self.run(limits)
        except NotSeen as error:
            raise NavigationError(Code.NOT_SEEN, str(error)) from error

    def check(self) -> None:
        """Raises NavigationError when the drive must end, which Nav2Client relies on."""
        try:
            super().check()
        except DriveTimeout as error:
            raise NavigationError(Code.TIMEOUT, str(error)) from error

    def _ask_memory(self) -> Estimate:
        return ask(self._memory, self._request, self._query_timeout, self.check)

    def _send_to_nav2(self, fixed_T_goal: Array) -> None:
        goal = self._motion.goal(fixed_T_goal)
        self._nav2.send(goal, self._behavior_tree, self.check)
        self.sent = goal
