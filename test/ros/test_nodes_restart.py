"""What a robot remembers outlives its node: saved now and then and at the end, and restored at the next start."""

from __future__ import annotations

import signal
import time
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
from memory_node_support import a_memory, inputs_of, log_of
from ros_support import DISCOVERY, NodeProcess, Robot, counts, frame, image_msg, wait_until

from kinaema_interfaces.msg import MemoryStatus
from kinaema_interfaces.srv import LoadMemory
from kinaema_ros import SpatialMemory
from kinaema_ros.errors import InputError, KinaemaError
from kinaema_ros.estimate import Place
from kinaema_ros.nodes.memory.keeping import MemoryKeeper
from kinaema_ros.nodes.memory.parameters import MemoryParameters
from kinaema_ros.paths import default_checkpoint


def keeper_of(folder: Path, period: float = 100.0, name: str = "home") -> tuple[MemoryKeeper, Mock]:
    memory = a_memory()
    memory.save = lambda path, odom: path.write_text(f"{memory.num_updates} updates")
    parameters = MemoryParameters(memory_dir=str(folder), load_at_start=name, autosave_period=period)
    inputs = inputs_of(memory, parameters=parameters)
    return MemoryKeeper(inputs, inputs._monitor), memory


def test_what_is_new_is_saved_to_the_memory_that_is_loaded_at_start(tmp_path: Path) -> None:
    keeper, memory = keeper_of(tmp_path)
    keeper.restore(memory)
    keeper.save()
    assert (tmp_path / "home.safetensors").read_text() == "1 updates"
    (tmp_path / "home.safetensors").write_text("another's")
    keeper.save()  # nothing is new
    assert (tmp_path / "home.safetensors").read_text() == "another's"
    memory.num_updates = 7
    keeper.save()
    assert (tmp_path / "home.safetensors").read_text() == "7 updates"
    (tmp_path / "home.safetensors").write_text("another's")
    memory.places = {
        "desk": Place("desk", True, (1.0, 0.0, 0.0))
    }  # a name that was given while the robot stood
    keeper.save()
    assert (tmp_path / "home.safetensors").read_text() == "7 updates"


@pytest.mark.parametrize(("updates", "period"), [(0, 9.0), (1, 0.0)])
def test_an_empty_memory_overwrites_nothing(tmp_path: Path, updates: int, period: float) -> None:
    keeper, memory = keeper_of(tmp_path, period)
    memory.num_updates = updates
    keeper.save()
    assert not list(tmp_path.iterdir())


def test_a_robot_that_looks_for_its_place_saves_what_it_had_learned_and_no_more(tmp_path: Path) -> None:
    keeper, memory = keeper_of(tmp_path)
    (tmp_path / "home.safetensors").write_text("1 updates")
    keeper.restore(memory)
    memory.localized = False
    (tmp_path / "home.safetensors").write_text("another's")
    keeper.save()
    assert (tmp_path / "home.safetensors").read_text() == "another's"
    memory.num_updates = 7  # learned between two saves, before the odometry jumped
    keeper.save()
    assert (tmp_path / "home.safetensors").read_text() == "7 updates"


def test_a_name_that_is_set_later_is_that_of_the_next_configure(tmp_path: Path) -> None:
    keeper, memory = keeper_of(tmp_path)
    keeper.restore(memory)
    (tmp_path / "floor2.safetensors").write_text("floor 2")
    keeper._inputs.parameters = replace(keeper._inputs.parameters, load_at_start="floor2")
    keeper.save()
    assert (tmp_path / "home.safetensors").read_text() == "1 updates"
    assert (tmp_path / "floor2.safetensors").read_text() == "floor 2"


def test_a_memory_that_is_loaded_later_is_saved_under_its_own_name(tmp_path: Path) -> None:
    keeper, memory = keeper_of(tmp_path)
    keeper.restore(memory)
    keeper.save()
    (tmp_path / "floor2.safetensors").write_text("floor 2")
    assert keeper.load("floor2", True) == tmp_path / "floor2.safetensors"
    keeper.save()  # nothing is new
    assert (tmp_path / "floor2.safetensors").read_text() == "floor 2"
    memory.num_updates = 9
    keeper.save()
    assert (tmp_path / "floor2.safetensors").read_text() == "9 updates"
    assert (tmp_path / "home.safetensors").read_text() == "1 updates"
    with pytest.raises(KinaemaError, match="there is no"):
        keeper.load("floor3", True)
    memory.num_updates = 10
    keeper.save()
    assert (tmp_path / "floor2.safetensors").read_text() == "10 updates"


def test_what_a_run_before_has_saved_without_a_name_is_set_aside(tmp_path: Path) -> None:
    keeper, memory = keeper_of(tmp_path, name="")
    (tmp_path / "autosave.safetensors").write_text("yesterday")
    keeper.restore(memory)
    for updates in (1, 2):
        memory.num_updates = updates
        keeper.save()
    assert (tmp_path / "autosave.safetensors").read_text() == "2 updates"
    assert (tmp_path / "autosave-previous.safetensors").read_text() == "yesterday"


