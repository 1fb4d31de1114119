"""Images that wait for their odometry, and which of them go where too many wait: no ROS, no node."""

from __future__ import annotations

import queue
from itertools import pairwise

import pytest

from kinaema_ros.nodes.memory.worker import PatientWorker


@pytest.mark.parametrize(("every", "lag", "largest_hole"), [(66, 450, 66), (66, 900, 300), (33, 900, 300)])
def test_odometry_that_lags_leaves_no_holes_that_a_robot_could_miss_a_place_in(
    every, lag, largest_hole
) -> None:
    """Milliseconds. At 1 m/s a hole of 300 ms is one keyframe's step."""
    arrived = -1
    done: queue.Queue[int] = queue.Queue()
    worker: PatientWorker[int] = PatientWorker(done.put, lambda stamp, _: stamp <= arrived, "test")
    waiting: set[int | None] = set()
    used: list[int] = []
    for stamp in range(0, 9000, every):
        waiting.add(stamp)
        waiting.discard(worker.submit(stamp, stamp))
        arrived = stamp - lag
        worker.wake()
        for due in sorted(s for s in waiting if s is not None and s <= arrived):
            assert done.get(timeout=10) == due
            used.append(due)
            waiting.discard(due)
    worker.stop()
    assert len(used) > 20
    assert max(after - before for before, after in pairwise(used)) <= largest_hole


def test_one_that_is_not_ready_does_not_hold_up_the_others() -> None:
    done: queue.Queue[int] = queue.Queue()
    worker: PatientWorker[int] = PatientWorker(done.put, lambda item, _: item != 1, "test")
    for item in (1, 2, 3):
        worker.submit(item, item)
    assert [done.get(timeout=10) for _ in range(2)] == [2, 3]
    worker.stop()


def test_one_that_nothing_comes_for_is_worked_on_when_it_has_waited_long_enough() -> None:
    done: queue.Queue[int] = queue.Queue()
    worker: PatientWorker[int] = PatientWorker(done.put, lambda _, waited: waited >= 0.1, "test")
    worker.submit(1, 1)
    assert done.get(timeout=10) == 1
    worker.stop()
