"""`make setup`: what it refuses, what it says when a step fails, and what it leaves when it is interrupted."""

from __future__ import annotations

import errno
import importlib.util
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def setup_env(tmp_path, monkeypatch):
    """The script as a module, at work in an empty folder."""
    spec = importlib.util.spec_from_file_location("setup_env", ROOT / "tools/setup_env.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    venv = tmp_path / ".venv"
    site = venv / "lib" / module.PYTHON_NAME / "site-packages"
    site.mkdir(parents=True)
    for name, value in {
        "ROOT": tmp_path,
        "VENV": venv,
        "OVERLAY": venv / "ros",
        "LOG": venv / "setup.log",
        "PYTHON": venv / "bin/python",
        "SITE": site,
    }.items():
        monkeypatch.setattr(module, name, value)
    monkeypatch.delenv("ROS_DISTRO", raising=False)
    handler = signal.getsignal(signal.SIGTERM)  # main() sets its own
    yield module
    signal.signal(signal.SIGTERM, handler)


def run_with_tools(tmp_path: Path, **tools: str) -> subprocess.CompletedProcess:
    """Runs the script where only these tools are found (name: what it links to, or a script's text)."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, content in tools.items():
        path = folder / {"cxx": "c++"}.get(name, name)
        path.write_text(content)
        path.chmod(0o755)
    (tmp_path / "tools").mkdir()
    script = tmp_path / "tools/setup_env.py"
    script.write_text((ROOT / "tools/setup_env.py").read_text())
    environment = {k: v for k, v in os.environ.items() if k not in ("ROS_DISTRO", "CC", "CXX")}
    environment["PATH"] = str(folder)
    return subprocess.run(
        [sys.executable, script, "check"], env=environment, capture_output=True, text=True, timeout=60
    )


TOOL = "#!/bin/sh\necho cmake version 3.28.3\n"


@pytest.mark.parametrize(
    ("tools", "remedy"),
    [
        ({"cmake": TOOL, "cc": TOOL}, "apt install build-essential"),
        ({"cmake": TOOL, "cxx": TOOL}, "apt install build-essential"),
        ({"cc": TOOL, "cxx": TOOL}, "apt install cmake"),
        ({"cc": TOOL, "cxx": TOOL, "cmake": TOOL.replace("3.28.3", "3.16.3")}, "pip install cmake"),
    ],
)
def test_a_missing_tool_is_one_line_that_says_what_to_install(tmp_path, tools, remedy):
    result = run_with_tools(tmp_path, **tools)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert remedy in result.stderr


@pytest.mark.parametrize(("version", "ros", "fine"), [
    ((3, 9), "", False), ((3, 10), "", True), ((3, 13), "", True), ((3, 14), "", False), ((3, 14), "lyrical", True),
])  # fmt: skip
def test_a_python_without_wheels_is_refused(setup_env, monkeypatch, version, ros, fine):
    fake = SimpleNamespace(version_info=version, executable="/usr/bin/python3")
    monkeypatch.setattr(setup_env, "sys", fake)
    monkeypatch.setattr(setup_env.importlib.util, "find_spec", lambda name: True)
    monkeypatch.setenv("ROS_DISTRO", ros)
    if fine:
        assert setup_env.check() == ros
    else:
        with pytest.raises(SystemExit, match=r"needed is 3\.10 to 3\.13.*PYTHON="):
            setup_env.check()


def test_a_sourced_ros_of_another_python_is_refused(setup_env, monkeypatch):
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    monkeypatch.setattr(setup_env.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r"ROS jazzy is sourced.*PYTHON=/usr/bin/python3"):
        setup_env.check()


def test_with_a_sourced_ros_no_wheel_is_installed(setup_env, monkeypatch):
    commands: list[list[str]] = []
    monkeypatch.setattr(setup_env, "run", commands.append)
    setup_env.install("")
    setup_env.install("jazzy")
    everything, underlay = (
        Path(next(word for word in command if word.endswith(".txt"))).name for command in commands
    )
    assert "-r ros.txt" in (ROOT / "requirements" / everything).read_text().splitlines()
    assert "ros-rclpy==" in (ROOT / "requirements/ros.txt").read_text()
    text = (ROOT / "requirements" / underlay).read_text()
    assert "ros-" not in text
    assert "-r " not in text


def test_a_disk_too_small_is_refused_before_anything_is_written(setup_env, monkeypatch):
    setup_env.SITE.rmdir()
    monkeypatch.setattr(setup_env.shutil, "disk_usage", lambda path: SimpleNamespace(free=1.5e9))
    with pytest.raises(SystemExit, match=r"1\.5 GB free: make room"):
        setup_env.check()


def test_a_disk_that_fills_up_on_the_way_is_told_in_one_line(setup_env, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(setup_env, "install", full)
    with pytest.raises(SystemExit) as failure:
        setup_env.main("packages")
    assert re.fullmatch(r"setup: the disk of .* is full: make room there", str(failure.value))


@pytest.mark.parametrize(
    ("output", "told"),
    [
        (["copying", "OSError: [Errno 28] No space left on device"], "is full: make room"),
        (
            ["WARNING: Retrying: NewConnectionError(...)", "ERROR: No matching distribution"],
            "check the network",
        ),
        (
            ["ERROR: Cannot install a", "ERROR: ResolutionImpossible", "WARNING: new pip"],
            "ResolutionImpossible",
        ),
        (["a.c:3:1: error: unknown type", "make: *** Error 2"], "unknown type"),
        ([], "no output"),
    ],
)
def test_a_failed_command_is_told_in_one_line(setup_env, output, told):
    program = "import sys; print(*sys.argv[1:], sep='\\n'); sys.exit(1)"
    command = [sys.executable, "-c", program, *output]
    if not output:
        command[2] = "raise SystemExit(1)"
    with pytest.raises(SystemExit) as failure:
        setup_env.run(command)
    assert told in str(failure.value)
    assert "\n" not in str(failure.value)


def test_an_interrupt_ends_the_command_and_its_children(setup_env, tmp_path, monkeypatch):
    started = threading.Event()

    class Started(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            started.set()

    monkeypatch.setattr(setup_env.subprocess, "Popen", Started)
    alive = tmp_path / "alive"
    os.mkfifo(alive)  # open for writing as long as the grandchild lives
    command = ["sh", "-c", f"sleep 100 > {alive} & wait"]

    def interrupt() -> None:
        with open(alive) as end:
            started.wait(60)  # the child may be faster than its parent, on a busy machine
            time.sleep(0.3)
            os.kill(os.getpid(), signal.SIGINT)
            ended.append(end.read())

    ended: list[str] = []
    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        setup_env.run(command)
    thread.join(60)
    assert ended == [""]


def test_a_package_that_pip_was_interrupted_at_is_installed_anew(setup_env, monkeypatch):
    whole, half = (setup_env.SITE / f"{name}-1.0.dist-info" for name in ("whole", "half"))
    for info in (whole, half):
        info.mkdir()
        (info / "METADATA").touch()
        (info / "RECORD").touch()  # comes with the wheel, so it says nothing
    (whole / "INSTALLER").touch()
    monkeypatch.setattr(setup_env, "run", lambda command: None)
    setup_env.install("")
    assert whole.is_dir()
    assert not half.exists()


def test_wheels_name_this_machine_after_the_repair_and_stay_so(setup_env):
    short = "cp{}{}".format(*sys.version_info[:2])
    theirs, name = f"/opt/python/{short}-{short}", setup_env.PYTHON_NAME
    cmake = setup_env.VENV / "share/a/cmake/export.cmake"
    cmake.parent.mkdir(parents=True)
    cmake.write_text(f"{theirs}/include/{name};{theirs}/lib/{name}/site-packages/numpy/_core/include")
    prefix = setup_env.VENV / "share/ament_index/a"
    prefix.parent.mkdir()
    prefix.write_text(theirs)
    for _ in range(2):
        setup_env.repair_wheels()
        include, numpy = cmake.read_text().split(";")
        assert Path(include, "Python.h").is_file()
        assert numpy == f"{setup_env.SITE}/numpy/_core/include"
        assert prefix.read_text() == str(setup_env.VENV)


@pytest.mark.skipif("ROS_DISTRO" in os.environ, reason="a sourced ROS needs its own variables")
def test_ros_is_found_without_sourcing_anything():
    program = (
        "import rclpy, cv_bridge, kinaema_interfaces.srv, nav2_msgs.action, tf2_msgs.msg\n"
        "from rclpy.type_support import check_for_type_support\n"
        "check_for_type_support(kinaema_interfaces.srv.QueryPose)\n"
        "from ament_index_python import get_package_share_directory\n"
        "print(get_package_share_directory('kinaema_ros'))"
    )
    bare = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    result = subprocess.run(
        [sys.executable, "-c", program], env=bare, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    assert Path(result.stdout.strip(), "package.xml").is_file()
