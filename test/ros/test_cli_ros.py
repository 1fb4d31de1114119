"""`kinaema query` and `kinaema goto` against real nodes."""

from __future__ import annotations

import _thread
import json
import re
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from bag_support import write_drive, write_queries

pytest.importorskip("rclpy")

import rclpy
from rclpy.action import ActionServer, CancelResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import MultiThreadedExecutor, SingleThreadedExecutor
from ros_support import OTHER_DOMAIN, ROOT, NodeProcess, wait_until

from kinaema_interfaces.action import NavigateToImage
from kinaema_interfaces.srv import AddPlace, ListPlaces, QueryPose, RemovePlace
from kinaema_ros.estimate import Alternative, Estimate, Place
from kinaema_ros.nodes.client import client
from kinaema_ros.nodes.client.places import PlaceRefused
from kinaema_ros.nodes.support import messages
from kinaema_ros.nodes.support.spinning import Spinner


def start(*arguments):
    command = [sys.executable, "-m", "kinaema_ros.cli", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def kinaema(*arguments):
    """Exit status, standard output and standard error."""
    process = start(*arguments)
    try:
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert "Traceback" not in err
    return process.returncode, out, err


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drive")
    write_drive(folder / "bag", frames=5)
    write_queries(folder, 5, wanted=[0, 3])
    return folder


def test_query_says_what_the_replay_said(recorded, tmp_path, monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", OTHER_DOMAIN)
    photo, result = recorded / "queries" / "3.png", tmp_path / "result.json"
    node = NodeProcess("memory_node", "odometry.max_wait:=10.0")  # a loaded machine is late with odometry
    try:
        arguments = ("replay", recorded / "bag", "--queries", recorded / "queries.csv", "--through-ros")
        status, _, err = kinaema(*arguments, "--json", result)
        assert status == 0, err
        replayed = json.loads(result.read_text())
        expected, used = replayed["queries"][1], replayed["summary"]["frames_used"]
        status, out, err = kinaema("query", photo, "--json", tmp_path / "answer.json")
        assert status == 0, err
        (answer,) = json.loads((tmp_path / "answer.json").read_text())
        assert (answer["file"], answer["frame_id"], answer["num_updates"]) == (str(photo), "base_link", used)
        for key in ("x", "y", "yaw", "seen", "confidence"):
            assert answer[key] == pytest.approx(expected[key], abs=1e-3)
        assert len(answer["alternatives"]) == len(expected["alternatives"])
        assert f"x {answer['x']:.2f} m" in out
        assert f"{used} updates" in out
        status, _, err = kinaema("query", photo, "--frame", "moon")
        assert (status, err.count("\n")) == (1, 1)
        assert "moon" in err
    finally:
        assert node.stop() == 0, node.log


class Memory:
    """A memory_node that hesitates between three places."""

    answer = Estimate(
        (1.0, 2.0, 0.5),
        np.diag([0.04, 0.01, 0.0081]),
        seen=0.875,
        confidence=0.5,
        alternatives=(
            Alternative((-3.0, 0.25, -1.5), np.diag([0.25, 0.01, 0.0324]), 0.25),
            Alternative((8.0, 0.0, 3.0), np.diag([1.0, 0.01, 0.09]), 0.125),
        ),
        num_updates=40,
        frame_id="base_link",
    )

    def __init__(self):
        self.asked = []
        self._context = rclpy.Context()
        rclpy.init(args=[], context=self._context)
        self.node = rclpy.create_node("memory_double", context=self._context)
        self.node.create_service(QueryPose, "kinaema_memory/query_pose", self._on_query)
        self.node.create_service(AddPlace, "kinaema_memory/add_place", self._on_add)
        self.node.create_service(RemovePlace, "kinaema_memory/remove_place", self._on_remove)
        self.node.create_service(ListPlaces, "kinaema_memory/list_places", self._on_list)
        self._spinner = Spinner(SingleThreadedExecutor(context=self._context), self.node)

    def _on_query(self, request, response):
        self.asked.append(request)
        messages.fill_response(response, self.answer)
        return response

    def _on_add(self, request, response):
        self.asked.append(request)
        response.success, response.replaced = True, len(self.asked) > 1
        response.pose = messages.pose_stamped((1.0, 2.0, 0.5), "odom", messages.time_msg(1))
        return response

    def _on_remove(self, request, response):
        response.success = request.name == "desk"
        response.message = "" if response.success else "nothing was removed: there is no such place"
        return response

    def _on_list(self, request, response):
        self.asked.append(request)
        response.success, response.header.frame_id = True, request.frame_id or "odom"
        places = Place("desk", True, (1.0, 2.0, 0.5)), Place("moon", False, None)
        response.places = [messages.place_msg(place) for place in places]
        return response

    def close(self):
        self._spinner.end()
        self.node.destroy_node()
        self._context.try_shutdown()


@pytest.fixture
def memory():
    memory = Memory()
    yield memory
    memory.close()


def test_places_are_added_here_by_a_photo_or_by_a_pose_and_a_replaced_one_is_told(recorded, tmp_path, memory):
    photo, file = recorded / "queries" / "0.png", tmp_path / "added.json"
    status, out, err = kinaema("place", "add", "desk", "--json", file)
    assert (status, out) == (0, "added desk: x 1.00 m, y 2.00 m, yaw 29 deg in odom\n"), err
    (record,) = json.loads(file.read_text())
    assert (record["name"], record["in_memory"], record["replaced"]) == ("desk", True, False)
    assert (record["x"], record["y"], record["yaw"], record["frame_id"]) == (
        1.0,
        2.0,
        pytest.approx(0.5),
        "odom",
    )
    with client.KinaemaClient() as asking:
        _, replaced = asking.add_place("desk", photo, hfov_deg=69.0)
        asking.add_place("desk", pose=(1.0, -2.0, 0.5), frame_id="map")
        with pytest.raises(PlaceRefused, match="there is no such place"):
            asking.remove_place("sofa")
        asking.remove_place("desk")
    here, by_photo, by_pose = memory.asked
    assert replaced
    assert (here.name, len(here.compressed_image.data), here.pose.header.frame_id) == ("desk", 0, "")
    assert (bytes(by_photo.compressed_image.data), by_photo.hfov_deg) == (photo.read_bytes(), 69.0)
    assert by_pose.pose.header.frame_id == "map"
    np.testing.assert_allclose(messages.planar_pose(by_pose.pose.pose), (1.0, -2.0, 0.5), atol=1e-6)


def test_places_are_listed_with_what_is_known_of_them(tmp_path, memory):
    status, out, err = kinaema("place", "list", "--frame", "map", "--json", tmp_path / "places.json")
    assert status == 0, err
    assert out.splitlines() == [
        "desk: x 1.00 m, y 2.00 m, yaw 29 deg in map",
        "moon: its surroundings are no longer in memory",
    ]
    desk, moon = json.loads((tmp_path / "places.json").read_text())
    assert (desk["in_memory"], desk["x"], desk["frame_id"]) == (True, 1.0, "map")
    assert (moon["in_memory"], moon["x"], moon["frame_id"]) == (False, None, "")


def test_a_query_may_name_a_place(tmp_path, memory):
    status, out, err = kinaema("query", "--place", "desk", "--json", tmp_path / "answer.json")
    assert status == 0, err
    assert out.startswith("x 1.00 m, y 2.00 m")
    assert [request.place for request in memory.asked] == ["desk"]
    (record,) = json.loads((tmp_path / "answer.json").read_text())
    assert (record["place"], "file" in record) == ("desk", False)


def test_query_tells_how_sure_it_is_and_where_else_the_photo_may_be_from(recorded, tmp_path):
    memory = Memory()
    try:
        photo = recorded / "queries" / "0.png"
        arguments = ("--hfov-deg", "69", "--json", tmp_path / "answer.json")
        status, out, err = kinaema("query", photo, *arguments)
        with client.KinaemaClient() as asking:
            estimate = asking.query(photo)
    finally:
        memory.close()
    assert status == 0, err
    assert out.splitlines() == [
        "x 1.00 m, y 2.00 m, yaw 29 deg in base_link, give or take 0.20 m and 5 deg",
        "seen with probability 0.88, pose right with 0.50, from 40 updates of the memory",
        "or with 0.25 x -3.00 m, y 0.25 m, yaw -86 deg, give or take 0.50 m and 10 deg",
        "or with 0.12 x 8.00 m, y 0.00 m, yaw 172 deg, give or take 1.00 m and 17 deg",
    ]
    assert [request.hfov_deg for request in memory.asked] == [69.0, 0.0]
    for request in memory.asked:  # whole, so that the node finds EXIF data
        assert bytes(request.compressed_image.data) == photo.read_bytes()
    (record,) = json.loads((tmp_path / "answer.json").read_text())
    assert (record["seen"], record["confidence"]) == (0.875, 0.5)
    first, second = record["alternatives"]
    assert (first["x"], first["y"], first["yaw"]) == pytest.approx((-3.0, 0.25, -1.5))
    assert (first["confidence"], second["confidence"]) == (0.25, 0.125)
    np.testing.assert_allclose(first["covariance"], np.diag([0.25, 0.01, 0.0324]))
    assert (estimate.confidence, [other.confidence for other in estimate.alternatives]) == (
        0.5,
        [0.25, 0.125],
    )


def test_an_empty_file_is_called_one_before_anybody_is_asked(tmp_path):
    (tmp_path / "empty.jpg").touch()
    status, _, err = kinaema("query", tmp_path / "empty.jpg")
    assert status == 1
    assert "empty.jpg is empty, no photo" in err


class Navigator:
    """A navigate_to_image server that ends each drive as the test says, or waits to be canceled.

    When ``answers`` is cleared it does not answer cancels, and when ``arrive`` is, it drives on; canceled drives end with ``error_when_canceled``.
    """

    def __init__(self, error_code=None):
        self.error_code, self.goals, self.canceled = error_code, [], threading.Event()
        self.places_tried = []
        self.error_when_canceled, self.answers = NavigateToImage.Result.CANCELED, threading.Event()
        self.answers.set()
        self.arrive = threading.Event()
        self.arrive.set()
        self._context = rclpy.Context()
        rclpy.init(args=[], context=self._context)
        self.node = rclpy.create_node("navigator_double", context=self._context)
        self._server = ActionServer(
            self.node,
            NavigateToImage,
            "navigate_to_image",
            self._drive,
            callback_group=ReentrantCallbackGroup(),  # a cancellation comes while the drive goes on
            cancel_callback=self._on_cancel,
        )
        self._spinner = Spinner(MultiThreadedExecutor(3, context=self._context), self.node)

    def _on_cancel(self, _):
        self.answers.wait(30.0)
        return CancelResponse.ACCEPT

    def close(self):
        self.answers.set()
        self.arrive.set()
        self._spinner.end()
        self._server.destroy()
        self.node.destroy_node()
        self._context.try_shutdown()

    def _drive(self, goal):
        self.goals.append(goal.request)
        feedback = NavigateToImage.Feedback(
            seen=0.875, confidence=0.75, distance_remaining=2.0, num_queries=1
        )
        feedback.current_goal.header.frame_id = "odom"
        goal.publish_feedback(feedback)
        if self.error_code is None:
            wait_until(lambda: goal.is_cancel_requested, 30.0, "a cancellation")
            goal.canceled()
            self.canceled.set()
            return NavigateToImage.Result(error_code=self.error_when_canceled, error_msg="where is Nav2?")
        self.arrive.wait(30.0)
        result = NavigateToImage.Result(error_code=self.error_code, num_queries=3)
        if self.error_code:
            goal.abort()
            result.error_msg = "never seen: drive there once"
            result.places_tried = [
                messages.pose_stamped(place, "odom", messages.time_msg(1)) for place in self.places_tried
            ]
        else:
            goal.succeed()
            result.final_goal = messages.pose_stamped([1.0, 2.0, 0.5], "odom", messages.time_msg(1))
        return result


@pytest.fixture
def navigator():
    opened = []

    def make(error_code=None):
        opened.append(Navigator(error_code))
        return opened[-1]

    yield make
    for server in opened:
        server.close()


def test_goto_is_done_when_the_robot_arrived(recorded, tmp_path, navigator):
    server = navigator(NavigateToImage.Result.NONE)
    arguments = ("--min-seen", "0.25", "--min-confidence", "0.125", "--hfov-deg", "69")
    arguments += ("--position-tolerance", "0.5", "--yaw-tolerance", "90")
    photo = recorded / "queries" / "0.png"
    status, out, err = kinaema("goto", photo, *arguments, "--json", tmp_path / "result.json")
    assert status == 0, err
    assert "reached x 1.00 m, y 2.00 m, yaw 29 deg in odom after 3 queries" in out
    (goal,) = server.goals
    assert bytes(goal.compressed_image.data) == photo.read_bytes()
    assert (goal.min_seen, goal.min_confidence, goal.hfov_deg, goal.position_tolerance) == (
        0.25,
        0.125,
        69,
        0.5,
    )
    assert goal.yaw_tolerance == pytest.approx(1.5708, abs=1e-4)
    (record,) = json.loads((tmp_path / "result.json").read_text())
    assert record["reached"] is True
    assert (record["x"], record["y"], record["yaw"]) == pytest.approx((1.0, 2.0, 0.5))
    assert (record["frame_id"], record["num_queries"], record["error_code"]) == ("odom", 3, 0)


@pytest.mark.parametrize("command", [("place", "go", "desk"), ("goto", "--place", "desk")])
def test_the_robot_goes_to_a_place_by_its_name(tmp_path, navigator, command):
    server = navigator(NavigateToImage.Result.NONE)
    status, out, err = kinaema(*command, "--yaw-tolerance", "90", "--json", tmp_path / "result.json")
    assert status == 0, err
    assert "reached x 1.00 m, y 2.00 m, yaw 29 deg in odom" in out
    (goal,) = server.goals
    assert (goal.place, len(goal.compressed_image.data)) == ("desk", 0)
    (record,) = json.loads((tmp_path / "result.json").read_text())
    assert (record["place"], record["reached"]) == ("desk", True)


def test_a_drive_s_feedback_tells_how_sure_the_memory_is(recorded, navigator):
    navigator(NavigateToImage.Result.NONE)
    heard = []
    with client.KinaemaClient() as kinaema:
        kinaema.go_to(recorded / "queries" / "0.png", on_feedback=heard.append)
    wait_until(lambda: heard, 10.0, "feedback")
    assert (heard[0].seen, heard[0].confidence) == (0.875, 0.75)


def test_goto_fails_with_the_navigator_s_reason(recorded, tmp_path, navigator):
    navigator(NavigateToImage.Result.NOT_SEEN)
    status, _, err = kinaema("goto", recorded / "queries" / "0.png", "--json", tmp_path / "result.json")
    assert status == 1
    assert err == "kinaema goto: error: not reached: never seen: drive there once (error code 103)\n"
    (record,) = json.loads((tmp_path / "result.json").read_text())
    assert (record["reached"], record["error_code"], record["x"]) == (False, 103, None)


def test_goto_tells_the_places_at_which_the_robot_saw_another(recorded, tmp_path, navigator):
    navigator(NavigateToImage.Result.OTHER_PLACE).places_tried = [(1.0, 2.0, 0.5), (-4.0, 0.0, 0.0)]
    photo = recorded / "queries" / "0.png"
    status, out, err = kinaema("goto", photo, "--json", tmp_path / "result.json")
    assert status == 1
    assert "(error code 118)" in err
    assert "tried x 1.00 m, y 2.00 m, yaw 29 deg in the odometry's frame: another place" in out
    assert "tried x -4.00 m, y 0.00 m, yaw 0 deg" in out
    (record,) = json.loads((tmp_path / "result.json").read_text())
    assert [tried["x"] for tried in record["places_tried"]] == [1.0, -4.0]


def test_ctrl_c_stops_the_robot(recorded, navigator):
    server = navigator()
    process = start("goto", recorded / "queries" / "0.png")
    try:
        wait_until(lambda: server.goals, 60.0, "the goal")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    assert err == "kinaema goto: interrupted\n"
    assert server.canceled.wait(5.0)


def test_settings_with_which_ros_cannot_start_are_told_in_one_line(recorded, monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", "kitchen")
    photo, bag, table = recorded / "queries" / "0.png", recorded / "bag", recorded / "queries.csv"
    for arguments in (
        ("query", photo),
        ("goto", photo),
        ("replay", bag, "--queries", table, "--through-ros"),
    ):
        status, _, err = kinaema(*arguments)
        assert status == 1
        assert re.fullmatch(r"kinaema \w+: error: ROS cannot start: [^\n]*ROS_DOMAIN_ID[^\n]*\n", err)


@pytest.mark.parametrize(
    ("fault", "words"),
    [("silent", "interrupted; /navigate_to_image did not confirm within 2 s"), ("lost", "where is Nav2?")],
)
def test_a_cancel_that_nobody_confirms_is_told(recorded, navigator, monkeypatch, fault, words):
    """Ctrl-C comes once the drive has begun; the navigator is silent then, or says that Nav2 is."""
    server = navigator()
    if fault == "silent":
        server.answers.clear()
        monkeypatch.setattr(client, "_CANCEL_TIMEOUT", 2.0)
    else:
        server.error_when_canceled = NavigateToImage.Result.NAV2_LOST
    photo = recorded / "queries" / "0.png"
    with client.KinaemaClient() as kinaema, pytest.raises(client.NavigatorUnavailable) as told:
        kinaema.go_to(photo, on_feedback=lambda _: _thread.interrupt_main())
    assert words in str(told.value)
    assert isinstance(told.value.__cause__, KeyboardInterrupt)


@pytest.mark.parametrize(
    ("command", "words"), [("query", "start memory_node"), ("goto", "start navigator_node")]
)
def test_without_nodes_the_user_is_told_what_to_start(recorded, command, words):
    photo = recorded / "queries" / "0.png"
    status, _, err = kinaema(command, photo, "--timeout", "0.5", "--namespace", "/nobody")
    assert status == 1
    assert words in err
    assert "/nobody/" in err


def test_a_program_goes_on_while_the_robot_drives(recorded, navigator):
    server = navigator(NavigateToImage.Result.NONE)
    server.arrive.clear()
    with client.KinaemaClient() as kinaema:
        assert kinaema.is_done()
        with pytest.raises(ValueError, match="send_goal"):
            _ = kinaema.arrival
        kinaema.send_goal(recorded / "queries" / "0.png")
        assert not kinaema.is_done()
        wait_until(lambda: kinaema.feedback is not None, 10.0, "feedback")
        assert kinaema.feedback.seen == 0.875
        server.arrive.set()
        wait_until(kinaema.is_done, 10.0, "the arrival")
        assert kinaema.arrival.reached
        kinaema.cancel()  # too late for anything
    assert not server.canceled.is_set()


@pytest.mark.parametrize("how", ["cancel", "close"])
def test_a_drive_ends_when_the_program_cancels_or_leaves_it(recorded, navigator, how):
    server = navigator()
    kinaema = client.KinaemaClient()
    try:
        kinaema.send_goal(recorded / "queries" / "0.png")
        if how == "cancel":
            kinaema.cancel()
            assert kinaema.is_done()
            assert not kinaema.arrival.reached
    finally:
        kinaema.close()
    assert server.canceled.wait(5.0)


def test_the_example_of_a_client_gets_there_or_gives_up(recorded, navigator):
    example, photo = ROOT / "examples" / "client.py", recorded / "queries" / "0.png"
    server = navigator(NavigateToImage.Result.NONE)
    done = subprocess.run([sys.executable, example, photo], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "there"), done.stderr
    server.arrive.clear()
    server.error_code = None
    done = subprocess.run([sys.executable, example, photo, "2"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stderr
    assert "m to go" in done.stdout
    assert server.canceled.is_set()
