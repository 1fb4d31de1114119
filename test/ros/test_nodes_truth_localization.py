"""truth_localization: map -> odom from the simulator's truth, whatever the odometry has drifted to."""

from __future__ import annotations

import numpy as np
import pytest
from nav_msgs.msg import Odometry
from ros_support import DISCOVERY, NodeProcess, Ros, odometry_msg, wait_until
from tf2_msgs.msg import TFMessage

from kinaema_ros import geometry
from kinaema_ros.nodes.simulator.truth_localization import map_T_odom
from kinaema_ros.nodes.support import messages
from kinaema_ros.stamps import PoseHistory

SECOND = 1_000_000_000


def test_the_transform_takes_odometry_to_the_truth() -> None:
    history = PoseHistory(100)
    truth, odometry = np.array([3.0, 2.0, 1.2]), np.array([0.4, -0.1, 0.3])
    history.add(5 * SECOND, odometry)
    found = map_T_odom(history, 5 * SECOND, truth)
    assert found is not None
    np.testing.assert_allclose(geometry.compose(found, odometry), truth, atol=1e-12)


def test_the_odometry_of_the_same_moment_is_used() -> None:
    history = PoseHistory(100)
    for k in range(50):
        history.add(SECOND + k * SECOND // 50, np.array([0.01 * k, 0.0, 0.0]))
    found = map_T_odom(history, SECOND + 30 * SECOND // 50, np.array([1.3, 0.0, 0.0]))
    assert found is not None
    np.testing.assert_allclose(found, (1.0, 0.0, 0.0), atol=1e-12)


@pytest.mark.parametrize("late", [-SECOND, SECOND // 10])
def test_without_odometry_of_that_moment_there_is_no_transform(late: int) -> None:
    history = PoseHistory(100)
    assert map_T_odom(history, SECOND, np.zeros(3)) is None
    history.add(5 * SECOND, np.zeros(3))
    assert map_T_odom(history, 5 * SECOND + late, np.zeros(3)) is None


def test_odometry_from_before_a_restart_of_the_simulation_is_forgotten() -> None:
    history = PoseHistory(100)
    history.add(90 * SECOND, np.array([7.0, 0.0, 0.0]))
    history.add(SECOND, np.zeros(3))
    assert map_T_odom(history, 90 * SECOND, np.zeros(3)) is None
    assert map_T_odom(history, SECOND, np.zeros(3)) is not None


def test_the_node_publishes_it_ahead_of_time_like_amcl() -> None:
    node, ros = NodeProcess("truth_localization"), Ros("test_truth_localization")
    try:
        heard: list = []
        ros.node.create_subscription(TFMessage, "/tf", heard.append, 10)
        publishers = [
            ros.node.create_publisher(Odometry, topic, 10) for topic in ("odom", "ground_truth/odom")
        ]
        for publisher in publishers:
            wait_until(lambda of=publisher: of.get_subscription_count() > 0, DISCOVERY, publisher.topic)

        def published() -> bool:
            # again and again, as a robot does: whoever listens may know of us a little later
            publishers[0].publish(odometry_msg((0.5, 0.0, 0.0), 10.0))
            publishers[1].publish(odometry_msg((2.5, 1.0, 0.0), 10.0, frame_id="map"))
            return bool(heard)

        wait_until(published, DISCOVERY, "a transform")
        (transform,) = heard[0].transforms
        assert (transform.header.frame_id, transform.child_frame_id) == ("map", "odom")
        assert messages.stamp_ns(transform.header.stamp) == 10 * SECOND + SECOND // 10
        translation = transform.transform.translation
        assert (translation.x, translation.y) == pytest.approx((2.0, 1.0))
        assert node.stop() == 0, node.log
    finally:
        node.stop()
        ros.close()
