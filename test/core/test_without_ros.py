"""A model developer has no ROS: the tests that need it are left out, and the reason is said."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]

# Python runs it at its start: the package is found only among the sources, in the root of the checkout.
_SITECUSTOMIZE = """
from importlib.machinery import PathFinder

usual = PathFinder.find_spec


def find_spec(cls, name, path=None, target=None):
    return usual(name, [{root!r}] if name == {missing!r} else path, target)


PathFinder.find_spec = classmethod(find_spec)
"""


@pytest.mark.parametrize("missing", ["rclpy", "kinaema_interfaces"])
def test_without_ros_the_other_tests_are_collected_and_the_reason_is_said(
    tmp_path: Path, missing: str
) -> None:
    text = _SITECUSTOMIZE.format(root=str(TESTS.parent), missing=missing)
    (tmp_path / "sitecustomize.py").write_text(text)
    paths = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    # One of the other tests is enough: importing them all takes a while.
    others = [p for p in TESTS.glob("*/test_*.py") if p.parent.name != "ros" and p.name != "test_stamps.py"]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--collect-only",
        "-q",
        "-m",
        "not ros",
        "-p",
        "no:cacheprovider",
    ]
    process = subprocess.run(
        [*command, *(f"--ignore={path}" for path in others)],
        cwd=TESTS.parent,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert process.returncode == 0, process.stdout
    assert "test/core/test_stamps.py" in process.stdout
    assert "test/ros/" not in process.stdout
    assert f"test/ros is left out: {missing} cannot be imported" in process.stdout
