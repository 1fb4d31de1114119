"""memory_node beside other threads and with faults of its own, part by part: no node runs here."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from memory_node_support import a_memory, inputs_of, log_of, ros_node
from nav_msgs.msg import Odometry
from ros_support import frame, image_msg

from kinaema_interfaces.srv import LoadMemory, QueryPose, SaveMemory
from kinaema_ros.camera import Mount
from kinaema_ros.errors import BadInput, InputError, KinaemaError
from kinaema_ros.estimate import Estimate
from kinaema_ros.keyframes import KeyframeConfig
from kinaema_ros.nodes.memory.inputs import MemoryInputs
from kinaema_ros.nodes.memory.keeping import MemoryKeeper
from kinaema_ros.nodes.memory.locating import locate
from kinaema_ros.nodes.memory.monitor import MemoryMonitor
from kinaema_ros.nodes.memory.node import MemoryNode
from kinaema_ros.nodes.memory.parameters import MemoryParameters
from kinaema_ros.nodes.memory.robot_camera import RobotCamera
from kinaema_ros.nodes.memory.turns import Turns
from kinaema_ros.nodes.support import messages


class EmptiedAfterOneRead:
    """An attribute that another thread empties as soon as it was read once."""

    def __init__(self, value: Any, empty: Any = None):
        self._left, self._empty = [value], empty

    def __get__(self, instance: object, owner: type) -> Any:
        return self._left.pop() if self._left else self._empty

    def __set__(self, instance: object, value: Any) -> None:
        """The tests' own value counts."""


def emptied(owner: type, **attributes: Any) -> type:
    """A subclass in which these attributes can be read once."""
    return type(f"Emptied{owner.__name__}", (owner,), attributes)


QUERY = QueryPose.Request(image=image_msg(frame(1)))


# -- another thread ------------------------------------------------------------------------------------------


def test_a_query_is_answered_though_the_node_is_cleaned_up_meanwhile() -> None:
    inputs = inputs_of(None, emptied(MemoryInputs, memory=EmptiedAfterOneRead(a_memory())))
    assert locate(inputs, QUERY).pose == (1.0, 1.0, 0.0)


@pytest.mark.parametrize(
    ("asked", "pose", "given"), [("", (1.0, 1.0, 0.0), "base_link"), ("odom", (2.0, 1.0, 0.0), "odom")]
)
def test_an_answer_names_its_frame_though_the_memory_is_reset_meanwhile(asked, pose, given) -> None:
    kind = emptied(MemoryInputs, odom_frame=EmptiedAfterOneRead("odom", ""))
    estimate = locate(inputs_of(a_memory(), kind), QueryPose.Request(image=QUERY.image, frame_id=asked))
    assert (estimate.pose, estimate.frame_id) == (pose, given)


def test_a_query_after_a_reset_of_the_odometry_s_frame_is_refused() -> None:
    inputs = inputs_of(a_memory())
    inputs.odom_frame = ""
    with pytest.raises(BadInput) as refused:
        locate(inputs, QUERY)
    assert refused.value.reason == "query_without_odometry"


def test_a_memory_is_saved_though_the_node_is_cleaned_up_meanwhile(tmp_path: Path) -> None:
    memory = a_memory()
    kind = emptied(MemoryInputs, memory=EmptiedAfterOneRead(memory))
    inputs = inputs_of(None, kind, MemoryParameters(memory_dir=str(tmp_path)))
    node = Mock(_inputs=inputs, _monitor=inputs._monitor)
    response = MemoryNode._on_save(node, SaveMemory.Request(name="here"), SaveMemory.Response())
    assert response.success, response.message
    memory.save.assert_called_once()


def test_the_mount_that_tf_gave_is_used_though_parameters_change_meanwhile() -> None:
    kind = emptied(RobotCamera, _tf_mount=EmptiedAfterOneRead(Mount(x=0.2)))
    camera = kind(ros_node(), MemoryParameters(camera_mount="tf"), Mock(), Mock())
    assert camera.mount("base_link") == Mount(x=0.2)


def test_the_status_is_published_though_the_node_is_cleaned_up_meanwhile() -> None:
    monitor = emptied(MemoryMonitor, _memory=EmptiedAfterOneRead(a_memory()))(ros_node())
    monitor.publish_status()
    (status,) = monitor._status.publish.call_args.args
    assert (status.num_updates, status.state_bytes) == (1, 7)


def test_odometry_is_taken_though_the_memory_is_reset_meanwhile() -> None:
    inputs = inputs_of(None, emptied(MemoryInputs, odom_frame=EmptiedAfterOneRead("odom", "")))
    message = Mock(child_frame_id="base_link")
    message.header.frame_id = "odom"
    inputs._check_frames(message)  # would name the frame ""


# -- what a user can cause, and what not ---------------------------------------------------------------------


def remember(inputs: MemoryInputs, error: Exception | None) -> None:
    inputs.memory.update.side_effect = error
    inputs._remember(image_msg(frame(1), 99.5))


