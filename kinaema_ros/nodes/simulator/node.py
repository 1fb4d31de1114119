"""simulator_node: a procedural scene as a robot with camera, odometry and Nav2's action.

A thread advances the simulated time (SimulatedRobot.step) and publishes; /clock and odometry always before
the image of the same stamp. ``navigate_to_pose`` is in nav2.py.
"""

from __future__ import annotations

import sys
import threading
import time

import numpy as np
from geometry_msgs.msg import Pose, PoseStamped, PoseWithCovarianceStamped, TransformStamped, Twist
from nav_msgs.msg import OccupancyGrid, Odometry
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import UInt32
from tf2_msgs.msg import TFMessage

from kinaema_interfaces.msg import MemoryStatus
from kinaema_ros import geometry
from kinaema_ros.camera import optical_quaternion
from kinaema_ros.geometry import Array
from kinaema_ros.nodes.simulator.cmd_vel import VelocityCommands
from kinaema_ros.nodes.simulator.nav2 import SimulatedNav2
from kinaema_ros.nodes.simulator.parameters import SimulatorParameters
from kinaema_ros.nodes.support import messages
from kinaema_ros.nodes.support.parameters import declare
from kinaema_ros.nodes.support.runtime import run
from kinaema_ros.sim import render
from kinaema_ros.sim.simulated_robot import SimulatedRobot, Snapshot

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
OPTICAL_FRAME = "camera_optical_frame"
_EPOCH = 1.0  # seconds of simulated time at the start: a stamp of 0 means "none"
_LOCKSTEP_TIMEOUT = 2.0  # a memory that is gone must not stop the world