def test_a_folder_that_nobody_may_enter_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper, memory = keeper_of(tmp_path)
    monkeypatch.setattr(Path, "exists", Mock(side_effect=PermissionError(13, "Permission denied")))
    with pytest.raises(KinaemaError, match=r"cannot be read \(Permission denied\); give access there"):
        keeper.restore(memory)


def test_a_period_passes_between_two_saves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper, _ = keeper_of(tmp_path, name="")
    keeper.look()
    assert not list(tmp_path.iterdir())
    keeper._saved_at -= 101.0
    keeper.look()
    assert [path.name for path in tmp_path.iterdir()] == ["autosave.safetensors"]


def test_a_save_that_fails_is_told_and_tried_again(tmp_path: Path) -> None:
    keeper, memory = keeper_of(tmp_path)
    memory.save = Mock(side_effect=OSError(28, "No space left on device"))
    keeper.save()
    (line,) = log_of(keeper._inputs)
    assert line.startswith("autosave_failed: ")
    assert "No space left on device" in line
    keeper.save()
    assert memory.save.call_count == 2


def test_the_first_start_begins_with_an_empty_memory(tmp_path: Path) -> None:
    keeper, memory = keeper_of(tmp_path)
    keeper.restore(memory)
    memory.load.assert_not_called()
    assert log_of(keeper._inputs)[-1].startswith("nothing_to_load: there is no memory 'home' yet")


def test_a_memory_that_cannot_be_loaded_is_not_overwritten(tmp_path: Path) -> None:
    keeper, memory = keeper_of(tmp_path)
    (tmp_path / "home.safetensors").touch()
    memory.load.side_effect = KinaemaError("saved with another network")
    with pytest.raises(KinaemaError, match="another network"):
        keeper.restore(memory)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_node_loses_at_most_a_period_and_looks_for_its_place_at_the_next_start(
    tmp_path: Path, number: int
) -> None:
    """SIGTERM: nothing is lost, though the period is long."""
    period = 0.1 if number == signal.SIGKILL else 3600.0
    arguments = [f"memory_dir:={tmp_path}", "load_at_start:=home", f"autosave_period:={period}"]
    arguments += ["keyframes.min_distance:=0.0", "keyframes.min_angle:=0.0", "keyframes.max_rate_hz:=0.0"]
    node, robot, file = NodeProcess("memory_node", *arguments), Robot(), tmp_path / "home.safetensors"
    try:
        robot.connected(robot.image)
        while not robot.statuses or robot.statuses[-1].num_updates < 3:  # the first image may come too early
            robot.show(image_msg(frame(0), robot.drive(metres=0.9)))
        if number == signal.SIGKILL:
            wait_until(lambda: file.exists() and updates_in(file) == 3, 20.0, "the save")
        node.stop(number)
        assert updates_in(file) == 3
        robot.close()
        node, robot = NodeProcess("memory_node", *arguments), Robot()
        wait_until(lambda: seen_again(robot), DISCOVERY, "an image to be looked up")
        status = robot.status(lambda s: s.state == MemoryStatus.LOCALIZING)
        assert "agreeing views; turn or drive on" in status.waiting_for
        assert status.num_updates == 3
    finally:
        robot.close()
        node.stop()


def test_the_memorys_size_is_a_parameter_and_a_saved_one_gets_room_or_is_refused(tmp_path: Path) -> None:
    for number in (16, 64):
        memory = SpatialMemory.from_checkpoint(default_checkpoint(), num_embeddings=number)
        memory.update(frame(1), (0.0, 0.0, 0.0))
        memory.save(tmp_path / f"of{number}.safetensors")
    with pytest.raises(InputError, match="num_embeddings is 7, must be 0 or at least 16"):
        MemoryParameters(num_embeddings=7)
    node, robot = NodeProcess("memory_node", f"memory_dir:={tmp_path}", "num_embeddings:=32"), Robot()
    try:
        robot.status(lambda s: s.state == MemoryStatus.WAITING, DISCOVERY)
        smaller, larger = (
            robot.call(robot.load_client, LoadMemory.Request(name=name)) for name in ("of16", "of64")
        )
        assert smaller.success, smaller.message
        assert not larger.success
        assert "64 embeddings, for which this one of 32 has no room" in larger.message
        assert robot.status(lambda s: s.num_updates == 1).state_bytes < memory.state_bytes
    finally:
        robot.close()
        node.stop()


def seen_again(robot: Robot) -> bool:
    """Shows an image, again and again: Fast DDS may lose what is sent just after another process was killed."""
    robot.image.publish(image_msg(frame(3), robot.drive()))
    time.sleep(0.5)
    return any(counts(status).get("skipped_localizing") for status in robot.statuses)


def updates_in(file: Path) -> int:
    memory = SpatialMemory.from_checkpoint(default_checkpoint())
    memory.load(file)
    return memory.num_updates
