"""What happened in a demo: where the robot was, what it was asked, what it answered, where it went."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinaema_ros.estimate import Estimate
from kinaema_ros.geometry import Array
from kinaema_ros.metrics import SUCCESS_DISTANCE, pose_errors
from kinaema_ros.sim import Camera, Scene
from kinaema_ros.stamps import pose_at

REACHED_SHARE = 0.8  # of the photos, for the demo to have done its job
CAMERA = Camera(320, 240)  # the robot's
EXPLORE_SECONDS = 180.0  # of the robot's time, before it is shown the first photo


@dataclass
class Visit:
    """One photo: asked for at ``started``, over at ``ended`` (robot's seconds)."""

    photo: NDArray[np.uint8]  # (H, W, 3) RGB
    true: Array  # (3,) where it was taken; known to the demo only
    started: float
    ended: float = math.inf
    # when it came (robot's seconds), and the estimate on the map; empty if the robot refused to go
    estimates: list[tuple[float, Estimate]] = field(default_factory=list)
    arrived: bool = False  # by the robot's own word
    message: str = ""  # why not
    stopped: Array = field(default_factory=lambda: np.full(3, math.nan))

    @property
    def first_estimate(self) -> Estimate | None:
        """The one that the robot set off with; None if it refused to go."""
        return self.estimates[0][1] if self.estimates else None

    @property
    def errors(self) -> tuple[float, float]:
        """Metres and radians between the first estimate and the truth; NaN without one."""
        if self.first_estimate is None:
            return math.nan, math.nan
        position, yaw = pose_errors(self.first_estimate.pose, self.true)
        return float(position), float(yaw)

    @property
    def distance(self) -> float:
        """Metres from where the robot stopped to where the photo was taken."""
        return math.hypot(*(self.stopped[:2] - self.true[:2]))

    @property
    def reached(self) -> bool:
        """True if the robot says that it is there, and is."""
        return self.arrived and self.distance <= SUCCESS_DISTANCE

    @property
    def seconds(self) -> float:
        """From photo to arrival, or giving up."""
        return self.ended - self.started

    def estimate_at(self, seconds: float) -> Estimate | None:
        """The newest one by then."""
        past = [estimate for when, estimate in self.estimates if when <= seconds]
        return past[-1] if past else None

    def as_json(self) -> dict[str, Any]:
        """The goal's record of --json; poses as x, y (m), yaw (rad) on the map."""
        position, yaw = self.errors
        return {
            "predicted": None if self.first_estimate is None else list(self.first_estimate.pose),
            "true": self.true.tolist(),
            "error_m": position,
            "error_deg": math.degrees(yaw),
            "reached": self.reached,
            "seconds": self.seconds,
            "seen": None if self.first_estimate is None else self.first_estimate.seen,
            "covariance": None if self.first_estimate is None else self.first_estimate.covariance.tolist(),
            "last_predicted": list(self.estimates[-1][1].pose) if self.estimates else None,
            "stopped": self.stopped.tolist(),
            "stopped_m": self.distance,
            "message": self.message,
        }


@dataclass
class DemoRecord:
    """The whole demo. Poses are of the robot's base on the map, as the simulator knows them."""

    scene: Scene
    goals: int  # photos to be shown
    track: list[tuple[float, Array]] = field(default_factory=list)  # seconds and pose, about 20 a second
    began: float = math.nan  # when exploration did, in the robot's seconds
    explored: float = math.inf  # when it ended
    visits: list[Visit] = field(default_factory=list)
    state_bytes: int = 0  # of the memory
    _track_arrays: tuple[Array, Array] = field(
        default_factory=lambda: (np.empty(0), np.empty((0, 3))), init=False, repr=False
    )

    @property
    def reached(self) -> int:
        """Photos reached."""
        return sum(visit.reached for visit in self.visits)

    @property
    def done(self) -> bool:
        """True if enough were reached for the demo to have done its job."""
        return self.reached >= math.ceil(REACHED_SHARE * self.goals)

    def path(self, start: float, end: float) -> Array:
        """Poses (T, 3) between two moments."""
        times, poses = self._arrays()
        return poses[np.searchsorted(times, start) : np.searchsorted(times, end, "right")]

    def pose_at(self, seconds: float) -> Array:
        """The pose (3,) at a moment, between the recorded ones."""
        times, poses = self._arrays()
        pose = pose_at(times, poses, min(max(seconds, times[0]), times[-1]))
        assert pose is not None
        return pose

    def _arrays(self) -> tuple[Array, Array]:
        """The track as times (T,) and poses (T, 3); kept until it has grown."""
        length = len(self.track)
        if len(self._track_arrays[0]) != length:
            track = self.track[:length]
            times = np.array([seconds for seconds, _ in track])
            self._track_arrays = times, np.array([pose for _, pose in track]).reshape(-1, 3)
        return self._track_arrays
