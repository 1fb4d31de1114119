"""A robot that is localised by its memory, in the simulator, while its odometry drifts: Nav2's goals and the navigator's."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from chain_support import STOPS, WALK, SimulatedRobot, start_nodes, stop_nodes
from ros_support import DISCOVERY, tf2_where_it_is_missing, wait_until

from kinaema_ros import geometry
from kinaema_ros.nodes.client.client import KinaemaClient
from kinaema_ros.nodes.support import messages

NOISE = ("odometry_noise.fraction:=0.03", "odometry_noise.degrees:=0.4")
ON_MAP = geometry.between(WALK[0], STOPS)[:4]  # the memory's frame begins where the robot does


def off(a: np.ndarray, b: np.ndarray) -> float:
    """Metres."""
    return float(np.hypot(*(a - b)[:2]))


def test_goals_in_the_memorys_frame_stay_right_while_odometry_drifts(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        tf2_where_it_is_missing(patch)
        nodes = start_nodes(("localization:=tf", *NOISE), ("publish_tf:=true",), ("goal_frame:=map",))
    robot = SimulatedRobot()
    try:
        robot.heard("image", "odom", "ground_truth/pose", "kinaema_memory/status", "clock")
        np.testing.assert_allclose(robot.truth, 0.0, atol=1e-6)
        wait_until(lambda: robot.last["kinaema_memory/status"].num_updates > 0, DISCOVERY, "an update")
        beside, drifted, photos = [], [], []
        for stop in (*ON_MAP, *ON_MAP[::-1], *ON_MAP, *ON_MAP[::-1]):
            status, result = robot.drive_to(stop)
            assert status == GoalStatus.STATUS_SUCCEEDED, result.error_msg
            beside.append(off(robot.truth, stop))
            drifted.append(off(messages.planar_pose(robot.last["odom"].pose.pose), robot.truth))
            photos.append((robot.truth, messages.image_to_rgb(robot.last["image"])))
        place, rgb = photos[1]
        file = tmp_path / "photo.png"
        cv2.imwrite(str(file), rgb[..., ::-1])
        with KinaemaClient() as kinaema:
            arrival = kinaema.go_to(file, timeout=DISCOVERY)
        error = off(place, robot.truth)
    finally:
        robot.close()
        stop_nodes(nodes)
    later = slice(len(ON_MAP), None)  # where the robot has been before
    figures = f"beside the goals {np.round(beside, 2)} m, drifted {np.round(drifted, 2)} m"
    assert np.median(drifted[later]) > 2.0 * np.median(beside[later]), figures
    assert np.median(beside[later]) < 0.25, figures
    assert arrival.reached, arrival.message
    assert arrival.frame_id == "map"
    assert error < 0.6