class SimulatorNode(Node):
    """The node ``kinaema_simulator``."""

    def __init__(self) -> None:
        super().__init__("kinaema_simulator", automatically_declare_parameters_from_overrides=True)
        self._parameters_now = p = declare(self, SimulatorParameters, self._apply)
        by_tf = p.localization == "tf"
        believes = "odometry" if by_tf else p.localization  # until a transform comes
        self._robot = SimulatedRobot(
            p.scene, p.start_seed, p.odometry_noise, believes, sees_obstacles=p.sees_obstacles
        )
        self._scene_T_map: Array = np.zeros(3)
        self._map_T_odom: Array = np.zeros(3)  # of the newest transform
        if by_tf:
            start = self._robot.snapshot().map_T_base
            self._scene_T_map = geometry.compose(start, (p.camera.x, p.camera.y, p.camera.yaw))
            self.create_subscription(TFMessage, "/tf", self._on_tf, 100)
        self._scene_T_tf = self._scene_T_map  # as it is believed to be
        self._image_publisher = self.create_publisher(Image, "image", 5)
        self._camera_info = self.create_publisher(CameraInfo, "camera_info", 5)
        self._odom = self.create_publisher(Odometry, "odom", 50)
        self._truth = self.create_publisher(PoseStamped, "ground_truth/pose", 50)
        self._collisions_publisher = self.create_publisher(UInt32, "~/collisions", LATCHED)
        self._collisions_published = -1
        self._clock_publisher = self.create_publisher(Clock, "/clock", 10) if p.publish_clock else None
        self._tf = self.create_publisher(TFMessage, "/tf", 50)
        self._cmd_vel = VelocityCommands(self, self._on_cmd_vel)
        self.create_subscription(PoseWithCovarianceStamped, "initialpose", self._on_initial_pose, 1)
        self.create_subscription(PoseStamped, "~/lift", self._on_lift, 1)
        self._memory: MemoryStatus | None = None
        self._heard = threading.Condition()
        if p.lockstep:
            self.create_subscription(MemoryStatus, "kinaema_memory/status", self._on_memory, 50)
        self._started = _EPOCH if p.publish_clock else self.get_clock().now().nanoseconds * 1e-9
        frames = {"map": p.map_frame, "odom": p.odom_frame, "base": p.base_frame}
        self._nav2 = (
            SimulatedNav2(self, self._robot, frames, self._stamp, self._scene_T_map)
            if p.navigate_to_pose
            else None
        )
        if p.publish_map:
            latched_map = self.create_publisher(OccupancyGrid, "map", LATCHED)
            latched_map.publish(self._map_msg())
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._live, name="simulation", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the goals of ``navigate_to_pose`` and the thread that simulates."""
        if self._nav2 is not None:
            self._nav2.close()
        self._stopping.set()
        self._thread.join()

    def _apply(self, parameters: SimulatorParameters) -> None:
        self._parameters_now = parameters

    def _on_cmd_vel(self, message: Twist) -> None:
        v, omega = message.linear.x, message.angular.z
        if np.isfinite([v, omega]).all():
            self._robot.command(v, omega, self._parameters_now.cmd_timeout)

    def _on_initial_pose(self, message: PoseWithCovarianceStamped) -> None:
        """As AMCL does; from then on the robot is localised by its odometry, or by TF."""
        if self._on_map(message.header.frame_id, "initial pose"):
            scene_T_base = self._in_scene(message.pose.pose)
            map_T_base = geometry.compose(self._map_T_odom, self._robot.snapshot().odom_T_base)
            self._scene_T_tf = geometry.compose(scene_T_base, geometry.inverse(map_T_base))
            self._robot.localise(scene_T_base)

    def _on_lift(self, message: PoseStamped) -> None:
        """Somebody takes the robot and sets it down elsewhere."""
        if not self._on_map(message.header.frame_id, "lift"):
            return
        pose = self._in_scene(message.pose)
        if not self._robot.lift(pose, self._parameters_now.lift_odometry):
            self.get_logger().warning(f"the robot stays: at ({pose[0]:.2f}, {pose[1]:.2f}) is no room for it")

    def _in_scene(self, map_pose: Pose) -> Array:
        return geometry.compose(self._scene_T_map, messages.planar_pose(map_pose))

    def _on_map(self, frame: str, what: str) -> bool:
        map_frame = self._parameters_now.map_frame
        if frame != map_frame:
            self.get_logger().warning(f"{what} in frame '{frame}' ignored; it must be in '{map_frame}'")
        return frame == map_frame

    def _on_tf(self, message: TFMessage) -> None:
        p = self._parameters_now
        for transform in message.transforms:
            if (transform.header.frame_id, transform.child_frame_id) == (p.map_frame, p.odom_frame):
                t, q = transform.transform.translation, transform.transform.rotation
                self._map_T_odom = np.array([t.x, t.y, geometry.yaw_from_quaternion(q.x, q.y, q.z, q.w)])
                self._robot.localise_odometry(geometry.compose(self._scene_T_tf, self._map_T_odom))

    def _on_memory(self, status: MemoryStatus) -> None:
        with self._heard:
            self._memory = status
            self._heard.notify_all()

    # -- time ------------------------------------------------------------------------------------------------

    def _live(self) -> None:
        p = self._parameters_now
        dt, per_image = 1.0 / p.step_hz, max(1, round(p.step_hz / p.image_hz))
        self._publish(self._robot.snapshot(), image=True)  # also compiles what numba has not yet
        steps, due = 0, time.monotonic()
        while not self._stopping.is_set():
            steps += 1
            self._publish(self._robot.step(dt), image=steps % per_image == 0)
            factor = self._parameters_now.real_time_factor
            if factor > 0.0:
                # Time lost on a busy machine is not made up for: that would publish a burst.
                due = max(due + dt / factor, time.monotonic() - dt)
                self._stopping.wait(max(0.0, due - time.monotonic()))

    def _stamp(self, seconds: float) -> messages.Time:
        return messages.time_msg(round((self._started + seconds) * 1e9))

    def _publish(self, now: Snapshot, image: bool) -> None:
        stamp = self._stamp(now.seconds)
        if self._clock_publisher is not None:
            self._clock_publisher.publish(Clock(clock=stamp))
        self._odom.publish(self._odometry_msg(now, stamp))
        map_T_base = geometry.between(self._scene_T_map, now.map_T_base)
        self._truth.publish(messages.pose_stamped(map_T_base, self._parameters_now.map_frame, stamp))
        self._tf.publish(self._tf_msg(now, stamp))
        if self._robot.collisions != self._collisions_published:
            self._collisions_published = self._robot.collisions
            self._collisions_publisher.publish(UInt32(data=self._collisions_published))
        if image:
            memory = self._memory
            self._camera_info.publish(self._camera_info_msg(stamp))
            self._image_publisher.publish(self._image_msg(now, stamp))
            if self._parameters_now.lockstep:
                self._wait_for_memory(memory)

    def _wait_for_memory(self, before: MemoryStatus | None) -> None:
        """Blocks until memory_node is done with the image just sent, if there is an active one."""
        if before is None or before.state == MemoryStatus.INACTIVE:
            return

        def done() -> bool:
            now = self._memory
            assert now is not None
            handled = now.frames_used + now.frames_skipped + now.frames_dropped
            # A count that fell means that the node was activated anew.
            return self._stopping.is_set() or handled == now.frames_received != before.frames_received

        with self._heard:
            self._heard.wait_for(done, _LOCKSTEP_TIMEOUT)

    # -- messages --------------------------------------------------------------------------------------------

    def _odometry_msg(self, now: Snapshot, stamp: messages.Time) -> Odometry:
        message = Odometry(child_frame_id=self._parameters_now.base_frame)
        message.header.stamp, message.header.frame_id = stamp, self._parameters_now.odom_frame
        message.pose.pose = messages.pose_msg(now.odom_T_base)
        message.twist.twist.linear.x, message.twist.twist.angular.z = now.speed
        return message

    def _image_msg(self, now: Snapshot, stamp: messages.Time) -> Image:
        rgb: NDArray[np.uint8] = render(self._robot.scene, now.map_T_base[None], self._parameters_now.camera)[
            0
        ]
        message = messages.rgb_msg(rgb)
        message.header.stamp, message.header.frame_id = stamp, OPTICAL_FRAME
        return message

    def _camera_info_msg(self, stamp: messages.Time) -> CameraInfo:
        camera = self._parameters_now.camera
        message = CameraInfo(width=camera.width, height=camera.height, distortion_model="plumb_bob")
        message.header.stamp, message.header.frame_id = stamp, OPTICAL_FRAME
        f, cx, cy = camera.focal, (camera.width - 1) / 2, (camera.height - 1) / 2
        message.d = [0.0] * 5
        message.k = [f, 0.0, cx, 0.0, f, cy, 0.0, 0.0, 1.0]
        message.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
        message.p = [f, 0.0, cx, 0.0, 0.0, f, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
        return message

    def _map_msg(self) -> OccupancyGrid:
        grid = self._robot.grid
        message = OccupancyGrid()
        message.header.frame_id = self._parameters_now.map_frame
        message.header.stamp = self._stamp(0.0)
        message.info.resolution = grid.resolution
        message.info.height, message.info.width = grid.data.shape
        message.info.origin = messages.pose_msg(geometry.between(self._scene_T_map, (*grid.origin, 0.0)))
        message.data = (grid.data.astype(np.int8) * 100).ravel().tolist()
        return message

    def _tf_msg(self, now: Snapshot, stamp: messages.Time) -> TFMessage:
        p = self._parameters_now
        poses = [(p.odom_frame, p.base_frame, now.odom_T_base)]
        if p.localization != "tf":
            poses.append((p.map_frame, p.odom_frame, self._robot.map_T_odom()))
        transforms = []
        for parent, child, pose in poses:
            transform = TransformStamped(child_frame_id=child)
            transform.header.frame_id, transform.header.stamp = parent, stamp
            transform.transform.translation.x, transform.transform.translation.y = pose[0], pose[1]
            transform.transform.rotation = messages.pose_msg(pose).orientation
            transforms.append(transform)
        transforms.append(self._camera_tf(stamp))
        return TFMessage(transforms=transforms)

    def _camera_tf(self, stamp: messages.Time) -> TransformStamped:
        """Transform base <- optical frame: z along the view, x right, y down."""
        p = self._parameters_now
        transform = TransformStamped(child_frame_id=OPTICAL_FRAME)
        transform.header.frame_id, transform.header.stamp = p.base_frame, stamp
        t, q = transform.transform.translation, transform.transform.rotation
        t.x, t.y, t.z = p.camera.x, p.camera.y, p.camera.z
        q.x, q.y, q.z, q.w = optical_quaternion(p.camera.yaw, p.camera.pitch)
        return transform


def main(args: list[str] | None = None) -> int:
    """Runs the node; returns the exit status."""
    return run(SimulatorNode, args, threads=6)


if __name__ == "__main__":
    sys.exit(main())
