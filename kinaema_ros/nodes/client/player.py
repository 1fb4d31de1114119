"""Plays a recorded drive to a running memory_node and asks its service: `kinaema replay --through-ros`.

The node must see every frame, as the replay without ROS does, and it lets images go when too many wait. So
the player sends one image at a time and waits for the ~/status that says the node is done with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import rclpy
from nav_msgs.msg import Odometry
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node, NodeNameNonExistentError
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_srvs.srv import Trigger

from kinaema_interfaces.msg import MemoryStatus
from kinaema_interfaces.srv import QueryPose
from kinaema_ros import geometry
from kinaema_ros.errors import KinaemaError
from kinaema_ros.estimate import Estimate
from kinaema_ros.nodes.support import messages
from kinaema_ros.nodes.support.spinning import new_context
from kinaema_ros.replay.bag import BagError, Frame, Recording
from kinaema_ros.replay.queries import Query
from kinaema_ros.replay.replay import Outcome, Progress, no_progress

DISCOVERY_S = 20.0  # until the node and its topics must have been found
ANSWER_S = 30.0  # until the node must be done with an image or a query; a loaded machine takes its time
# Odometry messages between two images; below the depth of the node's subscription, so that none is lost.
MAX_BURST = 50
_LOST = (
    "skipped_newer_image",
    "skipped_late_odometry",
)  # what the node skips though it is a keyframe, perhaps
GIVE_UP_AFTER = 20  # images of which the node used none
BASE_FRAME = "base_link"


def play(
    recording: Recording,
    queries: Sequence[Query],
    node_name: str = "/kinaema_memory",
    progress: Progress = no_progress,
) -> Outcome:
    """Empty the node's memory, stream the recording, ask the queries.

    Raises KinaemaError saying what to do if there is no such node or it does not answer, BagError if it uses
    none of the images.
    """
    with _node() as node:
        player = _Player(node, "/" + node_name.strip("/"), recording)
        player.reset()
        last: Frame | None = None
        for frame in progress(
            recording.frames(), total=recording.image_topic.count, desc="playing", unit="frame"
        ):
            player.send(frame)
            last = frame
        if last is None:
            raise BagError(f"no image of {recording.image_topic.name} has odometry at its stamp")
        answers = []
        for query in progress(queries, total=len(queries), desc="asking", unit="query"):
            answers.append(player.ask(query, last.odom_pose))
        return player.outcome(answers, last)


class _Player:
    def __init__(self, node: Node, target: str, recording: Recording):
        self._node, self._target, self._recording = node, target, recording
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)
        self._status: MemoryStatus | None = None
        node.create_subscription(MemoryStatus, f"{target}/status", self._on_status, QoSProfile(depth=100))
        self._query: Any = node.create_client(QueryPose, f"{target}/query_pose")
        self._reset: Any = node.create_client(Trigger, f"{target}/reset")
        self._image_type = CompressedImage if "Compressed" in recording.image_topic.type else Image
        self._wait(lambda: self._status is not None, DISCOVERY_S, f"there is no memory_node {target}")
        self._wait(self._ready, ANSWER_S, f"{target} is not active")  # it may be loading its network
        self._images = self._publisher(self._image_type)
        self._odometry = self._publisher(Odometry)
        self._cameras = self._publisher(CameraInfo)
        for publisher in (self._images, self._odometry, self._cameras):
            topic = publisher.topic_name
            self._wait(partial(_has_listener, publisher), DISCOVERY_S, f"nobody listens to {topic}")
        self._sent = 0
        self._next_odometry = -1  # index into the drive's track; -1 before the first image
        self._start = self._now()

    def reset(self) -> None:
        """Empty the memory and say what camera the images are from."""
        response = self._call(self._reset, Trigger.Request())
        if not response.success:
            raise KinaemaError(f"{self._target} does not empty its memory: {response.message}")
        self._status = None  # count from a status that is surely younger than what the node did before
        self._wait(lambda: self._status is not None, ANSWER_S, f"{self._target} publishes no status")
        self._start = self._now()
        if self._recording.camera is not None:
            camera = self._recording.camera
            info = CameraInfo(width=camera.width, height=camera.height)
            info.distortion_model, info.d = camera.distortion_model, list(camera.distortion)
            info.k = [camera.fx, 0.0, camera.cx, 0.0, camera.fy, camera.cy, 0.0, 0.0, 1.0]
            self._cameras.publish(info)

    def send(self, frame: Frame) -> None:
        """Publish the odometry up to a frame, then its image, and wait until the node is done with it."""
        track = self._recording.odom
        after = int(np.searchsorted(track.stamps_ns, frame.stamp_ns))
        first = after - 1 if self._next_odometry < 0 else self._next_odometry
        wanted = np.arange(max(first, 0), after + 1)
        if len(wanted) > MAX_BURST:  # thinned out, but the two that the frame lies between
            wanted = np.unique(np.append(np.linspace(wanted[0], after, MAX_BURST - 1).astype(int), after - 1))
        for index in wanted:
            self._odometry.publish(_odometry(int(track.stamps_ns[index]), track.poses[index], track.frame_id))
        self._next_odometry = after + 1
        self._images.publish(frame.serialized)
        self._sent += 1
        self._wait(
            lambda: self._done() >= self._sent,
            ANSWER_S,
            f"{self._target} is not done with image {self._sent}",
        )
        status = self._now()
        if (
            self._sent == 1
            and self._recording.camera is not None
            and status.frames_used > self._start.frames_used
            and status.hfov_source != "camera_info"
        ):
            raise KinaemaError(
                f"{self._target} took the first image before it knew the camera; run this again"
            )
        if self._sent == GIVE_UP_AFTER and status.frames_used == self._start.frames_used:
            raise BagError(
                f"{self._target} used none of {self._sent} images: {status.last_error or 'no reason given'}"
            )

    def ask(self, query: Query, odom_T_robot: geometry.Array) -> Estimate:
        """The node's answer in the robot's frame, `odom_T_robot` being the robot's pose at the last frame."""
        request = QueryPose.Request(frame_id=self._recording.odom.frame_id)
        request.compressed_image.format = query.path.suffix.lstrip(".").lower()
        request.compressed_image.data = query.path.read_bytes()
        request.hfov_deg = query.hfov_deg
        response = self._call(self._query, request)
        if not response.success:
            raise KinaemaError(f"{self._target} does not answer {query.file}: {response.message}")

        def to_robot(
            pose: geometry.Array, covariance: geometry.Array
        ) -> tuple[geometry.Array, geometry.Array]:
            return (
                geometry.between(odom_T_robot, pose),
                geometry.rotate_covariance(covariance, -odom_T_robot[2]),
            )

        return messages.response_to_estimate(response).moved(to_robot)

    def outcome(self, answers: list[Estimate], last: Frame) -> Outcome:
        """The counts since the reset, by the node's status once it has counted every query."""
        self._wait(
            lambda: self._now().queries >= self._start.queries + len(answers),
            ANSWER_S,
            "the node's status is late",
        )
        status, start = self._now(), self._start
        lost = sum(_reason(status, why) - _reason(start, why) for why in _LOST)
        dropped = dict(self._recording.dropped)
        if status.frames_dropped > start.frames_dropped:
            reason = f"refused by the node ({status.last_error})"
            dropped[reason] = status.frames_dropped - start.frames_dropped
        if lost:
            dropped["lost because the node was busy"] = lost
        return Outcome(
            answers,
            last.stamp_ns,
            last.odom_pose,
            used=status.frames_used - start.frames_used,
            skipped=status.frames_skipped - start.frames_skipped - lost,
            dropped=dropped,
            update_ms=float(status.update_median_ms),
            query_ms=float(status.query_median_ms),
            state_bytes=status.state_bytes,
        )

    # -- waiting ---------------------------------------------------------------------------------------------

    def _on_status(self, status: MemoryStatus) -> None:
        self._status = status

    def _now(self) -> MemoryStatus:
        assert self._status is not None
        return self._status

    def _ready(self) -> bool:
        return (
            self._now().state != MemoryStatus.INACTIVE
            and self._query.service_is_ready()
            and self._reset.service_is_ready()
        )

    def _done(self) -> int:
        status, start = self._now(), self._start
        return sum(
            getattr(status, name) - getattr(start, name)
            for name in ("frames_used", "frames_skipped", "frames_dropped")
        )

    def _wait(self, condition: Callable[[], bool], seconds: float, otherwise: str) -> None:
        """Take messages until a condition holds; KinaemaError with what is the matter if it never does."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise KinaemaError(
                    f"{otherwise} (waited {seconds:.0f} s); is it running, in this ROS_DOMAIN_ID?"
                )
            self._executor.spin_once(timeout_sec=0.1)

    def _call(self, client: Any, request: Any) -> Any:
        future = client.call_async(request)
        self._wait(future.done, ANSWER_S, f"{client.service_name} does not answer")
        return future.result()

    def _publisher(self, message_type: type) -> Any:
        """A publisher to the topic that the node takes this type from, whatever it was remapped to."""
        wanted = f"{message_type.__module__.split('.')[0]}/msg/{message_type.__name__}"
        namespace, _, name = self._target.rpartition("/")
        topics: list[str] = []

        def subscribed() -> bool:
            try:
                found = self._node.get_subscriber_names_and_types_by_node(name, namespace or "/")
            except NodeNameNonExistentError:  # its services are known before its name is
                return False
            topics[:] = [topic for topic, types in found if wanted in types]
            return bool(topics)

        self._wait(subscribed, DISCOVERY_S, f"{self._target} takes no {wanted}")
        return self._node.create_publisher(message_type, topics[0], QoSProfile(depth=2 * MAX_BURST))


@contextmanager
def _node() -> Iterator[Node]:
    context = new_context()
    node = rclpy.create_node("kinaema_replay", context=context)
    try:
        yield node
    finally:
        node.destroy_node()
        context.try_shutdown()


def _odometry(stamp_ns: int, pose: geometry.Array, frame_id: str) -> Odometry:
    message = Odometry(child_frame_id=BASE_FRAME)
    message.header.stamp, message.header.frame_id = messages.time_msg(stamp_ns), frame_id
    message.pose.pose = messages.pose_msg(pose)
    return message


def _has_listener(publisher: Any) -> bool:
    return publisher.get_subscription_count() > 0


def _reason(status: MemoryStatus, reason: str) -> int:
    return dict(zip(status.reasons, status.reason_counts, strict=True)).get(reason, 0)
