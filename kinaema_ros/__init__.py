"""Visual spatial memory for ROS 2 robots: drive once, then show a photo and learn where it was taken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kinaema_ros.camera import Intrinsics
    from kinaema_ros.memory import Estimate, SpatialMemory

__all__ = ["Estimate", "Intrinsics", "SpatialMemory", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "__version__":  # package.xml is the one place that has it
        from xml.etree import ElementTree

        from kinaema_ros.paths import shipped

        return ElementTree.parse(shipped("package.xml")).findtext("version")
    # The simulator and the command line's --help must not pay for importing torch.
    if name in ("Estimate", "Intrinsics", "SpatialMemory"):
        from kinaema_ros import memory

        return getattr(memory, name)
    raise AttributeError(f"module 'kinaema_ros' has no attribute {name!r}")
