"""What a program asks running nodes: where was this photo taken, and drive there.

with KinaemaClient() as kinaema:
    print(kinaema.query("sofa.jpg").pose)
    print(kinaema.go_to("sofa.jpg", on_feedback=print).message)
    kinaema.add_place("kitchen")  # here
    print(kinaema.go_to(place="kitchen").message)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sensor_msgs.msg import CompressedImage, Image

from kinaema_interfaces.action import NavigateToImage
from kinaema_interfaces.srv import AddPlace, QueryPose
from kinaema_ros.errors import InputError, KinaemaError
from kinaema_ros.estimate import Estimate, Place
from kinaema_ros.geometry import Array
from kinaema_ros.nodes.client.places import PlacesClient
from kinaema_ros.nodes.support import messages
from kinaema_ros.nodes.support.memory_client import MemoryClient
from kinaema_ros.nodes.support.spinning import SpinningNode, action_client
from kinaema_ros.nodes.support.waiting import wait_for, wait_until

Photo = str | Path | NDArray[np.uint8]
_CANCEL_TIMEOUT = 15.0  # seconds; the navigator itself waits up to 10 for Nav2 to confirm, by default


class NavigatorUnavailable(KinaemaError, RuntimeError):
    """No navigator_node takes goals; the message says what to do."""


@dataclass(frozen=True)
class Feedback:
    """How a drive to a photo goes."""

    goal: Array  # (3,) x, y, yaw in frame_id
    covariance: Array  # (3, 3)
    frame_id: str
    seen: float
    confidence: float  # that the goal is right
    distance_remaining: float  # metres, NaN before Nav2 said any
    num_queries: int


@dataclass(frozen=True)
class Arrival:
    """How a drive to a photo ended. ``error_code`` is one of NavigateToImage's; 0 is success.

    Of a success, ``message`` says why the camera could not confirm it; it is "" where it did.
    """

    error_code: int
    message: str
    goal: Array  # (3,) x, y, yaw in frame_id: the last goal Nav2 was given
    frame_id: str  # "" where Nav2 was given none
    num_queries: int
    # (3,) each, in the odometry's frame: where the robot arrived and saw another place than the photo's
    places_tried: tuple[Array, ...] = ()

    @property
    def reached(self) -> bool:
        """True if the robot got there."""
        return self.error_code == NavigateToImage.Result.NONE


class KinaemaClient:
    """Talks to the nodes of one robot, in its namespace; a thread of its own serves ROS meanwhile.

    ``go_to`` blocks until the robot is there; ``send_goal``, ``is_done``, ``feedback`` and ``cancel`` do not.
    """

    def __init__(self, namespace: str = ""):
        self._ros = SpinningNode("kinaema_client", namespace)
        self._query = MemoryClient(self._ros.node)
        self._places = PlacesClient(self._ros.node)
        self._drive = action_client(self._ros.node, NavigateToImage, "navigate_to_image")
        self._action_name = self._ros.node.resolve_service_name("navigate_to_image")
        self._goals = 0  # that were sent
        self._sending: Any = None  # of the newest: the future of its handle,
        self._result: Any = None  # and that of its end, once it was accepted
        self._feedback: Feedback | None = None
        self._unconfirmed = False  # a cancel, so that to wait for it once more would only take time

    def __enter__(self) -> KinaemaClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Cancels a drive that goes on, and leaves ROS. Raises NavigatorUnavailable where nobody confirms the former."""
        try:
            if self._drive.server_is_ready() and not self._unconfirmed:
                self.cancel()
        finally:
            self._ros.close()

    def query(
        self,
        photo: Photo | None = None,
        frame_id: str = "",
        timeout: float = 15.0,
        hfov_deg: float = 0.0,
        place: str = "",
    ) -> Estimate:
        """Where was this photo taken? Or, where is the ``place`` of this name?

        photo: an image file, or an array (H, W, 3) uint8 RGB. hfov_deg: across the longer side of a photo by another
        camera than the robot's; 0: what the file's EXIF data says. frame_id: "" for the robot's base, its odometry's
        frame, or one that TF reaches. Raises MemoryUnavailable, QueryRefused, OSError for an unreadable file, InputError for an
        empty one.
        """
        image, compressed = _messages(photo)
        request = QueryPose.Request(image=image, compressed_image=compressed, frame_id=frame_id)
        request.hfov_deg, request.place = hfov_deg, place
        return self._query.ask(request, timeout)

    def add_place(
        self,
        name: str,
        photo: Photo | None = None,
        pose: ArrayLike | None = None,
        frame_id: str = "",
        hfov_deg: float = 0.0,
        timeout: float = 15.0,
    ) -> tuple[Place, bool]:
        """Give a place a name: where the robot is, where a photo was taken, or a ``pose`` (x, y, yaw) of ``frame_id``.

        photo, hfov_deg: as in ``query``. Returns the place, with its pose in the odometry's frame, and whether another one had
        the name, which it replaces. Raises MemoryUnavailable, PlaceRefused, and as ``query`` for the photo.
        """
        image, compressed = _messages(photo)
        request = AddPlace.Request(name=name, image=image, compressed_image=compressed, hfov_deg=hfov_deg)
        return self._places.add(request, pose, frame_id, timeout)

    def remove_place(self, name: str, timeout: float = 15.0) -> None:
        """Forget the name of a place. Raises MemoryUnavailable, PlaceRefused."""
        self._places.remove(name, timeout)

    def places(self, frame_id: str = "", timeout: float = 15.0) -> dict[str, Place]:
        """The named places, with their poses in this frame ("": the odometry's). Raises MemoryUnavailable, PlaceRefused."""
        return self._places.list(frame_id, timeout)

    def go_to(
        self,
        photo: Photo | None = None,
        min_seen: float = 0.0,
        position_tolerance: float = 0.0,
        yaw_tolerance: float = 0.0,
        on_feedback: Callable[[Feedback], object] | None = None,
        timeout: float = 15.0,
        min_confidence: float = 0.0,
        hfov_deg: float = 0.0,
        place: str = "",
    ) -> Arrival:
        """Drives to where the photo was taken, or to the ``place`` of this name; returns when the drive has ended, however long it takes.

        Zeros stand for the navigator's defaults; ``timeout`` (seconds) is how long the navigator may take to
        accept; hfov_deg as in ``query``. An exception, KeyboardInterrupt included, cancels the drive. Raises NavigatorUnavailable, also
        instead of that exception where nobody confirms that the drive has ended.
        """
        self.send_goal(
            photo,
            min_seen,
            position_tolerance,
            yaw_tolerance,
            on_feedback,
            timeout,
            min_confidence,
            hfov_deg,
            place,
        )
        with self._cancelled_on_error():
            wait_for(self._result, float("inf"), self._check_alive)
        return self.arrival

    def send_goal(
        self,
        photo: Photo | None = None,
        min_seen: float = 0.0,
        position_tolerance: float = 0.0,
        yaw_tolerance: float = 0.0,
        on_feedback: Callable[[Feedback], object] | None = None,
        timeout: float = 15.0,
        min_confidence: float = 0.0,
        hfov_deg: float = 0.0,
        place: str = "",
    ) -> None:
        """Begins a drive as ``go_to`` does, and returns once the navigator has accepted it.

        Then ask ``is_done`` and ``feedback``, or ``cancel``; ``arrival`` says how it ended. The navigator has one
        drive at a time: a new one ends that before it. ``close`` cancels a drive that still goes on.
        """
        image, compressed = _messages(photo)
        goal = NavigateToImage.Goal(image=image, compressed_image=compressed, min_seen=min_seen)
        goal.position_tolerance, goal.yaw_tolerance = position_tolerance, yaw_tolerance
        goal.min_confidence, goal.hfov_deg, goal.place = min_confidence, hfov_deg, place
        absent = NavigatorUnavailable(
            f"no answer from the action {self._action_name} within {timeout:g} s; start navigator_node"
        )
        try:
            wait_until(self._drive.server_is_ready, timeout)
        except TimeoutError:
            raise absent from None
        self._feedback, self._result, self._unconfirmed = None, None, False
        self._sending = sending = self._drive.send_goal_async(
            goal, self._keeping(on_feedback, self._goals + 1)
        )
        self._goals += 1
        with self._cancelled_on_error(absent):
            handle: Any = wait_for(sending, timeout)
            if not handle.accepted:
                self._sending = None
                raise NavigatorUnavailable(
                    f"the action {self._action_name} took no goal; see navigator_node's log"
                )
            self._result = handle.get_result_async()

    def is_done(self) -> bool:
        """Whether the drive that ``send_goal`` began has ended. Raises NavigatorUnavailable where nobody drives any more."""
        if self._result is None or self._result.done():
            return True
        self._check_alive()
        return False

    @property
    def feedback(self) -> Feedback | None:
        """The newest of the drive that ``send_goal`` began; None before there is any."""
        return self._feedback

    @property
    def arrival(self) -> Arrival:
        """How the drive ended. Raises ValueError where none was begun, or before ``is_done``."""
        if self._result is None or not self._result.done():
            raise ValueError("no drive has ended: call send_goal, and wait until is_done()")
        result: NavigateToImage.Result = self._result.result().result
        return Arrival(
            result.error_code,
            result.error_msg,
            messages.planar_pose(result.final_goal.pose),
            result.final_goal.header.frame_id,
            result.num_queries,
            tuple(messages.planar_pose(tried.pose) for tried in result.places_tried),
        )

    def cancel(self) -> None:
        """Ends the drive that ``send_goal`` began, and waits for that; does nothing where it has ended.

        Raises NavigatorUnavailable where nobody confirms that the robot does not drive any more.
        """
        if self._sending is None or (self._result is not None and self._result.done()):
            return
        if doubt := _cancel(self._sending, self._result, self._action_name):
            self._unconfirmed = True
            raise NavigatorUnavailable(doubt)

    @contextmanager
    def _cancelled_on_error(self, absent: NavigatorUnavailable | None = None) -> Iterator[None]:
        """No drive outlives its caller. absent: what is told where the navigator does not answer in time."""
        try:
            yield
        except BaseException as error:
            cause = absent if absent is not None and isinstance(error, TimeoutError) else error
            try:
                self.cancel()
            except NavigatorUnavailable as doubt:
                raise NavigatorUnavailable(f"{str(cause) or 'interrupted'}; {doubt}") from error
            if cause is absent:
                raise cause from None
            raise

    def _check_alive(self) -> None:
        if not self._drive.server_is_ready():
            raise NavigatorUnavailable(
                "navigator_node ended on the way; Nav2's goal is canceled by its guard"
            )

    def _keeping(self, on_feedback: Callable[[Feedback], object] | None, goal: int) -> Callable[[Any], None]:
        """What receives the feedback of a goal, the client's goal'th, and passes it on."""

        def receive(message: Any) -> None:
            feedback = _unpacked(message.feedback)
            if goal == self._goals:  # not of the drive before
                self._feedback = feedback
            if on_feedback is not None:
                on_feedback(feedback)

        return receive


