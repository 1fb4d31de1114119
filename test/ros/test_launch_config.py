"""Nav2's parameters, the bridge and RViz speak of the topics and frames that the exported robot has."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from kinaema_ros.navigation.photo_drive import DriveLimits
from kinaema_ros.nodes.memory.parameters import MemoryParameters
from kinaema_ros.sim.export.nav2 import overlaid, without_lidar

ROOT = Path(__file__).resolve().parents[2]
ROBOT = ElementTree.parse(ROOT / "worlds" / "example" / "world.sdf").find(
    "world/model[@name='kinaema_robot']"
)
assert ROBOT is not None


@pytest.fixture(scope="module")
def bridge() -> dict[str, dict]:
    """By the topic's name in Gazebo."""
    entries = yaml.safe_load((ROOT / "config" / "ros_gz_bridge.yaml").read_text())
    return {entry["gz_topic_name"]: entry for entry in entries}


@pytest.fixture(scope="module")
def nav2() -> dict:
    return yaml.safe_load((ROOT / "config" / "nav2.yaml").read_text())


def values_of(tree: object, key: str) -> list:
    """All values of a key, however deep."""
    if isinstance(tree, dict):
        below = itertools.chain.from_iterable(values_of(v, key) for v in tree.values())
        return [*(v for k, v in tree.items() if k == key), *below]
    return []


def plugin(name: str) -> ElementTree.Element:
    found = ROBOT.find(f"plugin[@filename='{name}']")
    assert found is not None
    return found


def test_every_topic_of_the_robot_is_bridged_in_its_direction(bridge: dict[str, dict]) -> None:
    drive, truth = plugin("gz-sim-diff-drive-system"), plugin("gz-sim-odometry-publisher-system")
    names = [sensor.findtext("topic") for sensor in ROBOT.iter("sensor")]
    names += [
        ROBOT.findtext(".//camera_info_topic"),
        drive.findtext("odom_topic"),
        drive.findtext("tf_topic"),
    ]
    published = {f"/{name}" for name in [*names, truth.findtext("odom_topic")]} | {"/clock"}
    heard = {f"/{drive.findtext('topic')}"}
    assert {n for n, entry in bridge.items() if entry["direction"] == "GZ_TO_ROS"} == published
    assert {n for n, entry in bridge.items() if entry["direction"] == "ROS_TO_GZ"} == heard
    for name, entry in bridge.items():
        assert entry["ros_topic_name"].lstrip("/") == name.lstrip("/")


def test_no_transform_has_two_publishers(bridge: dict[str, dict]) -> None:
    truth = plugin("gz-sim-odometry-publisher-system")
    assert f"/{truth.findtext('tf_topic')}" not in bridge
    assert truth.findtext("odom_frame") == "map"


def test_nav2_and_the_bridge_agree_on_stamped_velocities(nav2: dict, bridge: dict[str, dict]) -> None:
    assert bridge["/cmd_vel"]["ros_type_name"] == "geometry_msgs/msg/TwistStamped"
    for node in (
        "controller_server",
        "behavior_server",
        "velocity_smoother",
        "collision_monitor",
        "docking_server",
    ):
        assert nav2[node]["ros__parameters"]["enable_stamped_cmd_vel"] is True, node


def test_nav2_uses_the_frames_and_topics_of_the_robot(nav2: dict) -> None:
    drive = plugin("gz-sim-diff-drive-system")
    base, odom = drive.findtext("child_frame_id"), drive.findtext("frame_id")
    for key in ("robot_base_frame", "base_frame_id", "base_frame"):
        assert set(values_of(nav2, key)) == {base}, key
    assert nav2["local_costmap"]["local_costmap"]["ros__parameters"]["global_frame"] == odom
    assert nav2["global_costmap"]["global_costmap"]["ros__parameters"]["global_frame"] == "map"
    assert {topic.lstrip("/") for topic in values_of(nav2, "odom_topic")} == {drive.findtext("odom_topic")}
    lidar = ROBOT.find(".//sensor[@type='gpu_lidar']")
    assert lidar is not None
    scans = [section["topic"].lstrip("/") for section in values_of(nav2, "scan")]
    assert len(scans) == 3
    assert set(scans) == {lidar.findtext("topic")}


