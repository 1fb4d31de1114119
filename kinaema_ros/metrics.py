"""How good are poses, probabilities and covariances: the numbers that `evaluate`, `replay` and `demo` report.

numpy only. Accuracies and probabilities are fractions in [0, 1]; lengths are metres, angles radians unless a
key says `_deg`. Metrics over nothing (no queries, one class only) are None rather than a misleading number.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kinaema_ros import geometry
from kinaema_ros.geometry import Array

SUCCESS_DISTANCE = 1.0  # metres from a photo's viewpoint within which a robot that stopped has reached it
# Below either of these an answer is refused, unless a caller says otherwise.
MIN_SEEN, MIN_CONFIDENCE = 0.5, 0.5
CONFIDENT, RIGHT = 0.8, (1.0, math.radians(20.0))  # of a confidence; of an answer: metres and radians
# The levels of accuracy that are reported everywhere: key -> (metres, radians), both to be met.
ACCURACY_LEVELS = {
    "acc_0.25m_5deg": (0.25, math.radians(5.0)),
    "acc_0.5m_10deg": (0.5, math.radians(10.0)),
    "acc_1m_20deg": (1.0, math.radians(20.0)),
    "acc_2m_30deg": (2.0, math.radians(30.0)),
}
ACCURACY_NAMES = tuple(f"{m:g} m & {math.degrees(a):.0f} deg" for m, a in ACCURACY_LEVELS.values())


def pose_errors(predicted: ArrayLike, true: ArrayLike) -> tuple[Array, Array]:
    """Distance in metres and unsigned yaw difference in radians of poses (..., 3) in the same frame."""
    predicted, true = np.asarray(predicted, dtype=np.float64), np.asarray(true, dtype=np.float64)
    difference = predicted - true
    return np.hypot(difference[..., 0], difference[..., 1]), np.abs(geometry.wrap_angle(difference[..., 2]))


def accuracy_summary(position: ArrayLike, yaw: ArrayLike) -> dict[str, float | None]:
    """Medians and accuracies of errors as `pose_errors` gives them.

    Keys: median_position_m, median_yaw_deg, and those of ACCURACY_LEVELS. NaN counts as wrong.
    """
    position, yaw = np.ravel(np.asarray(position, float)), np.ravel(np.asarray(yaw, float))
    if position.shape != yaw.shape:
        raise ValueError(f"{position.size} errors of position but {yaw.size} of yaw")
    if not position.size:
        return {"median_position_m": None, "median_yaw_deg": None, **dict.fromkeys(ACCURACY_LEVELS)}
    summary: dict[str, float | None] = {
        "median_position_m": float(np.median(np.where(np.isnan(position), np.inf, position))),
        "median_yaw_deg": float(np.degrees(np.median(np.where(np.isnan(yaw), np.pi, yaw)))),
    }
    for key, (metres, radians) in ACCURACY_LEVELS.items():
        summary[key] = float(np.mean((position <= metres) & (yaw <= radians)))
    return summary


def auroc(scores: ArrayLike, positive: ArrayLike) -> float | None:
    """Probability that a positive scores above a negative, ties counting half; None if either is missing.

    The rank-sum form of the area under the ROC (Mann and Whitney 1947), exact with ties.
    """
    scores, positive = _scores_and_labels(scores, positive)
    positives = int(positive.sum())
    negatives = positive.size - positives
    if not positives or not negatives:
        return None
    _, which, counts = np.unique(scores, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts - 1) / 2
    rank_sum = mean_rank[which][positive].sum()
    return float((rank_sum - positives * (positives + 1) / 2) / (positives * negatives))


def decision_summary(
    seen: ArrayLike, confidence: ArrayLike, is_seen: ArrayLike, is_right: ArrayLike
) -> dict[str, float | None]:
    """How well a memory knows what it knows.

    seen, confidence: probabilities answered; is_seen: whether each place was seen; is_right: whether each answer is
    within RIGHT, False for unseen places. Keys: seen_auroc; accepted_seen and accepted_unseen, the shares of either kind
    at the default thresholds; confident_share, of the seen ones those with a confidence of CONFIDENT and more;
    confident_right, of all of these, unseen ones too, those that are right.
    """
    seen, confidence = np.ravel(np.asarray(seen, float)), np.ravel(np.asarray(confidence, float))
    is_seen, is_right = np.ravel(np.asarray(is_seen, bool)), np.ravel(np.asarray(is_right, bool))
    accepted = (seen >= MIN_SEEN) & (confidence >= MIN_CONFIDENCE)
    confident = confidence >= CONFIDENT
    return {
        "seen_auroc": auroc(seen, is_seen),
        "accepted_seen": _share(accepted[is_seen]),
        "accepted_unseen": _share(accepted[~is_seen]),
        "confident_share": _share(confident[is_seen]),
        "confident_right": _share(is_right[confident]),
    }


def is_right(position: ArrayLike, yaw: ArrayLike) -> NDArray[np.bool_]:
    """Which errors are within RIGHT."""
    return (np.asarray(position) <= RIGHT[0]) & (np.asarray(yaw) <= RIGHT[1])


def _share(flags: NDArray[np.bool_]) -> float | None:
    return float(flags.mean()) if flags.size else None


def success_weighted_by_path_length(
    success: ArrayLike, shortest: ArrayLike, driven: ArrayLike
) -> float | None:
    """SPL: mean of success * shortest / max(driven, shortest) over episodes, paths in metres; None without any.

    Anderson et al., "On Evaluation of Embodied Navigation Agents", arXiv 1807.06757, section 3.
    """
    shortest, driven = np.asarray(shortest, dtype=np.float64), np.asarray(driven, dtype=np.float64)
    if (shortest <= 0).any():
        raise ValueError("a shortest path must be longer than 0 m")
    parts = np.where(success, shortest / np.maximum(driven, shortest), 0.0)
    return float(parts.mean()) if parts.size else None


def refusal_threshold(seen: ArrayLike, false_refusals: float) -> float:
    """The score below which at most the share ``false_refusals`` of the scores of seen places lies, and no less."""
    ordered = np.sort(np.asarray(seen, dtype=np.float64))
    return float(ordered[min(math.floor(false_refusals * len(ordered)), len(ordered) - 1)])


def roc_curve(scores: ArrayLike, positive: ArrayLike) -> tuple[Array, Array, Array]:
    """False-positive rate, true-positive rate and threshold of every distinct decision `score >= threshold`.

    From (0, 0) at +inf to (1, 1) at the lowest score. Raises ValueError unless both classes are there.
    """
    scores, positive = _scores_and_labels(scores, positive)
    if not positive.any() or positive.all():
        raise ValueError("a ROC needs positives and negatives")
    order = np.argsort(-scores, kind="stable")
    last_of_value = np.append(np.diff(scores[order]) != 0, True)
    true = np.cumsum(positive[order])[last_of_value] / positive.sum()
    false = np.cumsum(~positive[order])[last_of_value] / (~positive).sum()
    thresholds = scores[order][last_of_value]
    return np.append(0.0, false), np.append(0.0, true), np.append(np.inf, thresholds)


def expected_calibration_error(probabilities: ArrayLike, positive: ArrayLike, bins: int = 10) -> float | None:
    """Mean gap between what a probability says and how often it comes true, over equal bins of [0, 1].

    Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017, equation 3.
    """
    probabilities, positive = _scores_and_labels(probabilities, positive)
    if not probabilities.size:
        return None
    if probabilities.min() < 0 or probabilities.max() > 1:
        raise ValueError("probabilities must be in [0, 1]")
    which = np.minimum((probabilities * bins).astype(int), bins - 1)
    gaps = np.bincount(which, weights=probabilities - positive, minlength=bins)
    return float(np.abs(gaps).sum() / probabilities.size)


def ellipse_levels(predicted: ArrayLike, true: ArrayLike, covariance: ArrayLike) -> Array:
    """For each pose the confidence level in [0, 1] of the position ellipse on whose border the truth lies.

    predicted, true: (N, 3); covariance: (N, 3, 3), of (x, y, yaw) in the axes of the poses' frame. With
    calibrated covariances the levels are uniform; the truth lies inside the p-ellipse where level <= p.
    In the plane the squared Mahalanobis distance is chi-square with 2 degrees: level = 1 - exp(-d^2 / 2).
    Raises ValueError where a covariance of position is not positive definite.
    """
    predicted, true = np.asarray(predicted, dtype=np.float64), np.asarray(true, dtype=np.float64)
    position = np.asarray(covariance, dtype=np.float64)[..., :2, :2]
    if not np.isfinite(position).all() or not np.all(
        (np.linalg.det(position) > 0) & (position[..., 0, 0] > 0)
    ):
        raise ValueError("a covariance of position is not positive definite")
    error = (predicted - true)[..., :2, None]
    distance2 = (np.swapaxes(error, -1, -2) @ np.linalg.solve(position, error))[..., 0, 0]
    return 1.0 - np.exp(-distance2 / 2)


def coverage_summary(levels: ArrayLike) -> dict[str, float | None]:
    """Calibration of covariances from `ellipse_levels`: ece, inside_50_ellipse, inside_90_ellipse.

    The shares of errors inside the 50 and 90 % ellipses, and the expected calibration error: the mean over
    p of |share inside the p-ellipse - p|, p = 0.05 ... 0.95 (Kuleshov, Fenner, Ermon, "Accurate
    Uncertainties for Deep Learning Using Calibrated Regression", ICML 2018, section 3, in absolute value).
    """
    levels = np.ravel(np.asarray(levels, dtype=np.float64))
    if not levels.size:
        return {"ece": None, "inside_50_ellipse": None, "inside_90_ellipse": None}
    nominal = np.linspace(0.05, 0.95, 19)
    return {
        "ece": float(np.mean(np.abs(coverage(levels, nominal) - nominal))),
        "inside_50_ellipse": float(np.mean(levels <= 0.5)),
        "inside_90_ellipse": float(np.mean(levels <= 0.9)),
    }


def coverage(levels: ArrayLike, nominal: ArrayLike) -> Array:
    """Share of the truths inside the ellipse of each nominal level; shape of `nominal`."""
    levels, nominal = np.ravel(np.asarray(levels, float)), np.asarray(nominal, float)
    return np.mean(levels <= nominal[..., None], axis=-1)


def _scores_and_labels(scores: ArrayLike, positive: ArrayLike) -> tuple[Array, NDArray[np.bool_]]:
    scores = np.ravel(np.asarray(scores, dtype=np.float64))
    labels = np.ravel(np.asarray(positive, dtype=bool))
    if scores.shape != labels.shape:
        raise ValueError(f"{scores.size} scores but {labels.size} labels")
    if np.isnan(scores).any():
        raise ValueError("a score is NaN")
    return scores, labels
