"""Anchoring: where an odometry that starts anew lies in a memory, and what must never pass for it."""

from __future__ import annotations

import math

import numpy as np

from kinaema_ros import geometry
from kinaema_ros.anchoring import AGREEING, Anchoring, View
from kinaema_ros.geometry import Array

MEMORY_T_ODOM = np.array([4.0, -2.0, 2.5])
WAY = np.stack([np.linspace(0.0, 6.0, 25), np.zeros(25), np.zeros(25)], axis=-1)  # by odometry, straight on
PLACES = geometry.compose(MEMORY_T_ODOM, WAY)  # that the memory knows all along it


def seen_there(odom_T_view: Array, anchor: Array = MEMORY_T_ODOM, confidence: float = 0.9) -> View:
    return View(odom_T_view, geometry.compose(anchor, odom_T_view), confidence)


def feed(anchoring: Anchoring, views: list[View]) -> list[bool]:
    """Whether it was anchored after each view."""
    anchored = []
    for view in views:
        if anchoring.wants(view.odom_T_view):
            anchoring.add(view)
        anchored.append(anchoring.memory_T_odom is not None)
    return anchored


def test_a_few_agreeing_views_anchor_the_odometry_where_they_say() -> None:
    anchoring = Anchoring(PLACES)
    assert anchoring.missing == f"0 of {AGREEING} agreeing views; turn or drive on"
    anchored = feed(anchoring, [seen_there(pose) for pose in WAY[:10]])
    assert anchored.index(True) == 8  # two metres on
    assert anchoring.memory_T_odom is not None
    np.testing.assert_allclose(anchoring.memory_T_odom, MEMORY_T_ODOM, atol=1e-6)


def test_a_robot_that_stands_still_is_not_localized() -> None:
    anchoring = Anchoring(PLACES)
    assert not any(feed(anchoring, [seen_there(WAY[0])] * 50))
    assert anchoring.missing.startswith("1 of")


def test_views_of_one_spot_are_not_enough() -> None:
    small_steps = np.stack([np.linspace(0.0, 1.9, 9), np.zeros(9), np.zeros(9)], axis=-1)
    assert not any(feed(Anchoring(PLACES), [seen_there(pose) for pose in small_steps]))


def test_turning_on_the_spot_is_enough_once_the_views_show_much_of_the_room() -> None:
    turning = [np.array([0.0, 0.0, math.radians(angle)]) for angle in range(0, 180, 15)]
    anchoring = Anchoring(geometry.compose(MEMORY_T_ODOM, np.array(turning)))
    anchored = feed(anchoring, [seen_there(pose) for pose in turning])
    assert anchored.index(True) == 8  # 120 degrees on


def test_unsure_and_contradicting_views_do_not_anchor() -> None:
    unsure = [seen_there(pose, confidence=0.4) for pose in WAY]
    assert not any(feed(Anchoring(PLACES), unsure))
    rng = np.random.default_rng(0)
    anywhere = [View(pose, rng.uniform(-9, 9, 3), 0.9) for pose in WAY]
    assert not any(feed(Anchoring(PLACES), anywhere))


def test_a_look_alike_is_not_believed_where_the_places_around_it_are_not_found() -> None:
    """Every third view looks like a place elsewhere; between them the memory knows the way and does not find it."""
    wrong = geometry.compose([5.0, 5.0, math.pi / 2], MEMORY_T_ODOM)
    anchoring = Anchoring(np.concatenate([PLACES, geometry.compose(wrong, WAY)]))
    views = [
        seen_there(pose, wrong, 0.95 if number % 3 == 0 else 0.05) for number, pose in enumerate(WAY[:15])
    ]
    assert not any(feed(anchoring, views))


def test_places_that_are_not_known_do_not_speak_against_an_anchor() -> None:
    """Every second view is aside, where the memory knows nothing, and is taken for a place elsewhere."""
    views = [
        View(pose + np.array([0.0, 0.0, math.pi / 2]), np.array([-9.0, number, 0.0]), 0.9)
        if number % 2
        else seen_there(pose)
        for number, pose in enumerate(WAY)
    ]
    assert any(feed(Anchoring(PLACES), views[:12]))


def test_the_anchor_follows_the_drift_and_is_given_up_where_the_world_contradicts_it() -> None:
    anchoring = Anchoring(PLACES)
    drifting = [MEMORY_T_ODOM + np.array([0.03 * n, 0.0, 0.004 * n]) for n in range(len(WAY))]
    drifting_views = [seen_there(pose, drift) for pose, drift in zip(WAY, drifting, strict=True)]
    anchored = feed(anchoring, drifting_views)
    assert anchored[-1]
    assert all(anchored[anchored.index(True) :])
    back = [View(pose, np.array([-9.0, -9.0, 0.0]), 0.1) for pose in WAY[::-1]]
    assert not feed(anchoring, back)[-1]
    assert anchoring.missing.startswith("0 of")
