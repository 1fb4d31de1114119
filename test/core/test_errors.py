"""What a user can cause has one base, and keeps the built-in one that the API promises."""

from __future__ import annotations

import importlib

import pytest

from kinaema_ros.errors import BadInput, InputError, KinaemaError


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
