"""Replaying a recording: its frames go into the memory, which is then asked the queries, and evaluated.

`remember_and_ask` does it with a `SpatialMemory` in this process, `nodes.client.player.play` with a running
memory_node. Both return an `Outcome`, which `evaluate` turns into the result that `kinaema replay`
prints, plots and writes. All answers are in the robot's frame at the drive's last frame, `robot_T_query`.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from kinaema_ros import geometry, metrics
from kinaema_ros.camera import Intrinsics, Mount, crop
from kinaema_ros.errors import InputError
from kinaema_ros.estimate import Estimate
from kinaema_ros.geometry import Array
from kinaema_ros.images import RGB, checked_image, read_image
from kinaema_ros.keyframes import KeyframeConfig, KeyframeSelector
from kinaema_ros.odometry import told
from kinaema_ros.photos import photo_camera
from kinaema_ros.replay.bag import BagError, Frame, Recording
from kinaema_ros.replay.queries import Query
from kinaema_ros.reporting import alternative_record
from kinaema_ros.stamps import NANOSECONDS

if TYPE_CHECKING:
    from kinaema_ros.memory import SpatialMemory
    from kinaema_ros.model.mount_check import MountError

# A progress bar: takes the items, their number and what is done with them, as tqdm does; yields the items.
Progress = Callable[..., Iterable[Any]]


UNKNOWN_ASPECT = (4, 3)  # of a camera without camera_info, before its first image
NEARBY = 3.0  # metres from the robot, within which photos tell how well it is localized
UNANSWERED = Estimate(
    (0.0, 0.0, 0.0), np.diag([1e6, 1e6, 10.0]), 0.0, 0.0, odom_pose=(0.0, 0.0, 0.0)
)  # nothing is known


def no_progress(items: Iterable[Any], **_: object) -> Iterable[Any]:
    """The `Progress` that shows nothing."""
    return items


@dataclass(frozen=True)
class Localization:
    """When a memory of an earlier drive knew where the robot is, since the first image, and how well."""

    after_s: float
    after_m: float  # metres by odometry
    # Median errors, in metres and radians, of answers about photos within NEARBY at that moment; NaN where there are none.
    error: tuple[float, float]


@dataclass(frozen=True)
class Outcome:
    """The result of a replay. Latencies are medians in milliseconds; counts are of frames."""

    answers: list[Estimate]
    last_stamp_ns: int
    last_odom_pose: Array
    used: int
    skipped: int
    dropped: dict[str, int]
    update_ms: float
    query_ms: float
    state_bytes: int
    localization: Localization | None = None  # None also where the memory was empty at first
    answered: bool = True  # False: it was never known where the robot is, and ``answers`` say nothing
    mount_error: MountError | None = None  # None also through ROS, where the node tells


@dataclass(frozen=True)
class Cut:
    """The middle of pictures that is used, to see what a narrower camera would do. Radians; None down: the same aspect."""

    hfov: float
    vfov: float | None = None

    def __call__(self, rgb: RGB, camera: Intrinsics) -> tuple[RGB, Intrinsics]:
        """The cut picture and its camera."""
        return crop(rgb, camera, self.hfov, self.vfov)


@dataclass(frozen=True)
class ReplayOptions:
    """What a replay does other than the recording says."""

    keyframes: KeyframeConfig = field(default_factory=KeyframeConfig)
    mount: Mount | None = None
    hfov: float = math.radians(90.0)  # of a camera without camera_info
    query_hfov: float | None = (
        None  # across the longer side of photos of which neither table nor EXIF data says it
    )
    cut: Cut | None = None  # of frames, and of photos by the robot's camera
    cut_queries: Cut | None = None  # of photos by the robot's camera
    stop_after: float = math.inf  # seconds of the drive


def remember_and_ask(
    recording: Recording,
    queries: Sequence[Query],
    memory: SpatialMemory,
    options: ReplayOptions | None = None,
    progress: Progress = no_progress,
) -> Outcome:
    """Stream the drive through a memory and ask it the queries at the end.

    The memory is empty, or one of an earlier drive that must localize first; where it never does, no query is answered.
    The camera's intrinsics are set from the bag where it has them. Raises ``InputError`` for a photo that is not usable,
    before the drive, and BagError if no frame can be used.
    """
    options = options or ReplayOptions()
    for query in queries:
        _photo(query, recording.camera or Intrinsics.from_hfov(*UNKNOWN_ASPECT, options.hfov), options)
    selector = KeyframeSelector(options.keyframes)
    skipped = 0
    undecodable: Counter[str] = Counter()
    update_ms: list[float] = []
    first: Frame | None = None
    last: Frame | None = None
    robot_camera: Intrinsics | None = None
    localization: Localization | None = None
    seeks = not memory.localized
    for frame in progress(
        recording.frames(), total=recording.image_topic.count, desc="remembering", unit="frame"
    ):
        try:
            rgb = frame.rgb()
        except InputError as error:
            undecodable[str(error)] += 1
            continue
        first = first or frame
        if frame.stamp_ns - first.stamp_ns > options.stop_after * NANOSECONDS:
            break
        last = frame
        if not selector.select(frame.stamp_ns, frame.odom_pose):
            skipped += 1
            continue
        height, width = rgb.shape[:2]
        robot_camera = recording.camera or Intrinsics.from_hfov(width, height, options.hfov)
        rgb, camera = _cut(rgb, robot_camera, options.cut)
        memory.set_camera(camera, options.mount)
        start = time.perf_counter()
        memory.update(rgb, frame.odom_pose, **told(frame.tilt))
        update_ms.append(1e3 * (time.perf_counter() - start))
        memory.check_mount()
        if not memory.localized:
            localization = None
        elif seeks and localization is None:
            localization = _localized(recording, first, frame, queries, memory, robot_camera, options)
    dropped = dict(recording.dropped + undecodable)
    if last is None or robot_camera is None:
        raise BagError(f"no image of {recording.image_topic.name} can be used: {reasons(dropped)}")

    answers: list[Estimate] = []
    query_ms: list[float] = []
    for query in progress(queries, total=len(queries), desc="asking", unit="query"):
        rgb, other = _photo(query, robot_camera, options)
        start = time.perf_counter()
        answer = memory.locate(rgb, camera=other) if memory.localized else UNANSWERED
        answers.append(seen_from(last.odom_pose, answer))
        query_ms.append(1e3 * (time.perf_counter() - start))
    return Outcome(
        answers,
        last.stamp_ns,
        last.odom_pose,
        used=len(update_ms),
        skipped=skipped,
        dropped=dropped,
        update_ms=float(np.median(update_ms)),
        query_ms=float(np.median(query_ms)),
        state_bytes=memory.state_bytes,
        localization=localization,
        answered=memory.localized,
        mount_error=memory.mount_error,
    )


def _localized(
    recording: Recording,
    first: Frame,
    frame: Frame,
    queries: Sequence[Query],
    memory: SpatialMemory,
    robot_camera: Intrinsics,
    options: ReplayOptions,
) -> Localization:
    """What it took until ``frame``, and how well the memory knows the places around it then."""
    stamps = np.array(recording.odom.stamps_ns)
    way = recording.odom.poses[(stamps >= first.stamp_ns) & (stamps <= frame.stamp_ns), :2]
    metres = float(np.hypot(*np.diff(way, axis=0).T).sum())
    truth = recording.truth.at(frame.stamp_ns) if recording.truth is not None else None
    errors = []
    for query in queries:
        if truth is None or not query.seen:
            continue
        true = geometry.between(truth, query.pose)
        if math.hypot(true[0], true[1]) < NEARBY:
            rgb, other = _photo(query, robot_camera, options)
            answer = seen_from(frame.odom_pose, memory.locate(rgb, camera=other))
            errors.append(metrics.pose_errors(answer.pose, true))
    position, yaw = np.median(np.array(errors), axis=0).tolist() if errors else (math.nan, math.nan)
    return Localization((frame.stamp_ns - first.stamp_ns) / NANOSECONDS, metres, (position, yaw))


def _cut(rgb: RGB, camera: Intrinsics, cut: Cut | None) -> tuple[RGB, Intrinsics]:
    return (rgb, camera) if cut is None else cut(rgb, camera)


def _photo(query: Query, robot_camera: Intrinsics, options: ReplayOptions) -> tuple[RGB, Intrinsics | None]:
    """A photo and the camera that took it; None: the robot's, as it was set for the frames. ``InputError`` names the file."""
    rgb = read_image(query.path)
    height, width = rgb.shape[:2]
    asked, usual = math.radians(query.hfov_deg), options.query_hfov or 0.0
    try:
        checked_image(rgb)
        other = photo_camera(query.path.read_bytes(), width, height, robot_camera, asked, usual)
    except InputError as error:
        raise InputError(f"{query.path}: {error}") from error
    if other is not None:
        return rgb, other
    if options.cut_queries is not None:
        return options.cut_queries(rgb, robot_camera)
    return _cut(rgb, robot_camera, options.cut)[0], None


