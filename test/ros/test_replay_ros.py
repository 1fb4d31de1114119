"""A recorded drive through a real memory_node: the same answers as without ROS."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import numpy as np
import pytest
from bag_support import write_drive, write_queries

pytest.importorskip("rclpy")

from ros_support import OTHER_DOMAIN, NodeProcess

FRAMES = 10


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drive")
    write_drive(folder / "bag", frames=FRAMES, lens=(-0.25, 0.0625, 0.0, 0.0, 0.0))
    table = write_queries(folder, FRAMES, wanted=[0, 2, 5, 9], unseen=[100])
    head, first, *rows = table.read_text().splitlines()  # another camera took the first photo
    table.write_text("\n".join([head + ",hfov_deg", first + ",80", *(row + "," for row in rows)]) + "\n")
    return folder


@pytest.fixture(autouse=True)
def domain(monkeypatch):
    """Nodes and commands of these tests hear each other alone."""
    monkeypatch.setenv("ROS_DOMAIN_ID", OTHER_DOMAIN)


def replay(folder, result, *options):
    command = [sys.executable, "-m", "kinaema_ros.cli", "replay", folder / "bag"]
    command += ["--queries", folder / "queries.csv", "--json", result, *options]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120, check=False)


def assert_same_answers(first, second):
    first, second = (json.loads(path.read_text()) for path in (first, second))
    assert first["summary"]["dropped"] == second["summary"]["dropped"] == {}
    for key in ("frames_used", "frames_skipped"):
        assert first["summary"][key] == second["summary"][key]
    for a, b in zip(first["queries"], second["queries"], strict=True):
        assert math.hypot(a["x"] - b["x"], a["y"] - b["y"]) < 0.01
        assert abs(math.degrees(math.remainder(a["yaw"] - b["yaw"], 2 * math.pi))) < 0.1
        for key in ("seen", "confidence"):
            assert a[key] == pytest.approx(b[key], abs=1e-3)
        for one, other in zip(a["alternatives"], b["alternatives"], strict=True):
            assert math.hypot(one["x"] - other["x"], one["y"] - other["y"]) < 0.01
            assert one["confidence"] == pytest.approx(other["confidence"], abs=1e-3)
        np.testing.assert_allclose(a["covariance"], b["covariance"], rtol=1e-3, atol=1e-4)


def test_the_node_gives_the_answers_of_the_library(recorded, tmp_path):
    # On a loaded machine odometry may be late by more than a robot would put up with.
    remap = ["-r", "image/compressed:=/front/image/compressed"]
    node = NodeProcess("memory_node", "odometry.max_wait:=10.0", ros_arguments=remap)
    try:
        for name, topic in (("drifting", "/odom"), ("true", "/ground_truth/pose")):  # emptied between the two
            here, there = tmp_path / f"{name}_here.json", tmp_path / f"{name}_ros.json"
            for path, options in ((here, ()), (there, ("--through-ros",))):
                done = replay(recorded, path, "--odom-topic", topic, *options)
                assert done.returncode == 0, f"{done.stderr}\n{node.log}"
            assert_same_answers(here, there)
            assert json.loads(there.read_text())["summary"]["frames_used"] > 3
    finally:
        assert node.stop() == 0, node.log


def test_without_a_node_the_user_is_told_within_seconds(recorded, tmp_path):
    done = replay(recorded, tmp_path / "result.json", "--through-ros", "--node", "/nobody")
    assert done.returncode == 1
    assert "there is no memory_node /nobody" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "result.json").exists()


def test_a_node_that_uses_no_image_ends_the_replay_with_its_reason(recorded, tmp_path):
    folder = tmp_path / "long"
    write_drive(folder / "bag", frames=25)
    write_queries(folder, 25, wanted=[0])
    node = NodeProcess("memory_node", "use_sim_time:=true")  # with no /clock every stamp is of the future
    try:
        done = replay(folder, tmp_path / "result.json", "--through-ros")
        assert done.returncode == 1
        assert "used none of 20 images: " in done.stderr
        assert "use_sim_time" in done.stderr
    finally:
        node.stop()
