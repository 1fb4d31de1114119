"""A workspace built by colcon with the Python of a virtual environment, as the README has it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("colcon_core", reason="colcon is not installed for this Python")

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The folder that `colcon build` has installed into."""
    folder = tmp_path_factory.mktemp("workspace")
    command = [sys.executable, "-m", "colcon", "build", "--symlink-install", "--base-paths", str(ROOT)]
    done = subprocess.run(
        [*command, "--packages-select", "kinaema_ros"], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "install"


def in_shell(installed: Path, commands: str, **environment: str) -> str:
    """What bash says after sourcing the workspace: in a shell with no virtual environment."""
    done = subprocess.run(
        ["bash", "--norc", "-c", f"source {installed}/local_setup.bash; {commands}"],
        env={"PATH": "/usr/bin:/bin", "HOME": os.environ.get("HOME", "/"), **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_command_is_on_the_path_and_runs_by_the_python_it_was_built_with(installed):
    prefix = installed / "kinaema_ros"
    found, version = in_shell(installed, "command -v kinaema; kinaema --version").split("\n", 1)
    assert found == str(prefix / "bin/kinaema")
    assert version.startswith("kinaema 0")
    for script in (prefix / "lib/kinaema_ros").iterdir():
        assert script.read_text().splitlines()[0] == f"#!{sys.executable}"


def test_bash_completes_the_command_where_argcomplete_is(installed):
    pytest.importorskip("argcomplete")
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    assert " kinaema" in in_shell(installed, "complete -p kinaema", PATH=path)


def test_without_argcomplete_the_workspace_is_sourced_silently(installed):
    assert in_shell(installed, "") == ""
