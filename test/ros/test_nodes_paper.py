"""memory_node with the paper's own memory: the same services, and a clear word where it cannot do what is asked."""

from __future__ import annotations

from pathlib import Path

import pytest
from evaluation_support import short_episode, small_baseline
from memory_node_support import a_memory, inputs_of, log_of
from ros_support import NodeProcess, Robot, image_msg, odometry_msg

from kinaema_interfaces.srv import LoadMemory, QueryPose, SaveMemory
from kinaema_ros.baselines.checkpoint import save_baseline
from kinaema_ros.errors import InputError


def test_a_node_remembers_answers_and_keeps_the_papers_memory(tmp_path: Path) -> None:
    checkpoint = tmp_path / "baseline-paper.safetensors"
    save_baseline(checkpoint, small_baseline("paper"), {})
    always = ("keyframes.min_distance:=0.0", "keyframes.min_angle:=0.0", "keyframes.max_rate_hz:=0.0")
    node = NodeProcess("memory_node", *always, f"memory_dir:={tmp_path}", f"checkpoint:={checkpoint}")
    robot = Robot()
    robot.connected(robot.odom)
    robot.connected(robot.image)
    episode = short_episode()
    images = list(episode.frames())
    for pose, rgb in zip(episode.poses, images, strict=True):
        robot.now += 0.5
        for offset in (-0.05, 0.05):
            robot.odom.publish(odometry_msg(pose, robot.now + offset))
        robot.show(image_msg(rgb, robot.now))
    assert robot.statuses[-1].num_updates >= len(images) - 1
    answer = robot.ask(QueryPose.Request(image=image_msg(images[0]), frame_id="odom"))
    assert answer.success, answer.message
    assert not answer.alternatives
    assert robot.call(robot.save_client, SaveMemory.Request(name="drive")).success
    refused = robot.call(robot.load_client, LoadMemory.Request(name="drive", localize=True))
    assert not refused.success
    assert "cannot find out where the robot is" in refused.message
    assert robot.call(robot.load_client, LoadMemory.Request(name="drive")).success
    robot.close()
    assert node.stop() == 0, node.log


def test_odometry_that_begins_anew_empties_a_memory_that_cannot_find_itself() -> None:
    memory = a_memory()
    memory.localize.side_effect = InputError("this kind cannot")
    inputs = inputs_of(memory)
    inputs._settle("localize")
    memory.reset.assert_called_once_with()
    assert any("emptied: this kind cannot" in line for line in log_of(inputs))


@pytest.mark.parametrize("policy", ["reset", "localize"])
def test_a_memory_that_finds_itself_is_kept(policy: str) -> None:
    memory = a_memory()
    inputs_of(memory)._settle(policy)
    assert memory.reset.called == (policy == "reset")
