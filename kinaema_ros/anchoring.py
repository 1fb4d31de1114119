"""Where an odometry that starts anew lies in a memory: views are asked of it until enough of them agree.

One view is not enough: a shelf that was never seen may look like one that was, and then the next views of it agree, too.
But where the memory says that the robot passes places that it knows, the views must be found there. Of wrong anchors
that does not hold for long.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kinaema_ros import geometry
from kinaema_ros.geometry import Array

NEWEST = 20  # views that count
AGREEING = 5  # of them, that anchor the odometry
SHARE = 0.75  # of the views that an anchor says must be recognised, those that are
LOST_SHARE = 0.34  # of them, below which an anchor is given up
MIN_CONFIDENCE = 0.5  # of a view that counts as recognised
MAX_OFF, MAX_TURN = 0.4, np.radians(6.0)  # metres and radians between a view's pose and what the anchor says
SPAN, TURN = 2.0, np.radians(120.0)  # the views that agree are so far apart, or so much turned
NEAR, NEAR_TURN = 0.5, np.radians(20.0)  # from an embedding, within which a view must be recognised
MIN_STEP, MIN_STEP_TURN = 0.1, np.radians(5.0)  # between two views; the same view twice tells nothing new


@dataclass(frozen=True)
class View:
    """One view of the camera: where it was by odometry, and where the memory says."""

    odom_T_view: Array  # (3,)
    memory_T_view: Array  # (3,)
    confidence: float


class Anchoring:
    """Collects views and finds ``memory_T_odom``. All poses are of the camera, x, y, yaw in metres and radians."""

    def __init__(self, places: ArrayLike):
        """``places`` (P, 3): where the memory's embeddings stand, in its frame."""
        self._places = np.asarray(places, dtype=np.float64).reshape(-1, 3)
        self._views: deque[View] = deque(maxlen=NEWEST)
        self.memory_T_odom: Array | None = None  # once enough views agree
        self._agreeing = 0

    def wants(self, odom_T_view: Array) -> bool:
        """Whether a view from there would tell something new."""
        if not self._views:
            return True
        step = geometry.between(self._views[-1].odom_T_view, odom_T_view)
        return bool(np.hypot(step[0], step[1]) > MIN_STEP or abs(step[2]) > MIN_STEP_TURN)

    def add(self, view: View) -> None:
        """Takes the next view; ``memory_T_odom`` is found, stays, or is given up (None) by it."""
        self._views.append(view)
        if self.memory_T_odom is not None:
            self._follow(self.memory_T_odom)
            return
        self._agreeing = 0
        for candidate in self._views:
            if candidate.confidence >= MIN_CONFIDENCE:
                self._try(candidate)

    def agreeing(self, memory_T_odom: Array) -> int:
        """How many of the views agree with another anchor."""
        return int(self._judged(memory_T_odom)[0].sum())

    def _try(self, candidate: View) -> None:
        agree, expected = self._judged(_anchor(candidate))
        found = int(agree.sum())
        if found <= self._agreeing:
            return
        self._agreeing = found
        of_agreeing = [view for view, agrees in zip(self._views, agree, strict=True) if agrees]
        enough = found >= AGREEING and found >= SHARE * expected.sum() and _from_several_sides(of_agreeing)
        self.memory_T_odom = _mean_anchor(of_agreeing, self._views[-1].odom_T_view) if enough else None

    def _follow(self, memory_T_odom: Array) -> None:
        """Moves the anchor with the views that agree, for odometry drifts, or gives it up."""
        agree, expected = self._judged(memory_T_odom)
        if expected.sum() >= AGREEING and agree.sum() < LOST_SHARE * expected.sum():
            self.memory_T_odom, self._agreeing = None, 0
            self._views.clear()
        elif agree.any():
            of_agreeing = [view for view, agrees in zip(self._views, agree, strict=True) if agrees]
            self.memory_T_odom = _mean_anchor(of_agreeing, self._views[-1].odom_T_view)

    @property
    def missing(self) -> str:
        """What is still needed, in words."""
        return f"{min(self._agreeing, AGREEING)} of {AGREEING} agreeing views; turn or drive on"

    def _judged(self, memory_T_odom: Array) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which of the views agree with an anchor, and of which it says that they must be recognised: (V,) bool each."""
        expected = geometry.compose(memory_T_odom, np.array([view.odom_T_view for view in self._views]))
        found = np.array([view.memory_T_view for view in self._views])
        sure = np.array([view.confidence >= MIN_CONFIDENCE for view in self._views])
        agree = sure & _close(expected, found, MAX_OFF, MAX_TURN)
        known = _close(expected[:, None], self._places, NEAR, NEAR_TURN).any(-1)
        return agree, agree | known


def _anchor(view: View) -> Array:
    return geometry.compose(view.memory_T_view, geometry.inverse(view.odom_T_view))


def _close(a: Array, b: Array, distance: float, turn: float) -> NDArray[np.bool_]:
    step = a - b
    near: NDArray[np.bool_] = np.hypot(step[..., 0], step[..., 1]) < distance
    return near & (np.abs(geometry.wrap_angle(step[..., 2])) < turn)


def _from_several_sides(views: list[View]) -> bool:
    poses = np.array([view.odom_T_view for view in views])
    step = poses[:, None] - poses
    return bool(
        np.hypot(step[..., 0], step[..., 1]).max() >= SPAN
        or np.abs(geometry.wrap_angle(step[..., 2])).max() >= TURN
    )


def _mean_anchor(views: list[View], odom_T_now: Array) -> Array:
    """The anchor by which the camera is now where the views say on average."""
    now = np.array([geometry.compose(_anchor(view), odom_T_now) for view in views])
    mean = now.mean(axis=0)
    mean[2] = now[0, 2] + geometry.wrap_angle(now[:, 2] - now[0, 2]).mean()
    return geometry.compose(mean, geometry.inverse(odom_T_now))
