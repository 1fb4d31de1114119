"""What RViz shows of the nodes: a pose with its 90 % ellipse, a goal, a line of text."""

from __future__ import annotations

import math

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import ArrayLike
from visualization_msgs.msg import Marker, MarkerArray

from kinaema_ros.estimate import Estimate, Place
from kinaema_ros.geometry import Array
from kinaema_ros.nodes.support.messages import pose_msg, time_msg

# Square root of the 90 % quantile of chi-square with two degrees of freedom: -2 ln(0.1) under the root.
_SCALE_90 = math.sqrt(-2.0 * math.log(0.1))


def estimate_markers(estimate: Estimate) -> MarkerArray:
    """An arrow at each pose and its 90 % ellipse, from red (not sure) to green (sure); alternatives are paler.

    The first marker deletes those of the answer before, which may have had more alternatives.
    """
    wipe = Marker(action=Marker.DELETEALL, ns="kinaema_estimate")
    wipe.header.frame_id, wipe.header.stamp = estimate.frame_id, time_msg(estimate.stamp_ns)
    words = f"{100 * estimate.confidence:.0f} % sure, seen {100 * estimate.seen:.0f} %"
    markers = [
        wipe,
        *_place_markers(estimate, 0, estimate.pose, estimate.covariance, estimate.confidence, words),
    ]
    for number, other in enumerate(estimate.alternatives, start=1):
        words = f"or here: {100 * other.confidence:.0f} %"
        markers += _place_markers(estimate, number, other.pose, other.covariance, other.confidence, words)
    return MarkerArray(markers=markers)


def _place_markers(
    estimate: Estimate, number: int, pose: ArrayLike, covariance: Array, confidence: float, words: str
) -> list[Marker]:
    pose, first = np.asarray(pose, dtype=np.float64), 3 * number
    frame_id, stamp = estimate.frame_id, time_msg(estimate.stamp_ns)
    arrow = _marker("kinaema_estimate", first, Marker.ARROW, pose, frame_id, stamp)
    arrow.scale.x, arrow.scale.y, arrow.scale.z = 0.6, 0.1, 0.1
    major, minor, direction = ellipse_90(covariance)
    along = np.array([pose[0], pose[1], direction])
    ellipse = _marker("kinaema_estimate", first + 1, Marker.CYLINDER, along, frame_id, stamp)
    ellipse.scale.x, ellipse.scale.y, ellipse.scale.z = 2.0 * major, 2.0 * minor, 0.02
    text = _text("kinaema_estimate", first + 2, words, pose, frame_id, stamp)
    for marker in (arrow, ellipse, text):
        marker.color.r, marker.color.g, marker.color.b = 1.0 - confidence, confidence, 0.1
        marker.color.a = 1.0 if number == 0 else 0.5
    ellipse.color.a = 0.35 if number == 0 else 0.15
    return [arrow, ellipse, text]


def ellipse_90(covariance: Array) -> tuple[float, float, float]:
    """Half axes (m), the longer one first, and that one's direction (rad) of the ellipse that holds 90 % of a pose.

    covariance: (3, 3) over x, y, yaw.
    """
    variances, axes = np.linalg.eigh(covariance[:2, :2])  # ascending
    minor, major = _SCALE_90 * np.sqrt(np.maximum(variances, 1e-6))
    return float(major), float(minor), math.atan2(axes[1, 1], axes[0, 1])


def status_marker(text: str, robot: ArrayLike, frame_id: str, stamp: Time) -> Marker:
    """What the memory does, in words above the robot."""
    return _text("kinaema_status", 0, text, robot, frame_id, stamp)


def place_markers(places: list[Place], frame_id: str, stamp: Time) -> list[Marker]:
    """The names of the places whose poses are known; the first marker deletes those of before."""
    wipe = Marker(action=Marker.DELETEALL, ns="kinaema_places")
    wipe.header.frame_id, wipe.header.stamp = frame_id, stamp
    known = [(place.name, place.pose) for place in places if place.pose is not None]
    return [wipe] + [
        _text("kinaema_places", number, name, pose, frame_id, stamp)
        for number, (name, pose) in enumerate(known)
    ]


def goal_marker(pose: ArrayLike, frame_id: str, stamp: Time) -> Marker:
    """The goal that Nav2 drives to."""
    marker = _marker("kinaema_goal", 0, Marker.ARROW, pose, frame_id, stamp)
    marker.scale.x, marker.scale.y, marker.scale.z = 0.8, 0.15, 0.15
    marker.color.r, marker.color.g, marker.color.b = 0.1, 0.4, 1.0
    return marker


def _text(namespace: str, number: int, text: str, pose: ArrayLike, frame_id: str, stamp: Time) -> Marker:
    marker = _marker(namespace, number, Marker.TEXT_VIEW_FACING, pose, frame_id, stamp)
    marker.pose.position.z = 0.8
    marker.scale.z = 0.2
    marker.text = text
    return marker


def _marker(namespace: str, number: int, kind: int, pose: ArrayLike, frame_id: str, stamp: Time) -> Marker:
    marker = Marker(type=kind, action=Marker.ADD, ns=namespace, id=number, pose=pose_msg(pose))
    marker.header.frame_id, marker.header.stamp = frame_id, stamp
    marker.color.r = marker.color.g = marker.color.b = marker.color.a = 1.0
    return marker
