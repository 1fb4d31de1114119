"""A subscription hears every publisher, whatever quality of service it offers."""

from __future__ import annotations

import pytest
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from ros_support import DISCOVERY, Ros, wait_until
from sensor_msgs.msg import CameraInfo

from kinaema_ros.nodes.support.subscriptions import MatchedSubscription


@pytest.mark.parametrize("durability", [DurabilityPolicy.TRANSIENT_LOCAL, DurabilityPolicy.VOLATILE])
@pytest.mark.parametrize("reliability", [ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT])
@pytest.mark.parametrize("best_effort", [False, True])
def test_every_publisher_is_heard_and_what_it_latched(durability, reliability, best_effort: bool) -> None:
    ros = Ros("a_camera")
    heard: list[CameraInfo] = []
    topic = f"info_{durability.name}_{reliability.name}_{best_effort}".lower()
    publisher = ros.node.create_publisher(
        CameraInfo, topic, QoSProfile(depth=1, durability=durability, reliability=reliability)
    )
    publisher.publish(CameraInfo(width=1))
    group = MutuallyExclusiveCallbackGroup()
    subscription = MatchedSubscription(
        ros.node, CameraInfo, topic, heard.append, 1, group, best_effort=best_effort
    )

    def hears(width: int, again: bool) -> bool:
        subscription.refresh()
        if again:
            publisher.publish(CameraInfo(width=width))
        return any(message.width == width for message in heard)

    try:
        reliable = reliability == ReliabilityPolicy.RELIABLE and not best_effort
        if durability == DurabilityPolicy.TRANSIENT_LOCAL and reliable:  # to others nothing is told again
            wait_until(lambda: hears(1, False), DISCOVERY, "what was published before")
        wait_until(lambda: hears(2, True), DISCOVERY, "what is published now")
        (info,) = ros.node.get_subscriptions_info_by_topic(subscription.topic)
        expected = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
        assert info.qos_profile.reliability == expected
    finally:
        ros.close()