def test_a_fault_of_the_program_is_counted_and_its_traceback_logged_once_a_kind() -> None:
    inputs = inputs_of(a_memory())
    inputs.parameters = MemoryParameters(keyframes=KeyframeConfig(0.0, 0.0, 0.0))
    inputs.apply(inputs.parameters)
    for error in (TypeError("one"), TypeError("two"), KeyError("three")):
        remember(inputs, error)
    first, second = log_of(inputs)[-2:]
    assert [line.startswith("update_failed: ") and "Traceback" in line for line in (first, second)] == [
        True
    ] * 2
    assert "TypeError: one" in first
    assert "inputs.py" in first
    assert "KeyError: 'three'" in second
    assert not any("TypeError: two" in line for line in log_of(inputs))
    (status,) = inputs._monitor._status.publish.call_args.args
    assert status.frames_dropped == 3
    assert dict(zip(status.reasons, status.reason_counts, strict=True))["update_failed"] == 3
    remember(inputs, None)
    assert inputs._monitor.tally.used == 1


def test_what_a_user_can_cause_is_told_without_a_traceback() -> None:
    inputs = inputs_of(a_memory())
    remember(inputs, InputError("image of 4 x 4 pixels: it must be at least 32 x 32"))
    assert log_of(inputs)[-1] == "image_refused: image of 4 x 4 pixels: it must be at least 32 x 32"
    assert inputs._monitor.tally.dropped == 1


def ask(inputs: MemoryInputs, what_happens: object) -> QueryPose.Response:
    inputs.memory.locate.side_effect = what_happens
    node = Mock(_inputs=inputs, _monitor=inputs._monitor, _turns=Turns(1))
    node._locate = lambda request: MemoryNode._locate(node, request)
    return MemoryNode._on_query(node, QUERY, QueryPose.Response())


def test_the_network_is_used_in_the_queries_own_thread_whichever_thread_of_the_executor_asks() -> None:
    inputs, threads = inputs_of(a_memory()), []
    estimate = inputs.memory.locate.return_value

    def locate_there(*_: object, **__: object) -> Estimate:
        threads.append(threading.current_thread().name)
        return estimate

    assert ask(inputs, locate_there).success
    assert [name.startswith("memory query") for name in threads] == [True]


def test_a_query_that_meets_a_fault_is_refused_and_the_traceback_logged() -> None:
    inputs = inputs_of(a_memory())
    response = ask(inputs, ValueError("shapes do not match"))
    assert not response.success
    assert response.message.startswith("query_failed: the memory could not answer: ValueError: shapes do not")
    assert "Traceback" in log_of(inputs)[-1]
    assert "locating.py" in log_of(inputs)[-1]
    assert (inputs._monitor.tally.queries, inputs._monitor.tally.queries_failed) == (1, 1)


def test_a_photo_that_the_memory_refuses_is_told_without_a_traceback() -> None:
    inputs = inputs_of(a_memory())
    response = ask(inputs, InputError("too small"))
    assert response.message == "query_failed: the memory could not answer: too small"
    assert log_of(inputs)[-1] == response.message


def test_a_name_from_outside_is_short_and_printable_in_log_and_answer() -> None:
    inputs = inputs_of(a_memory())
    response = ask(inputs, InputError("no frame '\x1b[2J\n" + 100_000 * "x"))
    for line in (response.message, log_of(inputs)[-1]):
        assert "no frame '\\x1b[2J\\nxxx" in line
        assert line.endswith("xxx...")
        assert len(line) < 1100


def test_odometry_whose_frame_has_no_name_but_a_book_is_ignored() -> None:
    message = Odometry(child_frame_id="x" * 256)
    message.pose.pose.orientation.w = 1.0
    with pytest.raises(BadInput, match="name of 256 characters, more than 255") as refused:
        messages.odometry_to_pose(message)
    assert refused.value.reason == "odometry_frame"
    message.child_frame_id = "x" * 255
    assert messages.odometry_to_pose(message).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("name", ["save", "load"])
def test_a_request_that_meets_a_fault_is_refused_and_the_traceback_logged(name: str, tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").touch()
    inputs = inputs_of(a_memory(), parameters=MemoryParameters(memory_dir=str(tmp_path)))
    getattr(inputs.memory, name).side_effect = RuntimeError("a tensor went missing")
    node = Mock(_inputs=inputs, _monitor=inputs._monitor, _keeper=MemoryKeeper(inputs, inputs._monitor))
    service = {"save": SaveMemory, "load": LoadMemory}[name]
    response = getattr(MemoryNode, f"_on_{name}")(node, service.Request(name="x"), service.Response())
    assert not response.success
    assert "RuntimeError: a tensor went missing" in response.message
    assert f"{name}_failed: " in log_of(inputs)[-1]
    assert "Traceback" in log_of(inputs)[-1]


def test_a_memory_can_be_loaded_before_the_first_activation_but_not_before_the_configuration() -> None:
    node = ros_node()
    inputs = MemoryInputs(node, MemoryParameters(), MemoryMonitor(node))
    with pytest.raises(KinaemaError, match="configure it first"):
        inputs.replace("x", False)
    memory = a_memory()
    inputs.use(memory)
    inputs.replace("x", False)
    memory.load.assert_called_once_with("x", False, "")
