"""The demo with its nodes: the whole chain once, and nothing left behind however it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import cv2
import pytest
from ros_support import wait_until

from kinaema_ros import cli
from kinaema_ros.demo import run as demo
from kinaema_ros.nodes.client import processes
from kinaema_ros.nodes.client.processes import NodeProcesses, own_domain

ROOT = Path(__file__).resolve().parents[2]
START = 180.0  # seconds for nodes to start on a busy machine


def children(pid):
    """Processes that a process has started."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found


@pytest.fixture
def own_children():
    """Processes that this one has started since the test began; multiprocessing's tracker may be older."""
    before = set(children(os.getpid()))
    return lambda: sorted(set(children(os.getpid())) - before)


def gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_the_whole_chain_from_tour_to_photo_to_place(tmp_path, monkeypatch, capsys, own_children):
    """Whether the place is reached is up to the network; that the demo tells the truth about it is not."""
    monkeypatch.setattr(demo, "EXPLORE_SECONDS", 25.0)
    out, result = tmp_path / "out", tmp_path / "demo.json"
    before = dict(os.environ)
    status = cli.main(["demo", "--goals", "1", "--out", str(out), "--json", str(result)])
    assert dict(os.environ) == before
    assert not own_children()
    record = json.loads(result.read_text())
    assert record["world"] == 7
    assert set(record) == {"world", "goals", "reached", "summary"}
    (goal,) = record["goals"]
    assert goal["reached"] == (record["reached"] == 1) == (status == 0)
    assert goal["seconds"] > 0.0
    assert len(goal["true"]) == 3
    if goal["reached"]:
        assert goal["stopped_m"] <= 1.0
        assert goal["error_m"] >= 0.0
    printed = capsys.readouterr().out
    assert "1 photos" not in printed
    assert printed.index("building it has never seen") < printed.index("predicted from afar")
    for name in ("demo.png", "demo.mp4"):
        assert str(out / name) in printed.splitlines()[-1] + printed.splitlines()[-2]
    assert cv2.imread(str(out / "demo.png")).std() > 10
    assert cv2.imread(str(out / "photo_1.png")).shape == (240, 320, 3)
    assert cv2.VideoCapture(str(out / "demo.mp4")).read()[0]
    for name in ("simulator_node", "memory_node", "navigator_node"):
        assert "Traceback" not in (out / f"log/{name}.log").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_node_outlives_the_demo(tmp_path, number):
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "kinaema_ros.cli", "demo", "--out", str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        wait_until(lambda: len(children(process.pid)) == 3, START, "three nodes")
        nodes = children(process.pid)
        process.send_signal(number)
        output, _ = process.communicate(timeout=60.0)
    finally:
        process.kill()
    assert process.returncode == (-signal.SIGKILL if number == signal.SIGKILL else cli.INTERRUPTED)
    assert "Traceback" not in output
    wait_until(lambda: all(map(gone, nodes)), 30.0, "the nodes to end")


def test_a_node_that_is_forked_while_the_demo_dies_does_not_start():
    """The kernel tells of a parent's death only those that have asked before."""
    process = subprocess.Popen([sys.executable, "-c", ""], preexec_fn=partial(processes._end_with, -1))
    assert process.wait(10.0) == 1


def test_a_node_that_cannot_start_ends_the_demo_with_its_reason(tmp_path, capsys, own_children):
    assert cli.main(["demo", "--world", str(2**32), "--out", str(tmp_path)]) == cli.FAILED
    error = capsys.readouterr().err
    assert "simulator_node ended with status 2" in error
    assert "'world'" in error
    assert len(error.splitlines()) == 1
    assert not own_children()


def test_nodes_end_in_whatever_way_their_block_is_left(tmp_path, own_children):
    nodes = []

    def leave_by_an_error():
        with NodeProcesses(tmp_path, {"navigator_node": []}):
            nodes.extend(own_children())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        leave_by_an_error()
    (node,) = nodes
    assert gone(node)


def test_an_interrupt_while_a_node_is_started_ends_it_too(tmp_path, own_children, monkeypatch):
    start, nodes = subprocess.Popen, []

    def interrupted(*arguments, **options):
        process = start(*arguments, **options)
        nodes.append(process.pid)
        signal.raise_signal(signal.SIGINT)  # before its owner knows it
        return process

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    with pytest.raises(KeyboardInterrupt), NodeProcesses(tmp_path, {"navigator_node": [], "memory_node": []}):
        pytest.fail("started")
    (node,) = nodes
    assert gone(node)
    assert not own_children()


def test_a_domain_that_is_in_use_is_left_alone(monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", "5")
    monkeypatch.setattr("random.sample", lambda values, count: [61, 62, *values][:count])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as somebody:
        somebody.bind(("", 7410 + 250 * 61))
        with own_domain() as domain:
            assert domain == 62
            assert os.environ["ROS_DOMAIN_ID"] == "62"
            assert os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
    assert os.environ["ROS_DOMAIN_ID"] == "5"
