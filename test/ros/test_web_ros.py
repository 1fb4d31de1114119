"""web_node over the robot's own nodes: what a phone does, in the simulator."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("aiohttp", reason="the page's server is not installed")

from browser_support import DESKTOP, PHONE, browser, no_faults, open_page
from chain_support import SimulatedRobot, start_nodes, stop_nodes
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from PIL import Image
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_support import DISCOVERY, NodeProcess, Ros, odometry_msg, wait_until
from web_support import ask

from kinaema_interfaces.msg import MemoryStatus
from kinaema_ros.nodes.support import messages

BROWSER_PATIENCE = 180_000  # milliseconds, on a busy machine


def address(node: NodeProcess) -> str:
    """Of the page, as its log says it."""
    wait_until(lambda: "the page is at" in node.log or node.process.poll() is not None, DISCOVERY, "the page")
    found = re.search(r"the page is at (\S+)/\n", node.log)
    assert found, node.log
    return found[1]


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Any]:
    """Starts web_node with parameters."""
    with contextlib.ExitStack() as stack:

        def start(*parameters: str) -> NodeProcess:
            node = NodeProcess("web_node", "port:=0", f"data_dir:={tmp_path / 'data'}", *parameters)
            stack.callback(node.stop)
            return node

        yield start


def jpeg(rgb: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def set_speed(robot: SimulatedRobot, factor: float) -> None:
    """Simulated seconds a second."""
    client = robot.node.create_client(SetParameters, "kinaema_simulator/set_parameters")
    value = ParameterValue(type=3, double_value=factor)
    request = SetParameters.Request(parameters=[Parameter(name="real_time_factor", value=value)])
    assert robot.call(client, request).results[0].successful


def test_a_person_sends_the_robot_by_photo_and_by_place_and_stops_it(web: Any, tmp_path: Path) -> None:
    with browser() as chromium:
        nodes = [*start_nodes(), web("use_sim_time:=true")]
        robot = SimulatedRobot()
        try:
            robot.remembering()
            place, rgb = robot.look_around()[1]
            page = open_page(chromium, address(nodes[-1]), PHONE)
            other = open_page(chromium, address(nodes[-1]), DESKTOP)
            for each in (page, other):
                each.set_default_timeout(BROWSER_PATIENCE)
                each.wait_for_selector("#status:text('Knows where it is')")
                each.wait_for_selector("#camera:visible")
                each.wait_for_selector("#drawing .ground circle", state="attached")
            # A place here; then to a photo, from where it is seen by both.
            page.click("#add-here")
            page.fill("#name", "Ende")
            page.press("#name", "Enter")
            other.wait_for_selector("#places button:text('Ende')")
            here = robot.truth
            photo = {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": jpeg(rgb)}
            page.set_input_files("#photo-file", photo)
            page.wait_for_selector("#answer-title:text('sure')")
            _keep(page, other, "answer")
            page.click("#answer-go")
            other.wait_for_selector("#drive-title:text('On the way to the photo')")
            other.wait_for_selector("#drive-words:text('m to go')")
            _keep(page, other, "driving")
            page.wait_for_selector("#drive-title:text('There!')")
            assert np.hypot(*(robot.truth - place)[:2]) < 0.5
            # Back to the place, slowly; the other phone stops it on the way.
            set_speed(robot, 2.0)
            page.click("#places button:text('Ende')")
            page.click("#chosen-go")
            other.wait_for_selector("#drive-words:text('m to go')")
            wait_until(lambda: np.hypot(*(robot.truth - place)[:2]) > 0.3, DISCOVERY, "the robot to set off")
            other.click("#stop")
            page.wait_for_selector("#drive-title:text('Stopped')")
            page.wait_for_selector("#told:text('Somebody stopped the robot')")
            stopped = robot.truth
            assert np.hypot(*(stopped - here)[:2]) > 0.5
            set_speed(robot, 0.0)
            # Somebody sends it by the other page; now it arrives.
            other.click("#places button:text('Ende')")
            other.click("#chosen-go")
            other.wait_for_selector("#drive-title:text('There!')")
            assert np.hypot(*(robot.truth - here)[:2]) < 0.5
            no_faults(page, other)
        finally:
            robot.close()
            stop_nodes(nodes)


def _keep(phone: Any, desktop: Any, name: str) -> None:
    """Screenshots, for whoever names a folder for them in WEB_SCREENSHOTS."""
    folder = os.environ.get("WEB_SCREENSHOTS")
    if folder:
        phone.screenshot(path=f"{folder}/phone-{name}.png")
        desktop.screenshot(path=f"{folder}/desktop-{name}.png")


def test_without_the_other_nodes_the_page_says_what_is_missing(web: Any) -> None:
    node = web()
    url = address(node)
    state = ask(f"{url}/api/state")[2]
    assert (state["memory"], state["pose"], state["drive"]["state"]) == ("absent", None, "none")
    for method, path, body, said in (
        ("POST", "goal", {"place": "x"}, "start navigator_node"),
        ("PUT", "places/x", {}, "start memory_node"),
        ("POST", "photos", jpeg(np.zeros((60, 80, 3), np.uint8)), "odometry"),
    ):
        status, _, answer = ask(f"{url}/api/{path}", method, body)
        assert status == 409
        assert said in answer["message"]
    status, _, answer = ask(f"{url}/api/stop", "POST")
    assert status == 504
    assert "may still be driving" in answer["message"]
    assert ask(f"{url}/api/camera.jpg")[0] == 503
    assert node.stop() == 0
    assert "Traceback" not in node.log


def test_how_sure_the_robot_is_of_its_place_is_told_in_the_odometrys_frame(web: Any) -> None:
    url = address(web())
    robot = Ros("test_robot")
    try:
        node, latched = robot.node, QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        odom = node.create_publisher(Odometry, "odom", 10)
        status = node.create_publisher(MemoryStatus, "kinaema_memory/status", 10)
        pose = node.create_publisher(PoseWithCovarianceStamped, "kinaema_memory/pose", latched)
        # On the map it looks along y, and is less sure of y; in the odometry's frame it looks along x.
        covariance = np.diag([0.01, 0.04, 0.01])
        pose.publish(
            messages.pose_with_covariance((5.0, 5.0, np.pi / 2), covariance, "map", messages.time_msg(1))
        )

        def told() -> bool:
            odom.publish(odometry_msg((1.0, 2.0, 0.0), time.time()))
            status.publish(MemoryStatus(state=MemoryStatus.RUNNING))
            return ask(f"{url}/api/state")[2]["ellipse"] is not None

        wait_until(told, DISCOVERY, "the ellipse")
        state = ask(f"{url}/api/state")[2]
        assert state["pose"] == [1.0, 2.0, 0.0]
        assert state["memory"] == "running"
        major, minor, direction = state["ellipse"]
        np.testing.assert_allclose([major, minor], 2.146 * np.array([0.2, 0.1]), rtol=1e-3)
        assert abs(np.sin(direction)) < 1e-6
    finally:
        robot.close()


def test_on_other_addresses_a_token_is_asked_for_and_not_logged(web: Any, tmp_path: Path) -> None:
    node = web("address:=0.0.0.0")
    port = address(node).rpartition(":")[2]
    url = f"http://127.0.0.1:{port}"
    path = tmp_path / "data/web_token"
    token = path.read_text().strip()
    wait_until(lambda: f"its token is in {path}" in node.log, what="the node to say where its token is")
    assert token not in node.log
    assert ask(f"{url}/api/state")[0] == 401
    assert ask(f"{url}/api/state", headers={"Authorization": f"Bearer {token}"})[0] == 200
    assert node.stop(signal.SIGTERM) == 0


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        (("address:=192.0.2.1",), "nothing can listen on 192.0.2.1"),
        (("tls_certificate:=/none.pem",), "of no use"),
        (("tls_key:=/none.pem",), "tls_key is set without tls_certificate"),
        (("colour:=red",), "'colour' is not known"),
    ],
)
def test_what_it_cannot_do_is_said_at_start(web: Any, parameters: tuple[str, ...], said: str) -> None:
    node = web(*parameters)
    assert node.wait(DISCOVERY) == 2
    assert said in node.log
    assert "Traceback" not in node.log