def _unpacked(message: NavigateToImage.Feedback) -> Feedback:
    return Feedback(
        messages.planar_pose(message.current_goal.pose.pose),
        messages.planar_covariance(message.current_goal.pose),
        message.current_goal.header.frame_id,
        message.seen,
        message.confidence,
        message.distance_remaining,
        message.num_queries,
    )


def _messages(photo: Photo | None) -> tuple[Image, CompressedImage]:
    """The two fields of a request; a file goes as it is, so that what it holds is decoded in one place."""
    if photo is None:
        return Image(), CompressedImage()
    if isinstance(photo, np.ndarray):
        return messages.rgb_msg(photo), CompressedImage()
    path = Path(photo)
    data = path.read_bytes()
    if not data:
        raise InputError(f"{path} is empty, no photo")
    return Image(), CompressedImage(format=path.suffix.lstrip(".").lower(), data=data)


def _cancel(sending: Any, ending: Any, name: str) -> str:
    """Cancels the drive whose goal was sent, also one that is accepted only now: no drive outlives its caller.

    sending, ending: the futures of the goal's handle and of its result; the latter None where it was not asked for.

    Returns "" once the drive has ended, or why the robot may still be driving.
    """
    try:
        handle = wait_for(sending, _CANCEL_TIMEOUT)
        if not handle.accepted:
            return ""
        wait_for(handle.cancel_goal_async(), _CANCEL_TIMEOUT)
        ended: Any = wait_for(handle.get_result_async() if ending is None else ending, _CANCEL_TIMEOUT)
    except TimeoutError:
        return (
            f"{name} did not confirm within {_CANCEL_TIMEOUT:g} s that the drive is canceled, so the robot may "
            "still be driving: stop it by other means, and check that navigator_node is alive"
        )
    result: NavigateToImage.Result = ended.result
    return result.error_msg if result.error_code == NavigateToImage.Result.NAV2_LOST else ""
