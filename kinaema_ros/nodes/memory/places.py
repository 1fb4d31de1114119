"""Named places of the memory: the services by which they are added, removed and listed, and their markers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from builtin_interfaces.msg import Time
from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from visualization_msgs.msg import Marker

from kinaema_interfaces.srv import AddPlace, ListPlaces, RemovePlace
from kinaema_ros import geometry
from kinaema_ros.errors import BadInput, KinaemaError
from kinaema_ros.estimate import Place, as_pose
from kinaema_ros.geometry import Array
from kinaema_ros.nodes.memory.inputs import MemoryInputs
from kinaema_ros.nodes.memory.locating import Situation, camera_of, frame, situation
from kinaema_ros.nodes.memory.monitor import MemoryMonitor
from kinaema_ros.nodes.memory.reports import shown
from kinaema_ros.nodes.memory.turns import Turns
from kinaema_ros.nodes.support import messages
from kinaema_ros.nodes.support.markers import place_markers


@dataclass(frozen=True)
class Added:
    """A place that was added."""

    replaced: bool  # another place had the name
    pose: Array  # (3,) in the odometry's frame
    frame_id: str
    stamp: int  # nanoseconds, of the newest odometry


@dataclass(frozen=True)
class Listed:
    """The places by name. While the robot does not know where it is in its memory, they have no poses."""

    places: list[Place]
    frame_id: str = ""  # of the poses
    stamp: int = 0  # nanoseconds, of the newest odometry
    missing: str = ""  # why there are no poses


def add(inputs: MemoryInputs, request: AddPlace.Request) -> Added:
    """Raises ``BadInput`` for a request or a situation in which nothing can be added, and as the memory's ``add_place``."""
    posed = bool(request.pose.header.frame_id)
    here = not posed and not messages.has_image(request)
    photo = messages.photo_or_none(request, posed, here)
    now = situation(inputs)
    if photo is not None:
        camera = camera_of(inputs, now.memory, photo, request)
        replaced = now.memory.add_place(request.name, photo, camera=camera)
    else:
        odom_T_place = now.odom_T_base if here else _tapped(inputs, request, now)
        memory_pose = geometry.compose(now.memory_T_odom, odom_T_place)
        replaced = now.memory.add_place(request.name, odom_pose=memory_pose)
    place = now.memory.locate_place(request.name)
    assert place.odom_pose is not None
    return Added(replaced, now.odom_pose(place.odom_pose), now.odom_frame, now.stamp)


def _tapped(inputs: MemoryInputs, request: AddPlace.Request, now: Situation) -> Array:
    """The pose (3,) of a request in the odometry's frame."""
    frame_T_odom, _ = frame(inputs, request.pose.header.frame_id, now)
    return geometry.compose(geometry.inverse(frame_T_odom), messages.checked_pose(request.pose.pose))


def listed(inputs: MemoryInputs, frame_id: str = "") -> Listed:
    """The places with their poses in a frame; "": the odometry's.

    Raises ``KinaemaError`` before the node is configured, and ``BadInput`` for a frame that is not known.
    """
    places = list(inputs.configured_memory().places.values())
    try:
        now = situation(inputs)
    except BadInput as error:
        return Listed([replace(place, pose=None) for place in places], missing=str(error))
    frame_T_odom, name = frame(inputs, frame_id or now.odom_frame, now)

    def moved(place: Place) -> Place:
        if place.pose is None:
            return place
        return replace(place, pose=as_pose(geometry.compose(frame_T_odom, now.odom_pose(place.pose))))

    return Listed([moved(place) for place in places], name, now.stamp)


Response = TypeVar("Response", AddPlace.Response, RemovePlace.Response, ListPlaces.Response)


class PlaceServices:
    """``~/add_place``, ``~/remove_place`` and ``~/list_places`` of memory_node."""

    def __init__(
        self, node: Node, inputs: MemoryInputs, monitor: MemoryMonitor, turns: Turns, group: CallbackGroup
    ):
        self._inputs, self._monitor, self._turns = inputs, monitor, turns
        node.create_service(AddPlace, "~/add_place", self._on_add, callback_group=group)
        node.create_service(RemovePlace, "~/remove_place", self._on_remove, callback_group=group)
        node.create_service(ListPlaces, "~/list_places", self._on_list, callback_group=group)

    def markers(self, stamp: Time) -> list[Marker]:
        """The names where they are, in the odometry's frame."""
        try:
            found = listed(self._inputs)
        except KinaemaError:  # a cleanup in another thread
            return []
        return place_markers(found.places, found.frame_id, stamp)

    def _on_add(self, request: AddPlace.Request, response: AddPlace.Response) -> AddPlace.Response:
        def work() -> str:
            added = self._turns.take(lambda: add(self._inputs, request))
            stamp = messages.time_msg(added.stamp)
            response.pose = messages.pose_stamped(added.pose, added.frame_id, stamp)
            response.replaced = added.replaced
            return f"{'replaced' if added.replaced else 'added'} the place '{request.name}'"

        return self._done(response, "nothing was added", work)

    def _on_remove(
        self, request: RemovePlace.Request, response: RemovePlace.Response
    ) -> RemovePlace.Response:
        def work() -> str:
            self._inputs.configured_memory().remove_place(request.name)
            return f"removed the place '{request.name}'"

        return self._done(response, "nothing was removed", work)

    def _on_list(self, request: ListPlaces.Request, response: ListPlaces.Response) -> ListPlaces.Response:
        def work() -> str:
            found = listed(self._inputs, request.frame_id)
            response.header.frame_id, response.header.stamp = found.frame_id, messages.time_msg(found.stamp)
            response.places = [messages.place_msg(place) for place in found.places]
            return found.missing

        return self._done(response, "there is no list", work)

    def _done(self, response: Response, otherwise: str, work: Callable[[], str]) -> Response:
        """The response to a request: what ``work`` says, or why it was not done."""
        try:
            response.message = shown(work())
            response.success = True
        except KinaemaError as error:
            response.message = shown(f"{otherwise}: {error}")
        except Exception as error:  # one request must not end the node
            response.message = self._monitor.fault("place_failed", otherwise, error)
        return response
