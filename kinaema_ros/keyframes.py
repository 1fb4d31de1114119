"""Which frames of a camera stream become memory updates: one rule for the node and for replaying a bag.

Two reasons to pass a frame over:

- *rate*: an update costs the same whatever the frame adds; 30 updates a second would only cost more.
- *motion*: a robot that stands still would write the same view again and again; the network was trained on
  steps of 0.2 to 0.3 m, and each embedding's running mean should not be dominated by where the robot waited.

The rule looks at stamps and odometry only, never at the wall clock or at how busy the machine is: the same
stream gives the same keyframes in `memory_node` and in `kinaema replay`, so both give the same answers.
It is asked for each frame that has odometry, in the order of the stamps, and told of each that became an update: one that
turns out to be undecodable leaves its place to the next.
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
    """Applies a `KeyframeConfig` to a stream."""

    def __init__(self, config: KeyframeConfig | None = None) -> None:
        self.config = config or KeyframeConfig()
        self.reset()

    def reset(self) -> None:
        """Forget the last keyframe, so that the next frame is used. After a reset of memory or odometry."""
        self._last: tuple[int, geometry.Array] | None = None

    def reason_to_skip(self, stamp_ns: int, odom_pose: ArrayLike) -> str | None:
        """Decide on a frame: None if it is to be used, else why not, "rate" or "motion".

        stamp_ns: the image's stamp, integer nanoseconds; odom_pose: (x, y, yaw) in the odometry's frame at that stamp.
        """
        config, last = self.config, self._last  # each once: another thread may replace them
        if last is None:
            return None
        # In integer nanoseconds: in float seconds (1.7e9) rounding could skip frames of a 10 Hz camera. A
        # stamp before the last keyframe's means that the clock was set back: there is no rate then.
        elapsed_ns = stamp_ns - last[0]
        if config.max_rate_hz > 0 and 0 <= elapsed_ns * config.max_rate_hz < 1e9:
            return "rate"
        step = geometry.between(last[1], odom_pose)
        if math.hypot(step[0], step[1]) < config.min_distance and abs(step[2]) < config.min_angle:
            return "motion"
        return None

    def used(self, stamp_ns: int, odom_pose: ArrayLike) -> None:
        """This frame became an update: it is the last keyframe from now on."""
        self._last = (stamp_ns, np.array(odom_pose, dtype=np.float64))

    def select(self, stamp_ns: int, odom_pose: ArrayLike) -> bool:
        """Whether a frame is to be used; then it counts as used."""
        chosen = self.reason_to_skip(stamp_ns, odom_pose) is None
        if chosen:
            self.used(stamp_ns, odom_pose)
        return chosen
