"""The parts of memory_node without a node: inputs that a test feeds by hand, and a memory that it plays."""

from __future__ import annotations

from unittest.mock import Mock

import numpy as np

from kinaema_ros.estimate import Alternative, Estimate
from kinaema_ros.nodes.memory.inputs import MemoryInputs
from kinaema_ros.nodes.memory.monitor import MemoryMonitor
from kinaema_ros.nodes.memory.parameters import MemoryParameters

SECOND = 1_000_000_000


def ros_node() -> Mock:
    node = Mock()
    node.get_clock().now().nanoseconds = 100 * SECOND
    node.resolve_topic_name = str
    return node


def a_memory(*alternatives: Alternative) -> Mock:
    """A SpatialMemory that holds one image, seen from (2, 1, 0) in its frame."""
    memory = Mock(num_updates=1, state_bytes=7, localized=True, missing="", num_lifts=0)
    memory.check_mount.return_value = None
    memory.locate.return_value = Estimate(
        (1.0, 1.0, 0.0),
        np.eye(3),
        seen=0.9,
        confidence=0.8,
        alternatives=alternatives,
        num_updates=1,
        odom_pose=(2.0, 1.0, 0.0),
    )
    return memory


def inputs_of(
    memory: Mock | None, kind: type = MemoryInputs, parameters: MemoryParameters | None = None
) -> MemoryInputs:
    """Inputs at work, of a robot that stands at (1, 0, 0) of its odometry's frame."""
    node = ros_node()
    inputs = kind(node, parameters or MemoryParameters(), MemoryMonitor(node))
    inputs.use(memory)
    inputs._worker = Mock()
    inputs.odom_frame, inputs.base_frame = "odom", "base_link"
    for stamp in (99 * SECOND, 100 * SECOND):
        inputs.tracker.add(stamp, (1.0, 0.0, 0.0))
    return inputs


def log_of(inputs: MemoryInputs) -> list[str]:
    return [call.args[0] for call in inputs._node.get_logger().warning.call_args_list]
