"""The robot's pose at the stamp of an image, from a stream of odometry messages. No ROS in here.

Two frames appear. The *odom frame* is what the messages are given in. The *memory frame* is the one that the
memory was built in; it starts as the odom frame, and differs from it by ``memory_T_odom`` after the
odometry's origin moved under a robot that did not (a driver or filter that restarted).
"""

from __future__ import annotations

import math
import threading
import uuid
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike

from kinaema_ros import geometry
from kinaema_ros.errors import BadInput, InputError
from kinaema_ros.estimate import Pose, as_pose
from kinaema_ros.geometry import Array
from kinaema_ros.settings import check, setting
from kinaema_ros.stamps import NANOSECONDS, PoseHistory, neighbours

LEVEL = (0.0, 0.0)  # roll and pitch of a base whose odometry does not say
MAX_TILT = 1.0  # radians; beyond it the robot has fallen
MAX_COORDINATE = 1e7  # metres; beyond it odometry is broken, not far away
_LONGEST_NAME = 255  # characters
JUMP_POLICIES = ("localize", "hold", "continue", "reanchor", "reset")
# A restarted odometry begins at its origin, up to what the robot moved before the first message.
_ORIGIN_RADIUS = 0.5
_ORIGIN_ANGLE = math.radians(20.0)
# Clocks of a replayed bag, a restarted simulation or driver go back by more than transport can reorder messages.
_CLOCK_RESTART = 2 * NANOSECONDS
# Between two messages a robot moves less than this: one whose stamps start over at the origin was elsewhere before.
_STILL_RADIUS = 0.1
_STILL_ANGLE = math.radians(5.0)
# A clock that was set back by less: so many messages in a row whose stamps, though late, go on.
_STEPPED_BACK = 3