def seen_from(odom_T_robot: Array, estimate: Estimate) -> Estimate:
    """Express an answer of `SpatialMemory.locate` in the robot's frame at odom_T_robot, a later moment.

    The last frame of a drive is seldom an update: the robot may have moved on by less than a keyframe's step.
    """
    assert estimate.odom_pose is not None
    odom_T_before = geometry.compose(estimate.odom_pose, geometry.inverse(estimate.pose))
    now_T_before = geometry.between(odom_T_robot, odom_T_before)

    def to_now(pose: Array, covariance: Array) -> tuple[Array, Array]:
        return (
            geometry.compose(now_T_before, pose),
            geometry.rotate_covariance(covariance, now_T_before[2]),
        )

    return estimate.moved(to_now)


def evaluate(recording: Recording, queries: Sequence[Query], outcome: Outcome) -> dict[str, Any]:
    """Compare the answers with the truth: `{"summary": {...}, "queries": [...]}`, ready for JSON.

    A query holds the file, the predicted robot_T_query as x, y, yaw (metres, radians) with its covariance,
    the predicted probability `seen`, the truth as true_x, true_y, true_yaw, true_seen, and error_m and
    error_deg. Of a query that was not answered pose, covariance and errors are None. Truth of pose and errors are None for
    unseen queries and where the bag has no ground truth.
    """
    truth = recording.truth.at(outcome.last_stamp_ns) if recording.truth is not None else None
    records = [_record(query, answer, truth) for query, answer in zip(queries, outcome.answers, strict=True)]
    if not outcome.answered:
        for record in records:
            record |= dict.fromkeys(("x", "y", "yaw", "covariance", "error_m", "error_deg"))
    located = [i for i, record in enumerate(records) if record["error_m"] is not None]
    covariances = np.array([outcome.answers[i].covariance for i in located]).reshape(-1, 3, 3)
    predicted = np.array([outcome.answers[i].pose for i in located]).reshape(-1, 3)
    true = np.array([_true_pose(records[i]) for i in located]).reshape(-1, 3)
    seen = np.array([query.seen for query in queries])
    probabilities = np.array([answer.seen for answer in outcome.answers])
    confidences = np.array([answer.confidence for answer in outcome.answers])
    right = np.array([_is_right(record) for record in records])
    summary = {
        "bag": str(recording.path),
        "image_topic": recording.image_topic.name,
        "odom_topic": recording.odom_topic.name,
        "truth_topic": recording.truth_topic.name if recording.truth_topic else None,
        "queries": len(queries),
        "queries_seen": int(seen.sum()),
        **metrics.accuracy_summary(*metrics.pose_errors(predicted, true)),
        **metrics.coverage_summary(metrics.ellipse_levels(predicted, true, covariances)),
        **metrics.decision_summary(probabilities, confidences, seen, right),
        "seen_ece": metrics.expected_calibration_error(probabilities, seen),
        "frames": recording.image_topic.count,
        "frames_used": outcome.used,
        "frames_skipped": outcome.skipped,
        "frames_dropped": sum(outcome.dropped.values()),
        "dropped": outcome.dropped,
        "update_ms": outcome.update_ms,
        "query_ms": outcome.query_ms,
        "state_bytes": outcome.state_bytes,
        **_localization(outcome.localization),
        "mount_yaw_error_deg": None if outcome.mount_error is None else math.degrees(outcome.mount_error.yaw),
    }
    return {"summary": summary, "queries": records}


