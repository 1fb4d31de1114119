"""The named places of a running memory_node."""

from __future__ import annotations

from typing import Any

from builtin_interfaces.msg import Time
from numpy.typing import ArrayLike
from rclpy.client import Client
from rclpy.node import Node

from kinaema_interfaces.msg import Place as PlaceMessage
from kinaema_interfaces.srv import AddPlace, ListPlaces, RemovePlace
from kinaema_ros.errors import KinaemaError
from kinaema_ros.estimate import Place, as_pose
from kinaema_ros.nodes.support import messages
from kinaema_ros.nodes.support.memory_client import call


class PlaceRefused(KinaemaError, RuntimeError):
    """memory_node did not do what was asked with a place; the message says why."""


class PlacesClient:
    """A client of ``kinaema_memory/add_place``, ``remove_place`` and ``list_places`` in the node's namespace."""

    def __init__(self, node: Node, memory: str = "kinaema_memory"):
        self._add: Client = node.create_client(AddPlace, f"{memory}/add_place")
        self._remove: Client = node.create_client(RemovePlace, f"{memory}/remove_place")
        self._list: Client = node.create_client(ListPlaces, f"{memory}/list_places")

    def add(
        self, request: AddPlace.Request, pose: ArrayLike | None, frame_id: str, timeout: float
    ) -> tuple[Place, bool]:
        """Adds a place; returns it, and whether another one had its name."""
        if pose is not None:
            request.pose = messages.pose_stamped(pose, frame_id, Time())
        response: AddPlace.Response = _done(call(self._add, request, timeout))
        there = as_pose(messages.planar_pose(response.pose.pose))
        return Place(request.name, True, there, response.pose.header.frame_id), response.replaced

    def remove(self, name: str, timeout: float) -> None:
        """Removes a place."""
        _done(call(self._remove, RemovePlace.Request(name=name), timeout))

    def list(self, frame_id: str, timeout: float) -> dict[str, Place]:
        """The places by name."""
        response: ListPlaces.Response = _done(
            call(self._list, ListPlaces.Request(frame_id=frame_id), timeout)
        )
        frame = response.header.frame_id
        return {place.name: _place(place, frame) for place in response.places}


def _place(message: PlaceMessage, frame_id: str) -> Place:
    known = bool(frame_id and message.in_memory)
    pose = as_pose(messages.planar_pose(message.pose)) if known else None
    return Place(message.name, message.in_memory, pose, frame_id if known else "")


def _done(response: Any) -> Any:
    if not response.success:
        raise PlaceRefused(response.message)
    return response
