"""Named places through memory_node: added, asked for, listed, shown, saved; over real DDS, and its parts by hand."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from memory_node_support import SECOND, a_memory, inputs_of
from ros_support import NodeProcess, Robot, frame, image_msg, wait_until
from visualization_msgs.msg import Marker, MarkerArray

from kinaema_interfaces.srv import AddPlace, LoadMemory, QueryPose, SaveMemory
from kinaema_ros.errors import BadInput, ForgottenPlaceError, NoSuchPlaceError
from kinaema_ros.estimate import Place
from kinaema_ros.nodes.client.client import KinaemaClient
from kinaema_ros.nodes.client.places import PlaceRefused
from kinaema_ros.nodes.memory import places
from kinaema_ros.nodes.memory.locating import locate
from kinaema_ros.nodes.support import messages
from kinaema_ros.nodes.support.markers import place_markers


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    process = NodeProcess(
        "memory_node",
        "keyframes.min_distance:=0.0",
        "keyframes.min_angle:=0.0",
        "keyframes.max_rate_hz:=0.0",
        f"memory_dir:={tmp_path_factory.mktemp('ros')}",
    )
    yield process
    assert process.stop() == 0, process.log
    assert "Traceback" not in process.log


@pytest.fixture(scope="module")
def robot(node: NodeProcess) -> Iterator[Robot]:
    robot = Robot()
    yield robot
    robot.close()


@pytest.fixture(scope="module")
def client(robot: Robot) -> Iterator[KinaemaClient]:
    with KinaemaClient() as client:
        yield client


@pytest.fixture(autouse=True)
def empty_memory(request: pytest.FixtureRequest) -> None:
    if "robot" in request.fixturenames:
        request.getfixturevalue("robot").reset()


def test_a_place_is_added_where_the_robot_is_now_and_found_by_its_name(robot: Robot, client: KinaemaClient):
    robot.remember(1, 2, 3)
    kitchen, replaced = client.add_place("Küche 🍲")
    assert not replaced
    np.testing.assert_allclose(kitchen.pose, (robot.x, 0.0, 0.0), atol=0.02)  # not at the last update
    assert kitchen.frame_id == "odom"
    there = robot.x
    robot.remember(4, 5)
    (found,) = client.places().values()
    assert found.name == "Küche 🍲"
    np.testing.assert_allclose(found.pose, (there, 0.0, 0.0), atol=0.02)
    estimate = client.query(place="Küche 🍲", frame_id="odom")
    np.testing.assert_allclose(estimate.pose, found.pose, atol=1e-6)
    assert (estimate.seen, estimate.num_updates, estimate.frame_id) == (1.0, 5, "odom")
    assert 0.9 < estimate.confidence <= 1.0
    from_here = client.query(place="Küche 🍲")
    np.testing.assert_allclose(from_here.pose, (there - robot.x, 0.0, 0.0), atol=0.02)


def test_a_tapped_pose_is_added_a_name_is_replaced_and_a_place_removed(robot: Robot, client: KinaemaClient):
    robot.remember(1, 2, 3)
    tapped, replaced = client.add_place("desk", pose=(0.5, 1.0, 1.5), frame_id="odom")
    assert not replaced
    np.testing.assert_allclose(tapped.pose, (0.5, 1.0, 1.5), atol=1e-6)
    ahead, replaced = client.add_place(" desk ", pose=(0.2, 0.0, 0.0), frame_id="base_link")
    assert replaced
    np.testing.assert_allclose(ahead.pose, (robot.x + 0.2, 0.0, 0.0), atol=1e-6)
    client.add_place("door")
    assert list(client.places()) == ["desk", "door"]
    client.remove_place("desk")
    assert list(client.places()) == ["door"]
    with pytest.raises(PlaceRefused, match=r"nothing was removed: there is no place 'desk'.*are: door"):
        client.remove_place("desk")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"name": ""}, "1 to 64 characters"),
        ({"name": "x" * 65}, "1 to 64 characters"),
        ({"name": "a\nb"}, "control character"),
        ({"name": "a", "photo": frame(77), "pose": (0.0, 0.0, 0.0), "frame_id": "odom"}, "fill exactly one"),
        ({"name": "a", "pose": (90.0, 0.0, 0.0), "frame_id": "odom"}, "never within 3 m of there"),
        ({"name": "a", "pose": (np.nan, 0.0, 0.0), "frame_id": "odom"}, "NaN"),
        ({"name": "a", "pose": (0.0, 0.0, 0.0), "frame_id": "moon"}, "moon"),
        ({"name": "a", "photo": frame(77), "hfov_deg": 500.0}, "hfov_deg is 500"),
        ({"name": "a", "photo": frame(77)}, r"probably not in memory|not sure enough"),
    ],
)
def test_what_cannot_be_added_is_told(robot: Robot, client: KinaemaClient, fields: dict, why: str):
    if not robot.where(1).success:
        robot.remember(1, 2, 3)
    with pytest.raises(PlaceRefused, match=rf"nothing was added: .*({why})"):
        client.add_place(**fields)
    assert client.places() == {}


def test_a_robot_that_has_seen_nothing_has_no_places(robot: Robot, client: KinaemaClient):
    with pytest.raises(PlaceRefused, match="nothing is remembered yet"):
        client.add_place("here")
    assert client.places() == {}


def test_places_are_shown_saved_and_loaded_with_the_memory(robot: Robot, client: KinaemaClient):
    heard: list[MarkerArray] = []
    robot.node.create_subscription(MarkerArray, "kinaema_memory/markers", heard.append, 10)
    robot.remember(1, 2, 3)
    client.add_place("kitchen")
    texts = lambda: {marker.text for message in heard for marker in message.markers}  # noqa: E731
    wait_until(lambda: "kitchen" in texts(), what="the marker")
    before = client.places()
    assert robot.call(robot.save_client, SaveMemory.Request(name="home")).success
    robot.reset()
    assert client.places() == {}
    robot.drive(0.0)
    robot.x = before["kitchen"].pose[0]
    assert robot.call(robot.load_client, LoadMemory.Request(name="home")).success
    assert list(client.places()) == ["kitchen"]
    assert robot.call(robot.load_client, LoadMemory.Request(name="home", localize=True)).success
    (lost,) = client.places().values()
    assert lost == Place("kitchen", True, None), (
        "where it lies is not known before the robot knows where it is"
    )
    answer = robot.ask(QueryPose.Request(place="kitchen"))
    assert answer.message.startswith("query_localizing: ")


def test_a_query_names_a_place_or_shows_a_photo_and_not_both(robot: Robot):
    robot.remember(1, 2)
    both = robot.ask(QueryPose.Request(image=image_msg(frame(1)), place="kitchen"))
    assert both.message.startswith("query_two_images: ")
    assert "fill exactly one" in both.message
    unknown = robot.ask(QueryPose.Request(place="kitchen"))
    assert unknown.message.startswith("no_such_place: there is no place 'kitchen'")


# -- its parts, by hand ----------------------------------------------------------------------------------------------


def test_places_are_in_the_odometry_s_frame_also_where_that_began_anew_under_a_robot_that_stood_still() -> (
    None
):
    memory = a_memory()
    memory.places = {"desk": Place("desk", True, (4.0, 1.0, 0.5)), "gone": Place("gone", False, None)}
    inputs = inputs_of(memory)
    inputs.tracker._anchor = np.array([3.0, 0.0, 0.0])  # memory_T_odom
    desk, gone = places.listed(inputs).places
    np.testing.assert_allclose(desk.pose, (1.0, 1.0, 0.5))
    assert gone == Place("gone", False, None)
    (desk, _) = places.listed(inputs, "base_link").places
    np.testing.assert_allclose(desk.pose, (0.0, 1.0, 0.5))  # of a robot at (1, 0, 0) of its odometry
    memory.add_place.return_value = False
    memory.locate_place.return_value = memory.locate.return_value
    added = places.add(inputs, AddPlace.Request(name="here"))
    np.testing.assert_allclose(memory.add_place.call_args.kwargs["odom_pose"], (4.0, 0.0, 0.0))
    np.testing.assert_allclose(added.pose, (-1.0, 1.0, 0.0))
    assert (added.frame_id, added.stamp) == ("odom", 100 * SECOND)


@pytest.mark.parametrize(
    ("error", "reason"), [(NoSuchPlaceError, "no_such_place"), (ForgottenPlaceError, "place_forgotten")]
)
def test_a_place_that_cannot_be_found_has_a_reason_of_its_own(error: type, reason: str) -> None:
    memory = a_memory()
    memory.locate_place.side_effect = error("why")
    with pytest.raises(BadInput) as told:
        locate(inputs_of(memory), QueryPose.Request(place="desk"))
    assert (told.value.reason, str(told.value)) == (reason, "why")


def test_markers_hold_the_names_of_places_whose_poses_are_known() -> None:
    shown = [
        Place("desk", True, (1.0, 2.0, 0.5)),
        Place("gone", False, None),
        Place("door", True, (0.0, 0.0, 0.0)),
    ]
    wipe, *texts = place_markers(shown, "odom", messages.time_msg(5))
    assert (wipe.action, wipe.ns) == (Marker.DELETEALL, "kinaema_places")
    assert [(text.text, text.id, text.header.frame_id) for text in texts] == [
        ("desk", 0, "odom"),
        ("door", 1, "odom"),
    ]
    assert (texts[0].pose.position.x, texts[0].pose.position.y) == (1.0, 2.0)
