"""What a user can cause has one base, and keeps the built-in one that the API promises."""

from __future__ import annotations

import importlib
import sys

import pytest

from kinaema_ros.errors import BadInput, InputError, KinaemaError, missing_package


@pytest.mark.parametrize(
    ("module", "name", "promised"),
    [
        ("errors", "InputError", ValueError),
        ("errors", "BadInput", ValueError),
        ("memory", "EmptyMemoryError", RuntimeError),
        ("model.checkpoint", "CheckpointError", ValueError),
        ("replay.topics", "BagError", ValueError),
        ("nodes.support.parameters", "ParameterError", ValueError),
        ("nodes.support.memory_client", "MemoryUnavailable", RuntimeError),
        ("nodes.support.memory_client", "QueryRefused", RuntimeError),
        ("nodes.client.client", "NavigatorUnavailable", RuntimeError),
    ],
)
def test_what_a_user_can_cause_has_one_base(module, name, promised):
    if module.startswith("nodes."):
        pytest.importorskip("rclpy")
    error = getattr(importlib.import_module(f"kinaema_ros.{module}"), name)
    assert issubclass(error, KinaemaError)
    assert issubclass(error, promised)


def test_a_node_counts_the_reason_of_bad_input():
    error = BadInput("image_encoding", "mono12 is not supported")
    assert isinstance(error, InputError)
    assert (error.reason, str(error)) == ("image_encoding", "mono12 is not supported")


@pytest.mark.parametrize(
    ("module", "remedy"),
    [
        ("safetensors", "pip install safetensors`"),
        ("PIL.Image", "pip install pillow`"),
        ("rclpy", "source a ROS 2 workspace"),
        ("nav2_msgs.action", "source a ROS 2 workspace"),
    ],
)
def test_a_missing_package_is_named_with_its_remedy(module, remedy):
    assert remedy in missing_package(ModuleNotFoundError(name=module))
    assert missing_package(ModuleNotFoundError(name="kinaema_ros.nowhere")) == ""


def test_pip_is_no_remedy_for_the_systems_python(monkeypatch):
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    message = missing_package(ModuleNotFoundError(name="safetensors"))
    assert "pip" not in message
    assert "virtual environment" in message


def test_a_node_names_a_missing_package_in_one_line(monkeypatch, capsys):
    start = importlib.import_module("kinaema_ros.nodes.start")
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(start, "import_module", lambda _: importlib.import_module("torch"))
    assert start.memory_node() == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "the Python package torch is missing" in line