def test_nav2_asks_for_no_more_than_the_robot_can(nav2: dict) -> None:
    drive = plugin("gz-sim-diff-drive-system")
    linear, angular = (float(drive.findtext(f"max_{kind}_velocity", "nan")) for kind in ("linear", "angular"))
    smoother = nav2["velocity_smoother"]["ros__parameters"]
    assert smoother["max_velocity"] == [linear, 0.0, angular]
    assert smoother["min_velocity"] == [-linear, 0.0, -angular]
    follow = nav2["controller_server"]["ros__parameters"]["FollowPath"]
    assert follow["desired_linear_vel"] <= linear
    assert follow["rotate_to_heading_angular_vel"] <= angular


def test_costmaps_keep_the_robot_off_the_walls(nav2: dict) -> None:
    body = ROBOT.find("link[@name='base_link']/collision/geometry/cylinder/radius")
    assert body is not None
    assert body.text is not None
    assert values_of(nav2, "amcl") == []
    for radius in values_of(nav2, "robot_radius"):
        assert radius >= float(body.text)
        assert all(inflation > radius for inflation in values_of(nav2, "inflation_radius"))


def test_without_a_lidar_nav2_sees_the_map_in_both_costmaps_and_waits_for_no_scan(nav2: dict) -> None:
    changed = without_lidar(copy.deepcopy(nav2))
    for name in ("local_costmap", "global_costmap"):
        costmap = changed[name][name]["ros__parameters"]
        assert costmap["plugins"] == ["static_layer", "inflation_layer"]
        assert costmap["static_layer"]["map_topic"] == "/map"
    assert [scan["enabled"] for scan in values_of(changed, "scan") if "topic" in scan] == [False]


def test_without_a_map_nav2_plans_in_the_memorys_frame_through_what_the_robot_has_seen(nav2: dict) -> None:
    overlay = yaml.safe_load((ROOT / "config" / "nav2_without_map.yaml").read_text())
    changed = overlaid(nav2, overlay)
    costmap = changed["global_costmap"]["global_costmap"]["ros__parameters"]
    assert costmap["global_frame"] == MemoryParameters().memory_frame
    assert "static_layer" not in costmap["plugins"]
    assert all(costmap[layer]["plugin"] for layer in costmap["plugins"])
    assert (
        costmap["obstacle_layer"]
        == nav2["global_costmap"]["global_costmap"]["ros__parameters"]["obstacle_layer"]
    )
    assert changed["planner_server"]["ros__parameters"]["GridBased"]["allow_unknown"] is True
    assert set(changed) == set(nav2), "a section that Nav2 does not have"
    assert changed["controller_server"] == nav2["controller_server"]


def test_what_nav2_does_not_know_is_not_set(nav2: dict) -> None:
    assert "odom_topic" not in nav2["controller_server"]["ros__parameters"]


def test_nav2_stops_nearer_to_its_goal_than_the_navigator_asks_for(nav2: dict) -> None:
    checker, limits = nav2["controller_server"]["ros__parameters"]["goal_checker"], DriveLimits()
    assert checker["xy_goal_tolerance"] < limits.position_tolerance
    assert checker["yaw_goal_tolerance"] < limits.yaw_tolerance


def test_every_layer_and_plugin_that_is_named_is_configured(nav2: dict) -> None:
    for node, section in nav2.items():
        section = section.get(node, section)["ros__parameters"]
        for key, names in section.items():
            if key.endswith("plugins"):
                for name in names:
                    assert "plugin" in section[name], f"{node}: {name}"
