"""Named places of the memory: added and listed by services."""

from __future__ import annotations

from dataclasses import dataclass, replace

from kinaema_interfaces.srv import AddPlace
from kinaema_ros import geometry
from kinaema_ros.errors import BadInput
from kinaema_ros.estimate import Place, as_pose
from kinaema_ros.geometry import Array
from kinaema_ros.nodes.memory.inputs import MemoryInputs
from kinaema_ros.nodes.memory.locating import Situation, camera_of, frame, situation
from kinaema_ros.nodes.support import messages


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
