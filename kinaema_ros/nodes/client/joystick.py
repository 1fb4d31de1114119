"""Drives the simulated robot by cmd_vel, and hears where it is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType

import numpy as np
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped, Twist
from nav_msgs.msg import Odometry
from numpy.typing import ArrayLike
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import UInt32

from kinaema_interfaces.msg import MemoryStatus
from kinaema_ros import geometry
from kinaema_ros.errors import KinaemaError
from kinaema_ros.geometry import Array
from kinaema_ros.nodes.support import messages
from kinaema_ros.nodes.support.spinning import SpinningNode
from kinaema_ros.stamps import NANOSECONDS, PoseHistory

Steer = Callable[[Sequence[float], float], tuple[float, float]]
_START_TIMEOUT = 180.0  # seconds: on a new machine the renderer is compiled first
_SILENCE = 30.0  # seconds without any news from the simulator
_TICK = 0.1


class DemoRobot:
    """Listens to the simulator's truth and odometry, and drives by cmd_vel while told to.

    on_pose: called with the robot's seconds and true pose (3,) at every step, in a thread of its own. check:
    called while waiting; raises when the demo must end. scene_T_map: poses here are those of the scene, (3,).
    """

    def __init__(
        self,
        on_pose: Callable[[float, Array], object],
        check: Callable[[], None],
        scene_T_map: ArrayLike = (0.0, 0.0, 0.0),
    ):
        self._on_pose, self._check = on_pose, check
        self._scene_T_map: Array = np.array(scene_T_map, dtype=np.float64)
        self._steer: Steer | None = None
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._odometry = PoseHistory(20)
        self._status: MemoryStatus | None = None
        self.seconds = 0.0
        self.pose: Array = np.full(3, np.nan)
        self.collisions = 0  # of the robot, since the simulator started
        self._map_T_odom: Array | None = None
        self._ros = SpinningNode("kinaema_demo")
        node = self._ros.node
        self._cmd_vel = node.create_publisher(Twist, "cmd_vel", 1)
        self._lift = node.create_publisher(PoseStamped, "kinaema_simulator/lift", 1)
        self._initial_pose = node.create_publisher(PoseWithCovarianceStamped, "initialpose", 1)
        node.create_subscription(Odometry, "odom", self._on_odometry, 20)
        node.create_subscription(PoseStamped, "ground_truth/pose", self._on_truth, 20)
        node.create_subscription(MemoryStatus, "kinaema_memory/status", self._on_status, 5)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        node.create_subscription(UInt32, "kinaema_simulator/collisions", self._on_collisions, latched)

    def __enter__(self) -> DemoRobot:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ros.close()

    def wait_until_ready(self) -> None:
        """Returns when the simulator moves and the memory remembers; raises KinaemaError if they do not."""

        def ready() -> bool:
            status = self._status
            return (
                self._map_T_odom is not None
                and status is not None
                and status.state == MemoryStatus.RUNNING
                and status.num_updates > 0
            )

        self._wait_for_nodes(ready)

    def drive(self, steer: Steer, seconds: float, on_tick: Callable[[], object]) -> None:
        """Lets ``steer(pose, dt) -> (v, omega)`` drive for so many of the robot's seconds."""
        end = self.seconds + seconds
        self._steer = steer
        try:
            self._wait_until(lambda: self.seconds >= end, on_tick, _SILENCE)
        finally:
            self._steer = None
            self._cmd_vel.publish(Twist())

    def lift(self, pose: Array) -> None:
        """Somebody sets the robot down at a pose (3,). Raises KinaemaError where there is no room."""
        map_pose = geometry.between(self._scene_T_map, pose)
        for _ in range(50):
            self._lift.publish(messages.pose_stamped(map_pose, "map", messages.time_msg(0)))
            time.sleep(_TICK)
            if np.hypot(*(self.pose - pose)[:2]) < 0.05:
                return
        raise KinaemaError(
            f"the robot was not lifted to {pose.round(2).tolist()}; see the log of simulator_node"
        )

    def wait_for_restart(self) -> None:
        """After a restart of memory_node: returns when it takes images."""
        self._status = None
        self._wait_for_nodes(
            lambda: (
                self._status is not None
                and self._status.state in (MemoryStatus.LOCALIZING, MemoryStatus.RUNNING)
            )
        )

    @property
    def lost(self) -> bool:
        """Whether the memory looks for the robot."""
        return self._status is not None and self._status.state == MemoryStatus.LOCALIZING

    def localise(self) -> None:
        """Tells the simulator's localisation where the robot is, for one that goes by odometry."""
        message = PoseWithCovarianceStamped()
        pose = geometry.between(self._scene_T_map, self.pose)
        message.header.frame_id, message.pose.pose = "map", messages.pose_msg(pose)
        self._initial_pose.publish(message)

    @property
    def state_bytes(self) -> int:
        """Of the memory."""
        return 0 if self._status is None else self._status.state_bytes

    def on_map(self, odom_pose: Array, odom_covariance: Array) -> tuple[Array, Array]:
        """A pose (3,) of the odometry's frame and its covariance (3, 3), where they truly lie now."""
        assert self._map_T_odom is not None
        pose = geometry.compose(self._map_T_odom, odom_pose)
        return pose, geometry.rotate_covariance(odom_covariance, self._map_T_odom[2])

    def _wait_for_nodes(self, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _START_TIMEOUT

        def in_time() -> bool:
            if time.monotonic() > deadline:
                raise KinaemaError(f"the nodes were not ready after {_START_TIMEOUT:g} s; see their logs")
            return ready()

        self._wait_until(in_time, lambda: None, _START_TIMEOUT)

    def _wait_until(
        self, condition: Callable[[], bool], on_tick: Callable[[], object], silence: float
    ) -> None:
        heard, heard_at = self.seconds, time.monotonic()
        while not condition():
            self._check()
            if self._error is not None:
                raise self._error
            if self.seconds != heard:
                heard, heard_at = self.seconds, time.monotonic()
            elif time.monotonic() - heard_at > silence:
                raise KinaemaError(f"nothing was heard from simulator_node for {silence:g} s; see its log")
            on_tick()
            with self._changed:
                self._changed.wait(_TICK)

    # -- callbacks, in the executor's thread -----------------------------------------------------------------

    def _on_odometry(self, message: Odometry) -> None:
        self._odometry.add(messages.stamp_ns(message.header.stamp), messages.odometry_to_pose(message))

    def _on_truth(self, message: PoseStamped) -> None:
        stamp = messages.stamp_ns(message.header.stamp)
        pose = geometry.compose(self._scene_T_map, messages.planar_pose(message.pose))
        before, self.seconds, self.pose = self.seconds, stamp / NANOSECONDS, pose
        # The two topics may lose or delay different messages; only equal stamps belong together.
        odometry = self._odometry.at(stamp, max_gap=0)
        if odometry is not None:
            self._map_T_odom = geometry.compose(pose, geometry.inverse(odometry))
        steer = self._steer
        if steer is not None and self._error is None:
            try:
                v, omega = steer(pose.tolist(), self.seconds - before)
            except Exception as error:  # told to the thread that waits
                self._error = error
                return
            command = Twist()
            command.linear.x, command.angular.z = v, omega
            self._cmd_vel.publish(command)
        self._on_pose(self.seconds, pose)

    def _on_collisions(self, message: UInt32) -> None:
        self.collisions = message.data

    def _on_status(self, status: MemoryStatus) -> None:
        self._status = status
        with self._changed:
            self._changed.notify_all()
