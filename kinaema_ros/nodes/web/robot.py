"""The robot as the page sees it: what its nodes publish, kept; what is asked of them, passed on."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseArray, PoseWithCovarianceStamped
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CompressedImage

from kinaema_interfaces.action import NavigateToImage
from kinaema_interfaces.msg import MemoryStatus
from kinaema_interfaces.srv import AddPlace, ListPlaces, QueryPose, RemovePlace
from kinaema_ros.estimate import Alternative, Estimate
from kinaema_ros.nodes.navigator.robot_motion import RobotMotion
from kinaema_ros.nodes.support import messages
from kinaema_ros.nodes.support.markers import ellipse_90
from kinaema_ros.nodes.support.memory_client import MemoryClient, MemoryUnavailable, QueryRefused
from kinaema_ros.nodes.support.waiting import wait_for
from kinaema_ros.nodes.web.contract import (
    PIN,
    Answer,
    Ellipse,
    Guess,
    Map,
    Place,
    Pose,
    RobotRefuses,
    State,
    Target,
)
from kinaema_ros.nodes.web.drives import Drives
from kinaema_ros.nodes.web.parameters import WebParameters
from kinaema_ros.nodes.web.photo import Photo
from kinaema_ros.nodes.web.pictures import Pictures

_MEMORY_TIMEOUT = 15.0  # seconds for the memory to answer
_STATUS_AGE = 5.0  # seconds after which a memory that says nothing is not there
_STEP = 0.25  # metres between two points of the path
_JUMP = 3.0  # metres: the odometry began anew
_MOST_POINTS = 800
_STATES = {
    getattr(MemoryStatus, name): name.lower()
    for name in ("INACTIVE", "WAITING", "LOCALIZING", "RUNNING", "HOLD", "FAILED")
}


class RosRobot:
    """Implements contract.Robot over a node that somebody spins in several threads."""

    def __init__(self, node: Node, parameters: WebParameters):
        self._node = node
        group = ReentrantCallbackGroup()
        self._memory = MemoryClient(node, group)
        self._places: dict[Any, Any] = {
            kind: node.create_client(kind, f"kinaema_memory/{name}", callback_group=group)
            for kind, name in (
                (AddPlace, "add_place"),
                (RemovePlace, "remove_place"),
                (ListPlaces, "list_places"),
            )
        }
        self._drives = Drives(node, group)
        self._pictures = Pictures(node, parameters)
        self._motion = RobotMotion(node, "odom", "map")
        self._motion.start()
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        node.create_subscription(
            MemoryStatus, "kinaema_memory/status", self._on_status, 5, callback_group=group
        )
        node.create_subscription(
            PoseArray, "kinaema_memory/viewpoints", self._on_viewpoints, latched, callback_group=group
        )
        node.create_subscription(
            PoseWithCovarianceStamped, "kinaema_memory/pose", self._on_pose, latched, callback_group=group
        )
        self._certainty: Ellipse | None = None  # as seen by the robot
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._status, self._heard = MemoryStatus(), -math.inf
        self._path: list[tuple[float, float]] = []
        self._map = Map()
        self._listing: Any = None
        for period, look in ((0.2, self._motion.group.wake), (0.5, self._on_half_second)):
            node.create_timer(period, look, callback_group=group, clock=self._steady)

    def close(self) -> None:
        """Unsubscribes from what comes often."""
        self._pictures.close()
        self._motion.stop()

    # -- what there is to see --------------------------------------------------------------------------------

    def state(self) -> State:
        """How things are."""
        status, there = self._status, self._seconds() - self._heard < _STATUS_AGE
        pose = _pose(self._motion.pose) if self._motion.known() else None
        ellipse = self._certainty if there and status.state == MemoryStatus.RUNNING else None
        return State(
            pose=pose,
            ellipse=(*ellipse[:2], ellipse[2] + pose[2]) if ellipse and pose else None,
            memory=_STATES.get(status.state, "failed") if there else "absent",
            waiting_for=status.waiting_for or status.last_error if there else "",
            updates=status.num_updates,
            camera=self._pictures.published,
            drive=self._drives.now,
        )

    def map(self) -> Map:
        """What the memory knows."""
        return self._map

    def camera(self) -> bytes | None:
        """The newest picture as JPEG."""
        return self._pictures.newest()

    # -- what is asked of it ---------------------------------------------------------------------------------

    def locate(self, photo: Photo) -> Answer:
        """Where was this photo taken, in the odometry's frame?"""
        if not self._motion.known():
            raise RobotRefuses(
                "no_odometry", "there is no odometry, so that no place can be shown; remap odom"
            )
        request = QueryPose.Request(
            compressed_image=_image(photo), hfov_deg=photo.hfov_deg, frame_id=self._motion.fixed_frame
        )
        try:
            estimate = self._memory.ask(request, _MEMORY_TIMEOUT)
        except QueryRefused as error:
            raise RobotRefuses(error.reason, str(error)) from error
        except MemoryUnavailable as error:
            raise RobotRefuses("memory_unavailable", str(error)) from error
        return Answer(estimate.seen, (_guess(estimate), *map(_guess, estimate.alternatives)))

    def go(self, target: Target) -> int:
        """Sends the robot to a photo or a place; a pose becomes the place PIN first."""
        goal = NavigateToImage.Goal()
        if target.photo is not None:
            goal.compressed_image, goal.hfov_deg = _image(target.photo), target.photo.hfov_deg
        else:
            if target.pose is not None:
                self.add_place(PIN, target)
            goal.place = target.place or PIN
        return self._drives.send(goal)

    def stop(self) -> str:
        """Ends every drive, whoever began it."""
        return self._drives.stop()

    def add_place(self, name: str, target: Target) -> bool:
        """Names the target, or where the robot is; returns whether the name was another place's before."""
        request = AddPlace.Request(name=name)
        if target.photo is not None:
            request.compressed_image, request.hfov_deg = _image(target.photo), target.photo.hfov_deg
        elif target.pose is not None:
            now = messages.time_msg(0)
            request.pose = messages.pose_stamped(target.pose, self._motion.fixed_frame, now)
        response: AddPlace.Response = self._call(AddPlace, request)
        self._list_places()
        return bool(response.replaced)

    def remove_place(self, name: str) -> None:
        """Forgets a name."""
        self._call(RemovePlace, RemovePlace.Request(name=name))
        self._list_places()

    def _call(self, kind: Any, request: Any) -> Any:
        client = self._places[kind]
        if not client.service_is_ready():
            raise RobotRefuses(
                "memory_unavailable", f"there is no service {client.service_name}; start memory_node"
            )
        future = client.call_async(request)
        try:
            response = wait_for(future, _MEMORY_TIMEOUT)
        except TimeoutError:
            client.remove_pending_request(future)
            raise RobotRefuses(
                "memory_unavailable",
                f"{client.service_name} did not answer within {_MEMORY_TIMEOUT:g} s; is memory_node alive?",
            ) from None
        if not response.success:
            raise RobotRefuses(_key(response.message), response.message)
        return response

    # -- what is heard ---------------------------------------------------------------------------------------

    def _on_status(self, status: MemoryStatus) -> None:
        self._status, self._heard = status, self._seconds()

    def _on_pose(self, message: PoseWithCovarianceStamped) -> None:
        """In whatever frame: how sure it is looks the same from the robot."""
        covariance = messages.planar_covariance(message.pose)
        self._certainty = None
        if np.isfinite(covariance).all():
            major, minor, direction = ellipse_90(covariance)
            self._certainty = major, minor, direction - float(messages.planar_pose(message.pose.pose)[2])

    def _on_viewpoints(self, message: PoseArray) -> None:
        self._show(viewpoints=tuple(_pose(messages.planar_pose(pose)) for pose in message.poses))

    def _on_half_second(self) -> None:
        self._motion.refresh()
        self._pictures.refresh()
        self._drives.check()
        self._follow()
        listing = self._listing
        if listing is not None and listing.done():
            self._listing = None
            self._take_places(listing.result())
        elif listing is None and self._places[ListPlaces].service_is_ready():
            self._listing = self._places[ListPlaces].call_async(ListPlaces.Request())

    def _follow(self) -> None:
        """Draws the path on."""
        if not self._motion.known():
            return
        x, y, _ = _pose(self._motion.pose)
        if self._path:
            step = math.hypot(x - self._path[-1][0], y - self._path[-1][1])
            if step < _STEP:
                return
            if step > _JUMP:
                self._path.clear()
        self._path.append((x, y))
        if len(self._path) > _MOST_POINTS:
            del self._path[::2]
        self._show(path=tuple(self._path))

    def _list_places(self) -> None:
        self._take_places(self._call(ListPlaces, ListPlaces.Request()))

    def _take_places(self, response: ListPlaces.Response) -> None:
        if response.success:
            known = bool(response.header.frame_id)
            places = tuple(
                Place(p.name, _pose(messages.planar_pose(p.pose)) if known and p.in_memory else None)
                for p in response.places
            )
            if places != self._map.places:
                self._show(places=places)

    def _show(self, **news: Any) -> None:
        before = self._map
        known = {"viewpoints": before.viewpoints, "path": before.path, "places": before.places, **news}
        self._map = Map(version=before.version + 1, **known)

    def _seconds(self) -> float:
        return self._steady.now().nanoseconds * 1e-9


def _pose(pose: Any) -> Pose:
    """To the centimetre and a tenth of a degree: it goes to many pages, often."""
    x, y, yaw = pose
    return round(float(x), 2), round(float(y), 2), round(float(yaw), 3)


def _guess(estimate: Estimate | Alternative) -> Guess:
    return Guess(_pose(estimate.pose), ellipse_90(estimate.covariance), float(estimate.confidence))


def _image(photo: Photo) -> CompressedImage:
    return CompressedImage(format="jpeg", data=photo.jpeg)


def _key(message: str) -> str:
    """The reason that begins a message of the memory, such as "place_unknown: ..."."""
    found = re.match(r"[a-z_]+(?=: )", message)
    return found[0] if found else "robot"
