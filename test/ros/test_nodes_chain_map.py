"""A robot that is localised by its memory, in the simulator, while its odometry drifts: Nav2's goals and the navigator's."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from action_msgs.msg import GoalStatus
from chain_support import STOPS, WALK, SimulatedRobot, start_nodes, stop_nodes
from ros_support import DISCOVERY, wait_until

from kinaema_ros import geometry
from kinaema_ros.nodes.client.client import KinaemaClient
from kinaema_ros.nodes.support import messages

SIMULATOR = ("localization:=tf", "sees_obstacles:=true", "image_hz:=2.0", "odometry_noise.degrees:=0.3")
ON_MAP = geometry.between(WALK[0], STOPS)[:2]  # the memory's frame begins where the robot does


def test_a_robot_without_a_lidar_map_drives_to_goals_in_the_memorys_frame_and_to_a_photo(
    tmp_path: Path,
) -> None:
    nodes = start_nodes((*SIMULATOR, "odometry_noise.fraction:=0.02"), ("publish_tf:=true",))
    robot = SimulatedRobot()
    try:
        robot.heard("image", "odom", "ground_truth/pose", "kinaema_memory/status", "clock")
        np.testing.assert_allclose(robot.truth, 0.0, atol=1e-6)
        wait_until(lambda: robot.last["kinaema_memory/status"].num_updates > 0, DISCOVERY, "an update")
        off, photos = [], []
        for stop in ON_MAP:
            status, result = robot.drive_to(stop)
            assert status == GoalStatus.STATUS_SUCCEEDED, result.error_msg
            off.append(float(np.hypot(*(robot.truth - stop)[:2])))
            photos.append((robot.truth, messages.image_to_rgb(robot.last["image"])))
        (place, rgb), file = photos[0], tmp_path / "photo.png"
        cv2.imwrite(str(file), rgb[..., ::-1])
        assert np.hypot(*(robot.truth - place)[:2]) > 1.0
        with KinaemaClient() as kinaema:
            arrival = kinaema.go_to(file, timeout=DISCOVERY)
        error = np.hypot(*(robot.truth - place)[:2])
    finally:
        robot.close()
        stop_nodes(nodes)
    assert max(off) < 1.0, np.round(off, 2)
    assert arrival.reached, arrival.message
    assert error < 0.6
