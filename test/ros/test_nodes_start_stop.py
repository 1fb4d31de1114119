"""How the nodes start, refuse to start, and end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rclpy
import yaml
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from nav2_msgs.action import NavigateToPose
from rclpy.exceptions import InvalidHandle
from rclpy.executors import MultiThreadedExecutor, SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.parameter_client import AsyncParameterClient
from rclpy.signals import SignalHandlerOptions
from rclpy.waitable import Waitable
from ros_support import DISCOVERY, OTHER_DOMAIN, NodeProcess, Robot, frame, image_msg, wait_until

from kinaema_ros.nodes.memory.parameters import MemoryParameters
from kinaema_ros.nodes.navigator.parameters import NavigatorParameters
from kinaema_ros.nodes.support.parameters import declarations
from kinaema_ros.nodes.support.spinning import Spinner, SpinningNode, action_client
from kinaema_ros.paths import default_checkpoint, shipped

REFUSED = [
    ("memory_node", "hfov_deg:=170.0", ("hfov_deg", "170.0", "[20.0, 150.0]")),
    ("memory_node", "query_hfov_deg:=5.0", ("query_hfov_deg", "5.0", "0 or at least 20.0")),
    ("memory_node", "image_is_rectified:=maybe", ("image_is_rectified", "maybe", "auto, always, never")),
    ("memory_node", "threads:=0", ("threads", "[1, 64]")),
    ("memory_node", "odometry.on_jump:=panic", ("odometry.on_jump", "panic", "hold", "reanchor")),
    ("memory_node", "keyframes.max_rate_hz:=often", ("keyframes.max_rate_hz", "float")),
    ("memory_node", "keyframes.min_distanze:=0.1", ("keyframes.min_distanze", "keyframes.min_distance")),
    ("navigator_node", "drive.requery_period:=0.0", ("drive.requery_period", "[0.2, 60.0]")),
    ("navigator_node", "drive.min_confidence:=1.2", ("drive.min_confidence", "[0.0, 1.0]")),
    ("navigator_node", "min_seen:=0.3", ("'min_seen'", "drive.min_seen")),
    ("simulator_node", "real_time_factor:=4.0", ("real_time_factor", "publish_clock")),
    ("simulator_node", "camera_z:=0.4", ("'camera_z'", "camera.z")),
]


def test_a_parameter_out_of_range_is_refused_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", OTHER_DOMAIN)
    nodes = [NodeProcess(module, argument) for module, argument, _ in REFUSED]
    for node, (_, _, said) in zip(nodes, REFUSED, strict=True):
        assert node.wait(60.0) == 2, node.log
        assert [word for word in said if word not in node.log] == [], node.log
        assert "Traceback" not in node.log


def flat(values: dict, prefix: str = "") -> dict:
    """Nested maps as rcl reads them: the names of their levels joined by dots."""
    return {
        name: value
        for key, below in values.items()
        for name, value in (
            flat(below, f"{prefix}{key}.") if isinstance(below, dict) else {prefix + key: below}
        ).items()
    }


def test_the_shipped_configuration_names_every_parameter_and_its_default() -> None:
    shown = yaml.safe_load(shipped("config/kinaema.yaml").read_text())
    for name, config in (("kinaema_memory", MemoryParameters), ("kinaema_navigator", NavigatorParameters)):
        values = flat(shown[f"/**/{name}"]["ros__parameters"])
        defaults = {declaration.name: declaration.default for declaration in declarations(config)}
        assert set(values) == set(defaults)
        for name, default in defaults.items():
            exact = not isinstance(default, float)
            assert values[name] == (default if exact else pytest.approx(default, rel=1e-3))


def test_the_shipped_configuration_is_accepted() -> None:
    arguments = ["--params-file", str(shipped("config/kinaema.yaml")), "-p", "autostart:=false"]
    node = NodeProcess("memory_node", ros_arguments=arguments)
    robot = Robot()
    try:
        state = robot.node.create_client(GetState, "kinaema_memory/get_state")
        assert robot.call(state, GetState.Request()).current_state.id == State.PRIMARY_STATE_UNCONFIGURED
    finally:
        robot.close()
        assert node.stop() == 0, node.log


def test_a_missing_package_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "safetensors.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'safetensors'\", name='safetensors')"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    node = NodeProcess("memory_node")
    try:
        wait_until(lambda: "pip install safetensors" in node.log, DISCOVERY, "the node to complain")
    finally:
        assert node.stop() == 0
    assert "Traceback" not in node.log


def test_a_missing_checkpoint_leaves_a_node_that_can_be_put_right(tmp_path: Path) -> None:
    node = NodeProcess("memory_node", f"checkpoint:={tmp_path}/none.safetensors")
    robot = Robot()
    try:
        wait_until(lambda: "]: checkpoint: " in node.log, DISCOVERY, "the node to complain")
        assert f"{tmp_path}/none.safetensors" in node.log
        status = robot.status(lambda s: "checkpoint" in s.last_error)
        assert status.num_updates == 0
        assert not robot.where(1).success
        parameters = AsyncParameterClient(robot.node, "kinaema_memory")
        good = Parameter("checkpoint", value=str(default_checkpoint()))
        assert robot.result(parameters.set_parameters([good])).results[0].successful
        change = robot.node.create_client(ChangeState, "kinaema_memory/change_state")
        for step in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
            assert robot.call(change, ChangeState.Request(transition=Transition(id=step)), DISCOVERY).success
        assert robot.remember(1).num_updates == 1
    finally:
        robot.close()
        assert node.stop(signal.SIGTERM) == 0, node.log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_an_update_ends_the_node_cleanly(number: int) -> None:
    node = NodeProcess(
        "memory_node", "keyframes.min_distance:=0.0", "keyframes.min_angle:=0.0", "keyframes.max_rate_hz:=0.0"
    )
    robot = Robot()
    try:
        robot.remember(1)
        for seed in range(5):  # more than it can be done with when the signal comes
            robot.image.publish(image_msg(frame(seed), robot.drive()))
        assert node.stop(number) == 0, node.log
        assert "Traceback" not in node.log
    finally:
        robot.close()


BROKEN = """
import sys
from rclpy.node import Node
from kinaema_ros.nodes.support.runtime import run

