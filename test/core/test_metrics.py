"""The numbers that every evaluation reports, against their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinaema_ros import metrics

labelled_scores = st.lists(st.tuples(st.integers(-5, 5), st.booleans()), min_size=2, max_size=40).filter(
    lambda pairs: len({label for _, label in pairs}) == 2
)
probabilities = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=50)


@given(labelled_scores)
def test_auroc_is_the_probability_of_ranking_a_positive_above_a_negative(pairs):
    positives = [score for score, label in pairs if label]
    negatives = [score for score, label in pairs if not label]
    wins = sum((p > n) + 0.5 * (p == n) for p in positives for n in negatives)
    assert metrics.auroc(*zip(*pairs, strict=True)) == pytest.approx(wins / (len(positives) * len(negatives)))


@given(labelled_scores)
def test_area_under_the_roc_curve_is_the_auroc(pairs):
    scores, labels = zip(*pairs, strict=True)
    false_positive, true_positive, thresholds = metrics.roc_curve(scores, labels)
    area = np.sum(np.diff(false_positive) * (true_positive[1:] + true_positive[:-1]) / 2)
    assert area == pytest.approx(metrics.auroc(scores, labels))
    for f, t, threshold in zip(false_positive, true_positive, thresholds, strict=True):
        called = np.array(scores) >= threshold
        assert t == pytest.approx(called[np.array(labels)].mean())
        assert f == pytest.approx(called[~np.array(labels)].mean())


@given(labelled_scores, st.floats(0.1, 10), st.floats(-5, 5))
def test_auroc_depends_on_the_order_of_scores_alone(pairs, scale, offset):
    scores, labels = (np.array(column) for column in zip(*pairs, strict=True))
    assert metrics.auroc(scale * scores + offset, labels) == pytest.approx(metrics.auroc(scores, labels))
    assert metrics.auroc(-scores, labels) == pytest.approx(1 - metrics.auroc(scores, labels))


def test_auroc_of_one_class_is_not_a_number():
    assert metrics.auroc([0.2, 0.8], [True, True]) is None
    with pytest.raises(ValueError, match="positives and negatives"):
        metrics.roc_curve([0.2, 0.8], [True, True])


def test_scores_that_are_nan_or_do_not_match_their_labels_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        metrics.auroc([math.nan, 0.1], [True, False])
    with pytest.raises(ValueError, match="2 scores but 3 labels"):
        metrics.auroc([0.1, 0.2], [True, False, True])


@given(probabilities)
def test_calibration_error_is_the_mean_gap_over_bins(pairs):
    gaps = 0.0
    for index in range(10):
        low, high = index / 10, (index + 1) / 10
        inside = [(p, y) for p, y in pairs if low <= p < high or (index == 9 and p == 1.0)]
        if inside:
            gaps += abs(sum(p for p, _ in inside) - sum(y for _, y in inside))
    # A probability on a bin's border may be put on either side of it by rounding: skip those few.
    if all(abs(p * 10 - round(p * 10)) > 1e-9 or p in (0.0, 1.0) for p, _ in pairs):
        expected = gaps / len(pairs)
        assert metrics.expected_calibration_error(*zip(*pairs, strict=True)) == pytest.approx(expected)


def test_calibration_error_of_true_and_of_false_certainty():
    assert metrics.expected_calibration_error([1.0, 0.0, 1.0], [True, False, True]) == 0.0
    assert metrics.expected_calibration_error([1.0, 0.0], [False, True]) == 1.0
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        metrics.expected_calibration_error([1.2], [True])


def test_pose_errors_take_the_shorter_way_round():
    position, yaw = metrics.pose_errors([[3.0, 4.0, math.pi - 0.1]], [[0.0, 0.0, -math.pi + 0.1]])
    assert position == pytest.approx([5.0])
    assert yaw == pytest.approx([0.2])


def test_accuracy_needs_both_position_and_heading():
    position = [0.2, 0.4, 0.9, 1.9, 5.0, math.nan]
    yaw = np.radians([4.0, 15.0, 19.0, 29.0, 1.0, 0.0])
    summary = metrics.accuracy_summary(position, yaw)
    assert summary["acc_0.25m_5deg"] == pytest.approx(1 / 6)
    assert summary["acc_0.5m_10deg"] == pytest.approx(1 / 6)
    assert summary["acc_1m_20deg"] == pytest.approx(3 / 6)
    assert summary["acc_2m_30deg"] == pytest.approx(4 / 6)
    assert summary["median_position_m"] == pytest.approx(1.4)  # NaN counts as infinitely far
    assert summary["median_yaw_deg"] == pytest.approx(9.5)


def test_the_finest_level_of_accuracy_is_a_quarter_of_a_metre_and_five_degrees():
    position, yaw = [0.24, 0.26, 0.24, 0.0], np.radians([4.9, 4.9, 5.1, 0.0])
    assert metrics.accuracy_summary(position, yaw)["acc_0.25m_5deg"] == 0.5
    assert metrics.ACCURACY_NAMES[0] == "0.25 m & 5 deg"


def test_an_answer_is_right_within_a_metre_and_twenty_degrees():
    position, yaw = [0.99, 1.01, 0.5, math.nan], np.radians([19.0, 0.0, 21.0, 0.0])
    assert metrics.is_right(position, yaw).tolist() == [True, False, False, False]


def test_decisions_are_counted_over_what_was_seen_and_over_what_was_confident():
    # four places that were seen, two that were not
    seen = [0.9, 0.95, 0.6, 0.3, 0.85, 0.1]
    confidence = [0.9, 0.85, 0.45, 0.2, 0.82, 0.1]
    is_seen = [True] * 4 + [False] * 2
    is_right = [True, False, True, True, False, False]
    summary = metrics.decision_summary(seen, confidence, is_seen, is_right)
    assert summary["seen_auroc"] == pytest.approx(6 / 8)
    assert summary["accepted_seen"] == pytest.approx(2 / 4)
    assert summary["accepted_unseen"] == pytest.approx(1 / 2)
    assert summary["confident_share"] == pytest.approx(2 / 4)
    assert summary["confident_right"] == pytest.approx(1 / 3)


def test_decisions_about_nothing_are_not_numbers():
    assert set(metrics.decision_summary([], [], [], []).values()) == {None}
    one_kind = metrics.decision_summary([0.6], [0.55], [True], [True])
    assert one_kind["accepted_seen"] == 1.0
    assert one_kind["confident_share"] == 0.0
    assert (one_kind["seen_auroc"], one_kind["accepted_unseen"], one_kind["confident_right"]) == (None,) * 3


def test_accuracy_of_no_queries_is_not_a_number():
    assert set(metrics.accuracy_summary([], []).values()) == {None}
    assert set(metrics.coverage_summary([]).values()) == {None}
    with pytest.raises(ValueError, match="1 errors of position but 2 of yaw"):
        metrics.accuracy_summary([1.0], [1.0, 2.0])


def test_ellipses_hold_the_share_of_errors_that_they_promise():
    rng = np.random.default_rng(0)
    factor = np.array([[0.8, 0.0, 0.0], [0.5, 0.2, 0.0], [0.1, 0.0, 0.3]])
    true = rng.normal(size=(4000, 3))
    predicted = true + rng.normal(size=(4000, 3)) @ factor.T
    covariances = np.broadcast_to(factor @ factor.T, (4000, 3, 3))
    calibrated = metrics.coverage_summary(metrics.ellipse_levels(predicted, true, covariances))
    assert calibrated["inside_50_ellipse"] == pytest.approx(0.5, abs=0.03)
    assert calibrated["inside_90_ellipse"] == pytest.approx(0.9, abs=0.02)
    assert calibrated["ece"] < 0.02
    too_sure = metrics.coverage_summary(metrics.ellipse_levels(predicted, true, covariances / 4))
    # Of a plane's normal errors a share 1 - (1 - p)^(1/4) lies inside an ellipse half as long as that of p.
    assert too_sure["inside_90_ellipse"] == pytest.approx(1 - 0.1**0.25, abs=0.03)
    assert too_sure["ece"] > 0.2


def test_ellipse_level_of_an_error_of_one_standard_deviation():
    level = metrics.ellipse_levels([[1.0, 0.0, 9.0]], [[0.0, 0.0, 0.0]], [np.eye(3)])
    assert level == pytest.approx([1 - math.exp(-0.5)])


@pytest.mark.parametrize("bad", [np.zeros((3, 3)), -np.eye(3), np.full((3, 3), math.nan)])
def test_a_covariance_that_is_none_is_refused(bad):
    with pytest.raises(ValueError, match="positive definite"):
        metrics.ellipse_levels([[0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0]], [bad])
