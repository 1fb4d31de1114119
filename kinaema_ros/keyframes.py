"""Which frames of a camera stream become memory updates: one rule for the node and for replaying a bag.

Two reasons to pass a frame over:

- *rate*: an update costs the same whatever the frame adds; 30 updates a second would only cost more.
- *motion*: a robot that stands still would write the same view again and again; the network was trained on
  steps of 0.2 to 0.3 m, and each embedding's running mean should not be dominated by where the robot waited.

The rule looks at stamps and odometry only, never at the wall clock or at how busy the machine is: the same
stream gives the same keyframes in `memory_node` and in `kinaema replay`, so both give the same answers.
It is asked once per frame that could be used (decodable, with odometry), in the order of the stamps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from kinaema_ros import geometry
from kinaema_ros.settings import check, setting


@dataclass(frozen=True)
class KeyframeConfig:
    """Thresholds between two updates. Raises ValueError for one that is out of range.

    A frame is used when the robot moved or turned so far since the last used one; both 0: every frame.
    """

    min_distance: float = setting(
        0.3,
        "An image is used when the robot has moved so far since the last one used (m)",
        low=0.0,
        high=100.0,
    )
    min_angle: float = setting(
        math.radians(20.0),
        "An image is also used when the robot has turned so far (rad); both 0: every image is used",
        low=0.0,
        high=math.pi,
    )
    max_rate_hz: float = setting(
        10.0, "Most updates a second of the images' clock; 0: no limit", low=0.0, high=1000.0
    )

    def __post_init__(self) -> None:
        check(self)


class KeyframeSelector:
    """Applies a `KeyframeConfig` to a stream. Not thread-safe: for the thread that updates the memory."""

    def __init__(self, config: KeyframeConfig | None = None) -> None:
        self.config = config or KeyframeConfig()
        self.reset()

    def reset(self) -> None:
        """Forget the last keyframe, so that the next frame is used. After a reset of memory or odometry."""
        self._stamp_ns: int | None = None
        self._pose: geometry.Array = np.zeros(3)

    def reason_to_skip(self, stamp_ns: int, odom_pose: ArrayLike) -> str | None:
        """Decide on a frame: None if it is to be used (it is the last keyframe from now on), else why not.

        stamp_ns: the image's stamp, integer nanoseconds; odom_pose: (x, y, yaw) in the odometry's frame at
        that stamp. The reason is "rate" or "motion".
        """
        config = self.config  # once: another thread may replace it
        if self._stamp_ns is not None:
            # In integer nanoseconds: in float seconds (1.7e9) rounding could skip frames of a 10 Hz camera. A
            # stamp before the last keyframe's means that the clock was set back: there is no rate then.
            elapsed_ns = stamp_ns - self._stamp_ns
            if config.max_rate_hz > 0 and 0 <= elapsed_ns * config.max_rate_hz < 1e9:
                return "rate"
            step = geometry.between(self._pose, odom_pose)
            if math.hypot(step[0], step[1]) < config.min_distance and abs(step[2]) < config.min_angle:
                return "motion"
        self._stamp_ns = stamp_ns
        self._pose = np.array(odom_pose, dtype=np.float64)
        return None