class Broken(Node):
    def __init__(self):
        super().__init__("broken")
        self.create_timer(0.01, self.fail)

    def fail(self):
        raise RuntimeError("a bug")

    def close(self):
        print("closed")

sys.exit(run(Broken))
"""


def test_a_node_whose_callback_raises_ends_instead_of_hearing_nothing() -> None:
    node = subprocess.run([sys.executable, "-c", BROKEN], capture_output=True, text=True, timeout=DISCOVERY)
    assert node.returncode == 1
    assert "RuntimeError: a bug" in node.stderr
    assert "closed" in node.stdout


DEAF = """
import signal, sys, threading
from rclpy.node import Node
from kinaema_ros.nodes.support.runtime import run

class Deaf(Node):
    def __init__(self):
        super().__init__("deaf")
        self.timer = self.create_timer(0.01, self.interrupt)

    def interrupt(self):
        self.timer.cancel()
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    def close(self):
        print("closed")

sys.exit(run(Deaf))
"""


def test_a_signal_ends_a_node_whichever_of_its_threads_receives_it() -> None:
    node = subprocess.run([sys.executable, "-c", DEAF], capture_output=True, text=True, timeout=DISCOVERY)
    assert (node.returncode, node.stdout) == (0, "closed\n"), node.stderr


class AboutToWait(SingleThreadedExecutor):
    """An executor that is shut down just before it waits, after it made sure that it is not."""

    def __init__(self, context: rclpy.Context):
        super().__init__(context=context)
        self.waits, self.is_shut_down = threading.Event(), threading.Event()

    def get_nodes(self) -> list:
        nodes = super().get_nodes()
        if threading.current_thread() is not threading.main_thread():
            self.waits.set()
            self.is_shut_down.wait()
        return nodes

    def shutdown(self, timeout_sec: float | None = None) -> bool:
        done = super().shutdown(timeout_sec)
        self.is_shut_down.set()
        return done


def test_a_spinner_ends_even_as_its_executor_is_about_to_wait() -> None:
    context = rclpy.Context()
    rclpy.init(args=[], context=context, signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("test_spinner", context=context)
    executor = AboutToWait(context)
    spinner = Spinner(executor, node)
    assert executor.waits.wait(10.0)
    ending = threading.Thread(target=spinner.end, daemon=True)
    ending.start()
    ending.join(10.0)
    assert not ending.is_alive()
    assert not spinner.failed
    node.destroy_node()
    context.try_shutdown()


@pytest.mark.parametrize(("failures", "survives"), [(2, True), (1000, False)])
def test_what_is_destroyed_under_the_executor_s_eyes_does_not_end_the_node(
    failures: int, survives: bool
) -> None:
    class Meets(MultiThreadedExecutor):
        met = 0

        def _wait_for_ready_callbacks(self, *arguments: Any, **named: Any) -> Iterator[Any]:
            if self.met < failures:
                self.met += 1
                raise InvalidHandle("cannot use Destroyable because destruction was requested")
            yield from super()._wait_for_ready_callbacks(*arguments, **named)

    context = rclpy.Context()
    rclpy.init(args=[], context=context, signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("test_spinner", context=context)
    called, failed = threading.Event(), threading.Event()
    node.create_timer(0.01, called.set)
    spinner = Spinner(Meets(2, context=context), node, failed.set)
    assert (called if survives else failed).wait(10.0)
    assert spinner.failed is not survives
    spinner.end()
    node.destroy_node()
    context.try_shutdown()


def test_an_action_client_is_asked_nothing_before_it_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """The executor comes by just after rclpy's constructor has shown it the client, before the rest of the constructor."""
    serving = SpinningNode("test_action_client")
    add_waitable = serving.node.add_waitable

    def shown(waitable: Waitable) -> None:
        add_waitable(waitable)
        for _ in range(2):  # a whole round begins after the client was shown
            round_done = threading.Event()
            serving.node.executor.create_task(round_done.set)
            round_done.wait(5.0)
        monkeypatch.undo()

    monkeypatch.setattr(serving.node, "add_waitable", shown)
    client = action_client(serving.node, NavigateToPose, "nobody_serves_this")
    answered = threading.Event()
    serving.node.create_timer(0.01, answered.set)
    assert answered.wait(5.0), "the executor is dead"
    assert not client.server_is_ready()
    serving.close()