def _localization(of: Localization | None) -> dict[str, float | None]:
    names = ("localized_after_s", "localized_after_m", "localization_error_m", "localization_error_deg")
    if of is None:
        return dict.fromkeys(names)
    values = (of.after_s, of.after_m, of.error[0], math.degrees(of.error[1]))
    return {name: None if math.isnan(value) else value for name, value in zip(names, values, strict=True)}


def _record(query: Query, answer: Estimate, map_T_robot: Array | None) -> dict[str, Any]:
    record: dict[str, Any] = {
        "file": query.file,
        "x": float(answer.pose[0]),
        "y": float(answer.pose[1]),
        "yaw": float(answer.pose[2]),
        "seen": answer.seen,
        "confidence": answer.confidence,
        "alternatives": [alternative_record(other) for other in answer.alternatives],
        "covariance": answer.covariance.tolist(),
        "true_seen": query.seen,
        **dict.fromkeys(("true_x", "true_y", "true_yaw", "error_m", "error_deg")),
    }
    if query.seen and map_T_robot is not None:
        true = geometry.between(map_T_robot, query.pose)
        position, yaw = metrics.pose_errors(answer.pose, true)
        record.update(true_x=float(true[0]), true_y=float(true[1]), true_yaw=float(true[2]))
        record.update(error_m=float(position), error_deg=float(np.degrees(yaw)))
    return record


def _is_right(record: dict[str, Any]) -> bool:
    """Whether the place was seen and the answer is near enough; False too where the bag has no truth."""
    if record["error_m"] is None:
        return False
    return bool(metrics.is_right(record["error_m"], math.radians(record["error_deg"])))


def _true_pose(record: dict[str, Any]) -> list[float]:
    return [record["true_x"], record["true_y"], record["true_yaw"]]


def reasons(dropped: dict[str, int]) -> str:
    """Why images were left out, in words."""
    return "; ".join(f"{count} x {reason}" for reason, count in dropped.items()) or "the topic is empty"
