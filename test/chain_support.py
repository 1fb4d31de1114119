"""A simulated robot as a user has it: simulator, memory and navigator in processes, and somebody who drives it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import yaml
from action_msgs.msg import GoalStatus
from geometry_msgs.msg import PoseStamped, Twist
from nav2_msgs.action import NavigateToPose
from nav_msgs.msg import OccupancyGrid, Odometry
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_support import DISCOVERY, ROOT, NodeProcess, Ros, wait_until
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image

from kinaema_interfaces.msg import MemoryStatus
from kinaema_ros.nodes.support import messages
from kinaema_ros.nodes.support.spinning import action_client
from kinaema_ros.sim import explore, generate_scene

WORLD = 5
SIM = (f"world:={WORLD}", "publish_clock:=true", "real_time_factor:=0.0", "lockstep:=true")
# Poses (6, 3) on the map that the robot is driven to, one after the other; it starts where the walk does.
WALK = explore(generate_scene(WORLD), np.random.default_rng(0), 120)
STOPS = WALK[[12, 24, 40, 60, 80, 100]]


def start_nodes(
    simulator: Sequence[str] = (),
    memory: Sequence[str] = (),
    navigator: Sequence[str] = (),
    ros_arguments: Sequence[str] = (),
) -> list[NodeProcess]:
    """The three nodes of a robot, with parameters for each."""
    patient = ("query_timeout:=60.0", "nav2_timeout:=60.0")  # for busy machines
    return [
        NodeProcess("simulator_node", *SIM, *simulator, ros_arguments=ros_arguments),
        NodeProcess("memory_node", "use_sim_time:=true", *memory, ros_arguments=ros_arguments),
        NodeProcess(
            "navigator_node", "use_sim_time:=true", *patient, *navigator, ros_arguments=ros_arguments
        ),
    ]


def stop_nodes(nodes: Sequence[NodeProcess]) -> None:
    """All of them, before any complaint."""
    ends = [(node.stop(), node.log) for node in nodes]
    faults = [log for status, log in ends if status != 0 or "Traceback" in log]
    assert not faults, "\n".join(faults)


class SimulatedRobot(Ros):
    """Hears the simulator and sends it to poses."""

    def __init__(self, namespace: str = "", drives: bool = True):
        """``drives``: by cmd_vel, too."""
        super().__init__("test_chain", namespace)
        self.last: dict[str, Any] = {}
        node = self.node
        for kind, topic, qos in (
            (Image, "image", 5),
            (CameraInfo, "camera_info", 5),
            (Odometry, "odom", 10),
            (PoseStamped, "ground_truth/pose", 10),
            (Clock, "clock", 10),
            (MemoryStatus, "kinaema_memory/status", 10),
            (OccupancyGrid, "map", QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)),
        ):
            node.create_subscription(kind, topic, lambda m, t=topic: self.last.__setitem__(t, m), qos)
        self.cmd_vel = node.create_publisher(Twist, "cmd_vel", 10) if drives else None
        self.nav2 = action_client(node, NavigateToPose, "navigate_to_pose")

    @property
    def truth(self) -> np.ndarray:
        return messages.planar_pose(self.last["ground_truth/pose"].pose)

    def heard(self, *topics: str) -> None:
        wait_until(lambda: all(topic in self.last for topic in topics), DISCOVERY, f"{topics}")

    def remembering(self) -> None:
        """Waits until the memory has taken in the first image, at the start of the walk."""
        self.heard("image", "ground_truth/pose", "kinaema_memory/status", "clock", "map")
        np.testing.assert_allclose(self.truth, WALK[0], atol=1e-6)
        wait_until(lambda: self.last["kinaema_memory/status"].num_updates > 0, DISCOVERY, "a first update")

    def drive_to(self, pose: np.ndarray, frame_id: str = "map") -> tuple[int, NavigateToPose.Result]:
        assert self.nav2.wait_for_server(DISCOVERY)
        goal = NavigateToPose.Goal(pose=messages.pose_stamped(pose, frame_id, messages.time_msg(0)))
        handle = self.result(self.nav2.send_goal_async(goal))
        response = self.result(handle.get_result_async(), DISCOVERY)
        return response.status, response.result

    def look_around(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Drives to every stop; returns where it then was, and what it saw there."""
        photos = []
        for stop in STOPS:
            status, result = self.drive_to(stop)
            assert status == GoalStatus.STATUS_SUCCEEDED, result.error_msg
            wait_until(lambda: np.hypot(*(self.truth - stop)[:2]) < 0.1, what="the truth to show it")  # noqa: B023
            photos.append((self.truth, messages.image_to_rgb(self.last["image"])))
        return photos


def rviz_finds_its_topics(ros: Ros) -> None:
    """What rviz/kinaema.rviz shows of our nodes is published, by the type and durability that it expects."""
    types = {
        "/map": "nav_msgs/msg/OccupancyGrid",
        "/image": "sensor_msgs/msg/Image",
        "/kinaema_memory/estimate": "geometry_msgs/msg/PoseWithCovarianceStamped",
        "/kinaema_memory/markers": "visualization_msgs/msg/MarkerArray",
        "/kinaema_navigator/goal_marker": "visualization_msgs/msg/Marker",
    }
    config = yaml.safe_load((ROOT / "rviz" / "kinaema.rviz").read_text())
    shown = {d["Topic"]["Value"]: d for d in config["Visualization Manager"]["Displays"] if "Topic" in d}
    assert set(shown) == {*types, "/scan", "/plan"}  # the last two are the lidar's and Nav2's
    for topic, message in types.items():
        wait_until(lambda: ros.node.get_publishers_info_by_topic(topic), DISCOVERY, topic)  # noqa: B023
        publisher = ros.node.get_publishers_info_by_topic(topic)[0]
        assert publisher.topic_type == message
        # What the name of an RViz display begins with is the message's, but for maps.
        display = shown[topic]["Class"].partition("/")[2].replace("Map", "OccupancyGrid")
        assert message.rpartition("/")[2].startswith(display)
        latched = publisher.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
        assert (shown[topic]["Topic"]["Durability Policy"] == "Transient Local") == latched, topic