@dataclass(frozen=True)
class OdometryLimits:
    """How long to wait for odometry, what counts as a discontinuity, and what to do then.

    Raises ValueError for a value out of range. config/kinaema.yaml says when to change which.
    """

    max_wait: float = setting(
        1.0, "Longest wait for odometry as new as the image (s of wall time)", low=0.0, high=10.0
    )
    max_gap: float = setting(
        1.0,
        "Longest silence of the odometry over which an image's pose is interpolated (s)",
        low=0.01,
        high=60.0,
    )
    max_jump: float = setting(
        1.0,
        "A longer step between two messages is a jump (m; in a second, where they are rarer)",
        low=0.05,
        high=1000.0,
    )
    max_jump_yaw: float = setting(
        math.pi / 2, "A larger turn between two messages is a jump (rad)", low=0.05, high=math.pi
    )
    on_jump: str = setting(
        "localize",
        "What to do after a jump: 'localize' by what the camera sees, 'hold' until told, 'continue' (the robot was "
        "moved, and the odometry knows), 'reanchor' (it was not moved), or 'reset' the memory",
        choices=JUMP_POLICIES,
    )
    on_reset: str = setting(
        "localize", "What to do after a jump of the odometry to its origin", choices=JUMP_POLICIES
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class OdomFrame:
    """The frame of a robot's odometry, and where it lies in the odometry that the memory was given.

    The two differ where the odometry's origin moved under a robot that stood still.
    """

    name: str
    memory_T_odom: Pose = (0.0, 0.0, 0.0)
    run: str = ""  # names the odometry that the memory was given, from one start of the robot to the next

    def __post_init__(self) -> None:
        if any(not isinstance(text, str) or len(text) > _LONGEST_NAME for text in (self.name, self.run)):
            raise InputError(f"the odometry's frame must have a name of at most {_LONGEST_NAME} characters")
        if not np.isfinite(self.memory_T_odom).all():
            raise InputError(f"memory_T_odom {self.memory_T_odom} is not finite")


@dataclass(frozen=True)
class Discontinuity:
    """A jump of the odometry and what was done about it."""

    reason: str  # "odometry_jump", "odometry_reset", "clock_restart" or "clock_step": the key to count it by
    action: str  # one of JUMP_POLICIES; "reset" and "localize" are for the caller to do
    distance: float
    angle: float


class OdometryTracker:
    """Keeps the last seconds of odometry; thread-safe.

    ``add`` takes messages in the order of their stamps; ``pose_at`` gives the interpolated pose in the memory
    frame. A jump under policy "hold" freezes both until the odometry returns to where it was, or
    ``resolve`` is called after ``limits`` have been given another policy for such jumps.
    """

    def __init__(self, limits: OdometryLimits | None = None, history: int = 1000):
        self.limits = limits or OdometryLimits()
        self._lock = threading.Lock()
        self._track = PoseHistory(history)  # in the memory frame
        self._tilts = PoseHistory(history)  # roll, pitch, 0
        self._anchor: Array = np.zeros(3)  # memory_T_odom
        self._run = _new_run()
        self._last: tuple[int, Array] | None = None  # newest message, in the odom frame
        self._before_jump: Array | None = None  # odom frame; set while a jump is held
        self._decided_by = "on_jump"  # the one of the limits that says what to do about the newest jump
        self._late: list[tuple[int, Array]] = []  # messages in a row, the newest, that were older than _last

    # -- input -----------------------------------------------------------------------------------------------

    def add(
        self,
        stamp: int,
        odom_T_base: ArrayLike,
        simulated: bool = False,
        tilt: tuple[float, float] = LEVEL,
    ) -> Discontinuity | None:
        """Takes a pose (x, y, yaw) at ``stamp`` (nanoseconds), and roll and pitch.

        simulated: stamps are of a simulation or a played bag, where the robot starts over with the clock. Returns what happened if the odometry was not continuous. Raises ``BadInput`` for a stamp that is not newer
        than the last one, unless it is clear that the clock was set back.
        """
        pose = np.array(odom_T_base, dtype=np.float64)
        with self._lock:
            restart = None
            if self._last is not None and stamp <= self._last[0]:
                restart = self._set_back(stamp, pose, self._last, simulated)
            self._late = []
            event = restart or self._compare(stamp, pose)
            self._last = (stamp, pose)
            self._tilts.add(stamp, np.array([*tilt, 0.0]))
            if self._before_jump is None:
                self._track.add(stamp, geometry.compose(self._anchor, pose))
            return event

    def _set_back(self, stamp: int, pose: Array, last: tuple[int, Array], simulated: bool) -> Discontinuity:
        """The clock was set back, or one message is late, which raises ``BadInput``. What else has happened."""
        behind = last[0] - stamp
        if behind >= _CLOCK_RESTART:
            # Poses paired by the old clock mean nothing to images stamped by the new one.
            self._track.clear()
            # A driver that starts over leaves the robot where it is: then a step of the pose is no motion.
            jump = None if simulated else self._compare(stamp, pose, started_over=True)
            return jump or Discontinuity("clock_restart", "continue", 0.0, 0.0)
        if self._late and stamp <= self._late[-1][0]:
            self._late = []
        self._late.append((stamp, pose))
        if len(self._late) < _STEPPED_BACK:
            raise BadInput(
                "odometry_stamp_backwards",
                f"odometry's stamp is {behind / NANOSECONDS:.3f} s older than the one before; the message is "
                "ignored. Two publishers on one topic do this: check with 'ros2 topic info -v'",
            )
        # A clock fault is no motion: the robot has moved from message to message as always.
        self._track.clear()
        for late_stamp, late_pose in self._late[:-1]:
            event = self._compare(late_stamp, late_pose)
            self._last = (late_stamp, late_pose)
            if event is not None:
                return event
        return self._compare(stamp, pose) or Discontinuity("clock_step", "continue", 0.0, 0.0)

    def _compare(self, stamp: int, pose: Array, started_over: bool = False) -> Discontinuity | None:
        """Looks for a jump between the last accepted pose and this one; applies the policy.

        started_over: the stamps have, and with them perhaps the pose. So it may have while the odometry was silent.
        """
        if self._before_jump is not None:
            if not self._is_jump(self._before_jump, pose, 0.0):
                self._before_jump = None  # a glitch: the odometry is back where it was
            return None
        if self._last is None:
            return None
        at_origin = _within(pose, _ORIGIN_RADIUS, _ORIGIN_ANGLE)
        step = geometry.between(self._last[1], pose)
        seconds = (stamp - self._last[0]) / NANOSECONDS
        if seconds > self.limits.max_gap:  # a robot that leaves its origin meanwhile has driven
            started_over = started_over or _off_origin(pose) < _off_origin(self._last[1])
        moved_to_origin = started_over and at_origin and not _within(step, _STILL_RADIUS, _STILL_ANGLE)
        if not moved_to_origin and not self._is_jump(self._last[1], pose, seconds):
            return None
        reason = "reset" if at_origin else "jump"
        self._decided_by = f"on_{reason}"
        policy: str = getattr(self.limits, self._decided_by)
        self._apply(policy, self._last[1], pose)
        return Discontinuity(
            f"odometry_{reason}", policy, float(math.hypot(step[0], step[1])), abs(float(step[2]))
        )

    def _is_jump(self, a: Array, b: Array, seconds: float) -> bool:
        step, scale = geometry.between(a, b), max(1.0, seconds)
        return bool(
            math.hypot(step[0], step[1]) > self.limits.max_jump * scale
            or abs(step[2]) > self.limits.max_jump_yaw * scale
        )

    def _apply(self, policy: str, before: Array, after: Array) -> None:
        self._before_jump = before if policy == "hold" else None
        if policy == "reanchor":  # the robot stood still, the origin moved: same memory frame, new anchor
            self._anchor = geometry.compose(geometry.compose(self._anchor, before), geometry.inverse(after))
        elif policy in ("continue", "reset", "localize"):  # nothing between the two poses was driven
            self._track.clear()
            if policy != "continue":
                self._anchor, self._run = np.zeros(3), _new_run()

    def resolve(self) -> str:
        """Ends a held jump by the policy that ``limits`` have for such jumps now, and returns it; "": nothing has ended."""
        with self._lock:
            policy: str = getattr(self.limits, self._decided_by)
            if self._before_jump is None or self._last is None or policy == "hold":
                return ""
            self._apply(policy, self._before_jump, self._last[1])
            return policy

    def adopt(self, saved: OdomFrame | None = None) -> None:
        """The memory was replaced by one that was ``saved`` with this odometry; None: by one of the odom frame as it is now.

        Where that was in this run, it is known how the origin has moved since then; else it is taken not to have.
        """
        with self._lock:
            self._track.clear()
            self._before_jump = None
            if saved is None:
                self._anchor, self._run = np.zeros(3), _new_run()
            elif saved.run != self._run:
                self._anchor, self._run = np.array(saved.memory_T_odom), saved.run or _new_run()

    def restart(self) -> None:
        """Forgets all, as if no odometry had ever arrived."""
        with self._lock:
            self._track.clear()
            self._anchor, self._last, self._before_jump, self._late = np.zeros(3), None, None, []
            self._run = _new_run()

    # -- output ----------------------------------------------------------------------------------------------

    @property
    def held_by(self) -> str:
        """Either "on_jump" or "on_reset", while a jump waits for a decision: neither updates nor answers make sense; else ""."""
        return "" if self._before_jump is None else self._decided_by

    def frame(self, name: str) -> OdomFrame:
        """The odom frame, which its messages call ``name``, for a memory that is saved."""
        with self._lock:
            return OdomFrame(name, as_pose(self._anchor), self._run)

    def now(self) -> tuple[int, Array, Array] | None:
        """Stamp, ``odom_T_base`` and ``memory_T_odom`` of the newest message; None before the first."""
        with self._lock:
            return None if self._last is None else (self._last[0], self._last[1], self._anchor)

    def pose_at(self, stamp: int) -> Array | None:
        """``memory_T_base`` (3,) at ``stamp`` (nanoseconds); None while all odometry is older.

        Raises ``BadInput`` for a stamp whose pose later messages cannot give either.
        """
        with self._lock:
            return self._pose_at(stamp)

    def arrived_pose_at(self, stamp: int) -> Array:
        """As ``pose_at``, for an image that has waited long enough: raises ``BadInput`` while all odometry is older."""
        with self._lock:
            pose = self._pose_at(stamp)
            if pose is not None:
                return pose
            if self._last is None:
                raise BadInput("image_without_odometry", "no odometry has arrived yet")
            late = (stamp - self._last[0]) / NANOSECONDS
            raise BadInput(
                "image_without_odometry",
                f"no odometry for the image: the newest is {late:.3f} s older than the image's stamp, after "
                f"waiting {self.limits.max_wait:g} s. Is the odometry's publisher alive, and do both stamps come from "
                "one clock?",
            )

    def tilt_at(self, stamp: int) -> tuple[float, float]:
        """Roll and pitch of the base at ``stamp``; level where there is no odometry around it."""
        with self._lock:
            tilt = self._tilts.at(stamp, self.limits.max_gap * NANOSECONDS)
        return LEVEL if tilt is None else (float(tilt[0]), float(tilt[1]))

    def _pose_at(self, stamp: int) -> Array | None:
        if self._before_jump is not None:
            raise BadInput(
                "odometry_held",
                f"the odometry jumped and where the robot is now is not known, so images are not used. {remedy(self._decided_by)}",
            )
        stamps = self._track.stamps
        if not stamps or stamp > stamps[-1]:
            return None
        found = neighbours(stamps, stamp)
        if found is None:
            raise BadInput(
                "image_before_odometry",
                f"the image is {(stamps[0] - stamp) / NANOSECONDS:.3f} s older than the oldest odometry "
                "kept. At start this is normal; if it goes on, image and odometry are not stamped by the "
                "same clock",
            )
        gap, limit = (stamps[found[1]] - stamps[found[0]]) / NANOSECONDS, self.limits.max_gap
        if gap > limit:
            raise BadInput(
                "odometry_gap",
                f"the odometry was silent for {gap:.2f} s around the image's stamp "
                f"(limit {limit:g} s, parameter odometry.max_gap)",
            )
        return self._track.at(stamp)


def remedy(held_by: str) -> str:
    """What ends a jump that ``OdometryTracker.held_by`` a policy."""
    return (
        f"Call ~/reset to start anew, or set the parameter odometry.{held_by} to 'localize' (by what the camera sees), "
        "'reanchor' (the robot did not move) or 'continue' (it was moved and the odometry is right)"
    )


def _new_run() -> str:
    return uuid.uuid4().hex


def _off_origin(pose: Array) -> float:
    return math.hypot(pose[0], pose[1]) + abs(float(pose[2]))


def _within(pose: Array, radius: float, angle: float) -> bool:
    return math.hypot(pose[0], pose[1]) < radius and abs(float(pose[2])) < angle


def tilt_of(x: float, y: float, z: float, w: float) -> tuple[float, float]:
    """Roll and pitch of a base of this quaternion; level where no robot drives so: then its axes are other ones."""
    roll, pitch = geometry.tilt_from_quaternion(x, y, z, w)
    return (roll, pitch) if max(abs(roll), abs(pitch)) <= MAX_TILT else LEVEL


class Told(TypedDict, total=False):
    """See ``told``."""

    tilt: tuple[float, float]


def told(tilt: tuple[float, float]) -> Told:
    """The argument ``tilt`` of ``SpatialMemory.update`` and ``compare``, where there is one to tell."""
    return {} if tilt == LEVEL else {"tilt": tilt}


def checked_tilt(tilt: tuple[float, float]) -> tuple[float, float]:
    """Roll and pitch of a base that a robot can have. Raises InputError."""
    roll, pitch = tilt
    if not (abs(roll) <= MAX_TILT and abs(pitch) <= MAX_TILT):  # NaN too
        raise InputError(f"tilt of the base {tilt}: roll and pitch must be at most {MAX_TILT} rad")
    return roll, pitch


def checked_odometry(odom_pose: ArrayLike) -> Array:
    """A pose (x, y, yaw) if the memory can use it. Raises InputError."""
    pose = np.asarray(odom_pose, dtype=np.float64)
    if pose.shape != (3,):
        raise InputError(f"odometry pose of shape {pose.shape}: it must be (x, y, yaw)")
    if not np.isfinite(pose).all() or np.abs(pose[:2]).max() > MAX_COORDINATE:
        raise InputError(f"odometry pose {pose.tolist()} is not finite or beyond 10,000 km")
    return pose
