"""The camera that takes the robot's images: its lens, by camera_info or a parameter, and where it is on the robot."""

from __future__ import annotations

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo

from kinaema_ros.camera import Intrinsics, Mount, is_rectified_topic
from kinaema_ros.errors import BadInput
from kinaema_ros.nodes.memory.monitor import MemoryMonitor
from kinaema_ros.nodes.memory.parameters import MemoryParameters
from kinaema_ros.nodes.support import messages
from kinaema_ros.nodes.support.frames import Frames


class RobotCamera:
    """What is known of it so far. ``BadInput`` where that cannot be used."""

    def __init__(self, node: Node, parameters: MemoryParameters, monitor: MemoryMonitor, frames: Frames):
        self._node, self._parameters, self._monitor, self._frames = node, parameters, monitor, frames
        self._info: Intrinsics | None = None
        self._tf_mount: Mount | None = None

    @property
    def informed(self) -> bool:
        """Whether a camera_info of use has come."""
        return self._info is not None

    def apply(self, parameters: MemoryParameters) -> None:
        """Takes changed parameters; a mount from TF is looked up anew."""
        self._parameters, self._tf_mount = parameters, None

    def on_camera_info(self, message: CameraInfo) -> None:
        """Takes a message, or says why it is of no use; then what was known before stays."""
        try:
            self._info = messages.camera_info_to_intrinsics(message, self._rectified())
        except BadInput as error:
            instead = "the one before stays in use"
            if self._info is None:
                instead = "so the parameter hfov_deg is; set it to the camera's horizontal field of view"
            self._monitor.problem(error.reason, f"{error}, {instead}")

    def _rectified(self) -> bool:
        """Whether the images are: by the parameter, or by what image_proc calls its topics."""
        said = self._parameters.image_is_rectified
        if said != "auto":
            return said == "always"
        return is_rectified_topic(self._node.resolve_topic_name("image"))

    def at(self, width: int, height: int) -> tuple[Intrinsics, str]:
        """The camera of an image of this size, and its source: "camera_info", else "parameter" (hfov_deg)."""
        info = self._info  # once: it may come at any moment
        if info is None:
            return self.usual(width, height), "parameter"
        if not info.has_aspect(width, height):
            raise BadInput(
                "camera_info_aspect",
                f"the image has {width} x {height} pixels, but by camera_info the camera's images have "
                f"{info.width} x {info.height}: do both topics belong to one camera?",
            )
        return info.scaled_to(width, height), "camera_info"

    def usual(self, width: int, height: int) -> Intrinsics:
        """The camera at its own size, or, where no camera_info says it, at this one."""
        return self._info or Intrinsics.from_hfov(width, height, self._parameters.hfov)

    def mount(self, base_frame: str, optical_frame: str = "") -> Mount:
        """The camera's pose on the base, by parameters or TF; ``optical_frame`` is that of an image."""
        parameters, mount = self._parameters, self._tf_mount  # once: changed parameters replace both
        if parameters.camera_mount == "parameters":
            return parameters.camera
        if mount is None:  # a mount does not move, so one look is enough
            if not optical_frame:
                raise BadInput(
                    "frame_unknown",
                    "no image has named the camera's frame in header.frame_id yet; the driver must set it, "
                    "or set camera_mount to 'parameters'",
                )
            mount = self._tf_mount = self._frames.mount(base_frame, optical_frame)
        return mount
