"""Comparing a photo with what the robot's camera sees: photo in, verdict out."""

from __future__ import annotations

from kinaema_interfaces.srv import CompareView
from kinaema_ros import geometry
from kinaema_ros.comparison import Comparison
from kinaema_ros.errors import BadInput, KinaemaError
from kinaema_ros.nodes.memory.inputs import MemoryInputs
from kinaema_ros.nodes.memory.locating import camera_of, localized_memory
from kinaema_ros.nodes.support import messages
from kinaema_ros.odometry import told
from kinaema_ros.stamps import NANOSECONDS

_MAX_AGE = (
    2.0  # seconds of the newest image against the newest odometry: an older one shows where the robot was
)


def compare(inputs: MemoryInputs, request: CompareView.Request) -> Comparison:
    """Asks the memory; the pose is in the odometry's frame.

    Raises ``BadInput`` for a request or a situation in which nothing can be compared.
    """
    photo = messages.query_to_rgb(request)
    memory = localized_memory(inputs)
    newest, now = inputs.newest, inputs.tracker.now()
    if newest is None or now is None:
        raise BadInput("query_without_view", "no image has come with its odometry yet: check the camera")
    image, memory_T_base = newest
    age = (now[0] - messages.stamp_ns(image.header.stamp)) / NANOSECONDS
    if age > _MAX_AGE:
        raise BadInput(
            "query_without_view", f"the newest image is {age:.1f} s older than the odometry: check the camera"
        )
    try:
        camera = camera_of(inputs, memory, photo, request)
        view = messages.image_to_rgb(image)
        tilt = inputs.tracker.tilt_at(messages.stamp_ns(image.header.stamp))
        comparison = memory.compare(photo, view, memory_T_base, camera=camera, **told(tilt))
    except BadInput:
        raise
    except KinaemaError as error:  # also where it was emptied since the check above
        raise BadInput("query_failed", f"nothing could be compared: {error}") from error
    return comparison.seen_from(geometry.between(now[2], memory_T_base))
