"""`make setup`: which steps it does again, and which it leaves alone."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def clean_environment() -> dict[str, str]:
    """Without what a `make` that runs these tests, or a sourced ROS, would hand down."""
    dropped = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "ROS_DISTRO", "PYTHON")
    return {name: value for name, value in os.environ.items() if name not in dropped}


class Checkout:
    """A folder with this repository's Makefile, where the steps only say that they ran, or break where asked to."""

    SCRIPT = """
        import os, sys
        step = sys.argv[1]
        if step == os.environ.get("BROKEN"):
            sys.exit("interrupted")
        if step != "check":
            print("ran", step)
    """

    def __init__(self, folder: Path):
        self.folder = folder
        for name in (
            "requirements/all.txt",
            "kinaema_interfaces/A.srv",
            "stand_ins/COLCON_IGNORE",
            "setup.py",
        ):
            self.write(name, "")
        for name in ("launch", "config", "examples", "models", "worlds", "rviz", "resource"):
            (folder / name).mkdir()
        self.write("tools/setup_env.py", textwrap.dedent(self.SCRIPT))
        # Stands for the interpreter: making a real environment takes seconds.
        self.write("python", f"""#!/bin/sh
            if [ "$1 $2" = "-m venv" ]; then
                echo ran venv $*
                rm -rf .venv && mkdir -p .venv/bin && cp {sys.executable} .venv/bin/python
            else
                exec {sys.executable} "$@"
            fi
        """)  # fmt: skip
        (folder / "python").chmod(0o755)
        shutil.copy(ROOT / "Makefile", folder)

    def write(self, name: str, text: str) -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(text)

    def make(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            ["make", "setup", *arguments], cwd=self.folder, env={**clean_environment(), **environment},
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    def ran(self, *arguments: str, **environment: str) -> list[str]:
        """The steps that `make setup` does."""
        output = self.make(*arguments, **environment).stdout
        return re.findall(r"^ran (\w+)", output, re.MULTILINE)


ALL_STEPS = ["venv", "packages", "interfaces", "kinaema_ros"]


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path / "checkout")


def test_only_what_changed_is_done_again(checkout):
    assert checkout.ran("PYTHON=./python") == ALL_STEPS
    assert checkout.ran("PYTHON=./python") == []
    (checkout.folder / "launch/__pycache__").mkdir()
    checkout.write("launch/__pycache__/a.pyc", "")
    assert checkout.ran("PYTHON=./python") == []
    checkout.write("launch/new.launch.py", "")
    assert checkout.ran("PYTHON=./python") == ["kinaema_ros"]
    (checkout.folder / "launch/new.launch.py").unlink()
    assert checkout.ran("PYTHON=./python") == ["kinaema_ros"]
    checkout.write("kinaema_interfaces/New.srv", "---\n")
    assert checkout.ran("PYTHON=./python") == ["interfaces", "kinaema_ros"]
    checkout.write("requirements/all.txt", "numpy==2.2.5\n")
    assert checkout.ran("PYTHON=./python") == ["packages", "interfaces", "kinaema_ros"]
    (checkout.folder / ".venv/bin/python").unlink()
    assert checkout.ran("PYTHON=./python") == ALL_STEPS


def test_files_with_old_times_are_noticed(checkout):
    assert checkout.ran("PYTHON=./python") == ALL_STEPS
    checkout.write("requirements/all.txt", "numpy==2.2.5\n")
    os.utime(checkout.folder / "requirements/all.txt", (0, 0))  # as unpacked from an archive
    assert checkout.ran("PYTHON=./python") == ["packages", "interfaces", "kinaema_ros"]


def test_an_interrupted_setup_goes_on_where_it_was(checkout):
    assert checkout.ran("PYTHON=./python", BROKEN="packages") == ["venv"]
    assert checkout.ran("PYTHON=./python", BROKEN="interfaces") == ["packages"]
    assert checkout.ran("PYTHON=./python", BROKEN="kinaema_ros") == ["interfaces"]
    assert checkout.ran("PYTHON=./python") == ["kinaema_ros"]
    assert checkout.ran("PYTHON=./python") == []


def test_a_refusal_leaves_the_environment_as_it_was(checkout):
    assert checkout.ran("PYTHON=./python") == ALL_STEPS
    refused = checkout.make("PYTHON=./python", ROS_DISTRO="jazzy", BROKEN="check")
    assert refused.returncode != 0
    assert "interrupted" in refused.stderr
    assert checkout.ran("PYTHON=./python") == []


def test_a_moved_checkout_and_another_ros_start_anew(checkout):
    assert checkout.ran("PYTHON=./python") == ALL_STEPS
    result = checkout.make("PYTHON=./python", ROS_DISTRO="jazzy")
    assert "-m venv --clear --system-site-packages .venv" in result.stdout
    assert result.stdout.count("ran ") == len(ALL_STEPS)
    assert checkout.ran("PYTHON=./python", ROS_DISTRO="jazzy") == []
    checkout.folder = checkout.folder.rename(checkout.folder.with_name("moved there"))
    assert checkout.ran("PYTHON=./python", ROS_DISTRO="jazzy") == ALL_STEPS


def test_the_interpreter_of_the_first_time_is_kept(checkout):
    assert checkout.ran(f"PYTHON={sys.executable}", BROKEN="packages") == []  # a real environment, in seconds
    assert (checkout.folder / ".venv/stamps/python").read_text().strip() == sys.executable
    assert checkout.ran("-n", PATH="/usr/bin:/bin") == []
    assert f"\n{sys.executable} tools/setup_env.py packages" in checkout.make("-n").stdout


def test_a_missing_interpreter_is_one_line_that_says_what_to_install(checkout):
    result = checkout.make("PYTHON=python9")
    assert result.returncode != 0
    told = [line for line in result.stderr.splitlines() if not line.startswith("make")]
    assert len(told) == 1
    assert "python9 is missing: apt install python3 " in told[0]


def test_a_second_setup_waits_for_the_first(checkout):
    assert checkout.ran("PYTHON=./python") == ALL_STEPS
    with open(checkout.folder / "Makefile") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = ["make", "setup", "PYTHON=./python"]
        second = subprocess.Popen(
            command, cwd=checkout.folder, env=clean_environment(), stdout=subprocess.PIPE, text=True
        )
        assert "another one is at work here" in second.stdout.readline()
        fcntl.flock(lock, fcntl.LOCK_UN)
        assert second.communicate(timeout=60)[0] == ""
        assert second.returncode == 0
