"""What flows into the memory: odometry, camera_info and images, on their way to ``SpatialMemory.update``."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from nav_msgs.msg import Odometry
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import ROSClock
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo

from kinaema_interfaces.msg import MemoryStatus
from kinaema_ros.camera import Intrinsics, Mount
from kinaema_ros.errors import BadInput, KinaemaError
from kinaema_ros.estimate import Localization
from kinaema_ros.geometry import Array
from kinaema_ros.keyframes import KeyframeSelector
from kinaema_ros.nodes.memory.image_topics import AnyImage, ImageTopics
from kinaema_ros.nodes.memory.monitor import MemoryMonitor
from kinaema_ros.nodes.memory.parameters import MemoryParameters
from kinaema_ros.nodes.memory.robot_camera import RobotCamera
from kinaema_ros.nodes.memory.worker import PatientWorker
from kinaema_ros.nodes.support import messages
from kinaema_ros.nodes.support.frames import Frames
from kinaema_ros.nodes.support.subscriptions import MatchedSubscription
from kinaema_ros.odometry import OdometryTracker, OdomFrame, told
from kinaema_ros.stamps import NANOSECONDS

if TYPE_CHECKING:  # torch takes seconds to load; a node that refuses its parameters should not take that long
    from kinaema_ros.memory import SpatialMemory


class MemoryInputs:
    """Between ``start`` and ``stop``, usable images become updates, in their order, as soon as their odometry is there.

    The callbacks run in the executor's threads and only look at headers; a worker thread pairs the images with the
    odometry, selects the keyframes, decodes these and updates the memory. ``tracker`` knows where the robot is.
    """

    def __init__(self, node: Node, parameters: MemoryParameters, monitor: MemoryMonitor):
        self._node, self._monitor = node, monitor
        self.parameters = parameters
        self.memory: SpatialMemory | None = None
        self.tracker = OdometryTracker(parameters.odometry)
        self.frames = Frames(node)
        self.camera = RobotCamera(node, parameters, monitor, self.frames)
        self.odom_frame = ""
        self._saved_frame = ""  # of the odometry of a memory that was loaded to go on with
        self.base_frame = parameters.base_frame
        self._selector = KeyframeSelector(parameters.keyframes)
        self.camera_in_use: Intrinsics | None = None
        self._saved_camera: Intrinsics | None = None  # of a loaded memory, that had no image since
        self._mount_in_use: Mount | None = None
        self._last_stamp = 0
        # The newest image whose odometry is there, keyframe or not, and memory_T_base (3,) when it was taken.
        self.newest: tuple[AnyImage, Array] | None = None
        # Held while an image goes in and while the memory is emptied or replaced. An image is left out if the
        # generation changed since its pose was looked up: this pose belongs to the memory of before.
        self._lock = threading.Lock()
        self.generation = 0
        self._localization: Localization | None = None  # at the last update
        self.map_T_odom: Array | None = None  # as published; None where it is not
        self._worker: PatientWorker[AnyImage] | None = None
        self._subscriptions: list[MatchedSubscription | ImageTopics] = []
        self._image_group, self._odometry_group = (
            MutuallyExclusiveCallbackGroup(),
            MutuallyExclusiveCallbackGroup(),
        )

    # -- life ------------------------------------------------------------------------------------------------

    @property
    def active(self) -> bool:
        """True while images are taken in."""
        return self._worker is not None

    def use(self, memory: SpatialMemory | None) -> None:
        """Takes a network with an empty memory, or lets it go (None)."""
        with self._lock:
            self.memory, self.camera_in_use, self._saved_camera = memory, None, None
            self._localize(memory)

    def configured_memory(self) -> SpatialMemory:
        """The memory. Raises ``KinaemaError`` before the node is configured."""
        memory = self.memory  # once: a cleanup in another thread sets it to None
        if memory is None:
            raise KinaemaError("the node is not configured; configure it first")
        return memory

    def start(self) -> None:
        """Subscribes. Odometry and what was remembered before a ``stop`` still count."""
        self._worker = PatientWorker(self._remember, self._is_ready, "memory update")
        node, images = self._node, self._image_group
        # Small messages are not lost, and a reliable reader waits for whatever came before: 0.9 s beside large images.
        odometry = (Odometry, "odom", self._on_odometry, 100, self._odometry_group)
        self._subscriptions = [
            MatchedSubscription(node, CameraInfo, "camera_info", self.camera.on_camera_info, 1, images),
            ImageTopics(node, self.parameters.image_transport, self._on_image, self._monitor.problem, images),
            MatchedSubscription(node, *odometry, best_effort=True),
        ]

    def stop(self) -> None:
        """Unsubscribes and lets the image in hand finish; safe to call twice."""
        worker, self._worker = self._worker, None
        subscriptions, self._subscriptions = self._subscriptions, []
        for subscription in subscriptions:
            subscription.destroy()
        if worker is not None:
            worker.stop()

    def refresh(self) -> None:
        """Follows publishers that came or changed their quality of service."""
        for subscription in self._subscriptions:
            subscription.refresh()

    def apply(self, parameters: MemoryParameters) -> None:
        """Takes changed parameters; a held jump of the odometry is settled by a new policy."""
        self.parameters = parameters
        self.tracker.limits = parameters.odometry
        self._selector.config = parameters.keyframes
        self.camera.apply(parameters)
        self._settle(self.tracker.resolve())

    def forget(self) -> None:
        """Empties the memory and keeps the odometry."""
        with self._another_memory():
            self._saved_frame = ""
            if self.memory is not None:
                self.memory.reset()

    def _settle(self, policy: str) -> None:
        """What a jump of the odometry means for the memory."""
        if policy == "reset":
            self.forget()
        elif policy == "localize":
            with self._another_memory():
                if self.memory is not None:
                    self._look_for_itself(self.memory)

    def _look_for_itself(self, memory: SpatialMemory) -> None:
        try:
            memory.localize()
        except KinaemaError as error:
            memory.reset()  # this kind cannot, and what it holds means nothing in another odom frame
            self._monitor.problem("localize", f"the odometry began anew and the memory was emptied: {error}")

    @contextmanager
    def _another_memory(self) -> Iterator[None]:
        """Inside, the memory is emptied or replaced: images on their way to the one of before do not reach it."""
        with self._lock:
            yield
            self.generation += 1
            self.newest = None
            self._localize(self.memory)
            self._selector.reset()

    def start_over(self) -> None:
        """Empties the memory and takes the next odometry as the first."""
        self.tracker.restart()
        self.odom_frame, self._last_stamp = "", 0
        self.forget()

    def replace(self, path: Path, localize: bool) -> None:
        """Loads a saved memory. Raises as ``configured_memory`` and the memory's ``load``; then nothing changes."""
        with self._another_memory():
            memory = self.configured_memory()
            saved = memory.load(path, localize, self.odom_frame)
            if localize or memory.missing:  # it goes on in whatever odometry there is
                saved = None
            self._saved_frame = saved.name if saved is not None else ""
            self._saved_camera = memory.camera
            self.tracker.adopt(saved)

    def odom_to_save(self) -> OdomFrame:
        """What a saved memory is to say of the odometry."""
        return self.tracker.frame(self.odom_frame)

    def state(self) -> int:
        """One of MemoryStatus's, but for FAILED."""
        if not self.active:
            return MemoryStatus.INACTIVE
        if self.tracker.held_by:
            return MemoryStatus.HOLD
        if self._missing_topics():
            return MemoryStatus.WAITING
        return MemoryStatus.LOCALIZING if self.missing_place() else MemoryStatus.RUNNING

    def missing(self) -> str:
        """What the next update waits for, in words; "" if nothing."""
        held_by = self.tracker.held_by
        if held_by:
            return f"a decision on the odometry's jump (call ~/reset or set odometry.{held_by})"
        return self._missing_topics() or self.missing_place()

    def missing_place(self) -> str:
        """What is needed until it is known where in the memory the robot is, in words; "" if nothing."""
        memory = self.memory  # once: a cleanup in another thread sets it to None
        return "" if memory is None else memory.missing

    def localization(self) -> Localization | None:
        """Where the robot was at the last update, where publish_tf asks for it; None while that is not known."""
        memory = self.memory
        known = memory is not None and memory.localized and self.active and not self.tracker.held_by
        return self._localization if known else None

    def _localize(self, memory: SpatialMemory | None) -> None:
        """Looks where the robot is, in the thread that has just changed the memory: others must not use the network."""
        if self.parameters.publish_tf:
            self._localization = None if memory is None else memory.localization()

    def _missing_topics(self) -> str:
        lacks = [
            f"{what} on {self._node.resolve_topic_name(topic)}"
            for what, topic, rate in (
                ("images", "image", self._monitor.tally.image_rate),
                ("odometry", "odom", self._monitor.tally.odometry_rate),
            )
            if rate.per_second(self._node.get_clock().now().nanoseconds * 1e-9) == 0.0
        ]
        return " and ".join(lacks)

    # -- callbacks -------------------------------------------------------------------------------------------

    def _on_odometry(self, message: Odometry) -> None:
        tally, clock = self._monitor.tally, self._node.get_clock()
        now = clock.now().nanoseconds
        tally.add("odometry")
        tally.odometry_rate.tick(now * 1e-9)
        try:
            stamp = messages.check_stamp(
                message.header.stamp, now, self.parameters.stamp_tolerance, "odometry"
            )
            pose = messages.odometry_to_pose(message)
            self._check_frames(message)
            simulated = isinstance(clock, ROSClock) and clock.ros_time_is_active
            event = self.tracker.add(stamp, pose, simulated, messages.odometry_tilt(message))
        except BadInput as error:
            tally.add("odometry_rejected")
            self._monitor.problem(error.reason, str(error))
            return
        if event is not None:
            self._settle(event.action)  # before an image that waits for this message is written
            self._monitor.discontinuity(event)
        worker = self._worker  # once: a deactivation in another thread sets it to None
        if worker is not None:
            worker.wake()

    def _check_frames(self, message: Odometry) -> None:
        frame = message.header.frame_id or "odom"
        before = self.odom_frame  # once: a reset in another thread empties it
        if not before:
            self.odom_frame = frame
            self._check_saved_frame(frame)
        elif frame != before:
            raise BadInput(
                "odometry_frame",
                f"odometry came in frame '{frame}' after '{before}'; the message is ignored. Two "
                "publishers on one topic do this; call ~/reset if the frame changed for good",
            )
        if not self.base_frame:
            self.base_frame = message.child_frame_id or "base_link"

    def _check_saved_frame(self, frame: str) -> None:
        """The first odometry since a memory was loaded tells whether it is the one that the memory was saved with."""
        saved, self._saved_frame = self._saved_frame, ""
        if saved in ("", frame):
            return
        self.tracker.adopt()
        self._settle("localize")
        self._monitor.problem(
            "odometry_frame",
            f"the memory was saved with odometry in frame '{saved}', and now it comes in '{frame}': where the robot is "
            "in it is looked for by what the camera sees; turn or drive it where it has been. Load with localize: true "
            "where that is meant, or remap odom to the odometry of before and load again",
        )

    def _on_image(self, message: AnyImage) -> None:
        worker, now = self._worker, self._node.get_clock().now().nanoseconds
        if worker is None:
            return
        self._monitor.tally.add("received")
        self._monitor.tally.image_rate.tick(now * 1e-9)
        try:
            stamp = messages.check_stamp(message.header.stamp, now, self.parameters.stamp_tolerance, "image")
            behind = (self._last_stamp - stamp) / NANOSECONDS
            if 0 <= behind < 2.0:  # further back is a clock that started over
                raise BadInput(
                    "image_stamp_backwards",
                    f"the image's stamp is {behind:.3f} s older than the one before, or the same; it is "
                    "ignored. Two publishers on one topic do this: check with 'ros2 topic info -v'",
                )
        except BadInput as error:
            self._monitor.dropped(error)
            return
        self._last_stamp = stamp
        displaced = worker.submit(message, stamp)
        if displaced is not None:
            late = not self._is_ready(displaced, 0.0)
            self._monitor.skipped("late_odometry" if late else "newer_image")

    # -- worker ----------------------------------------------------------------------------------------------

    def _is_ready(self, message: AnyImage, waited: float) -> bool:
        """Whether an image that has waited for so many seconds has its odometry, or will never have it."""
        try:
            pose = self.tracker.pose_at(messages.stamp_ns(message.header.stamp))
        except BadInput:
            return True
        return pose is not None or waited >= self.parameters.odometry.max_wait

    def _remember(self, message: AnyImage) -> None:
        try:
            self._update(message)
        except Exception as error:  # one image must not end the thread that takes all others
            self._monitor.dropped(error)

    def _update(self, message: AnyImage) -> None:
        generation, stamp = self.generation, messages.stamp_ns(message.header.stamp)
        memory_T_base = self.tracker.arrived_pose_at(stamp)
        with self._lock:
            if generation == self.generation:
                self.newest = message, memory_T_base
        reason = self._selector.reason_to_skip(stamp, memory_T_base)
        if reason is not None:
            self._monitor.skipped(reason)
            return
        rgb = messages.image_to_rgb(message)
        camera, source = self.camera.at(rgb.shape[1], rgb.shape[0])
        mount = self.camera.mount(self.base_frame, message.header.frame_id)
        with self._lock:
            memory = self.memory
            if generation != self.generation or memory is None:
                self._monitor.skipped("memory_replaced")
                return
            started = time.perf_counter()
            if (camera, mount) != (self.camera_in_use, self._mount_in_use):
                memory.set_camera(camera, mount)
                self.camera_in_use, self._mount_in_use = camera, mount
                self._monitor.camera(camera, source)
            lifts = memory.num_lifts
            memory.update(rgb, memory_T_base, **told(self.tracker.tilt_at(stamp)))
            self._selector.used(stamp, memory_T_base)
            self._localize(memory)
            if memory.num_lifts != lifts:
                self.generation += 1  # its place is another one at once
                self._monitor.lifted()
            if memory.localized:
                self._monitor.used(time.perf_counter() - started)
            else:
                self._monitor.skipped("localizing")
        error = memory.check_mount()
        if error is not None and error.matters:
            self._monitor.mount(error, mount)

    def known_camera(self, memory: SpatialMemory, width: int, height: int) -> Intrinsics:
        """The robot's camera; a loaded memory that had no image yet is told it and its mount. Raises as ``RobotCamera``.

        ``width`` and ``height`` of a photo count where nothing else says what images the camera takes.
        """
        camera = self.camera_in_use
        if camera is None and not self.camera.informed:
            camera = self._saved_camera
        if camera is not None:
            return camera
        camera, mount = self.camera.usual(width, height), self.camera.mount(self.base_frame)
        with self._lock:
            if self.camera_in_use is None:  # else an image has come meanwhile
                memory.set_camera(camera, mount)
            return self.camera_in_use or camera
