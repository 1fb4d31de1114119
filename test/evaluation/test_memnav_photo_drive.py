"""The drive to a photo, without ROS: when it refuses, asks, corrects itself, and ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from kinaema_ros.comparison import Comparison, Verdict
from kinaema_ros.errors import KinaemaError
from kinaema_ros.estimate import Alternative, Estimate
from kinaema_ros.navigation.errors import (
    DriveTimeout,
    NavigationError,
    NoAnswer,
    NotReached,
    NotSeen,
    NotSure,
    OtherPlace,
)
from kinaema_ros.navigation.photo_drive import Check, DriveLimits, PhotoDrive, refuse_unsure

RECOGNISED = Comparison(Verdict.RECOGNISED, "a place that was named has no photo")
ANOTHER = Comparison(Verdict.OTHER_PLACE, "2 points of 400")
DARK = Comparison(Verdict.UNDECIDED, "too little to see")


def said(x: float, metres: float = 0.1, seen: float = 0.9, confidence: float = 0.8) -> Estimate:
    return Estimate((x, 0.0, 0.0), np.diag([metres**2, metres**2, 0.01]), seen, min(seen, confidence))


def with_look_alike(answer: Estimate, x: float, confidence: float) -> Estimate:
    other = Alternative((x, 1.5, np.pi / 2), answer.covariance, confidence)
    return replace(answer, alternatives=(*answer.alternatives, other))


class World:
    """A robot that is ``beside`` its goal ``seconds_to_goal`` after it was sent there, as its odometry has it after the
    last of the metres and radians given; the clock ticks once a look. On each arrival its camera sees the next of ``views``."""

    travelled = 0.0

    def __init__(
        self,
        *answers: Estimate | NoAnswer,
        seconds_to_goal: float = 5.0,
        beside: Sequence[tuple[float, float]] = ((0.0, 0.0),),
        views: Sequence[Comparison | NoAnswer] = (RECOGNISED,),
    ):
        self.answers, self.seconds_to_goal, self.beside = list(answers), seconds_to_goal, list(beside)
        self.views = list(views)
        self.seconds, self.sent_at, self.sent, self.warnings = 0.0, 0.0, [], []
        self.drive = PhotoDrive(self, lambda: self.seconds, warn=self.warnings.append)

    def ask(self, check: Check) -> Estimate:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, NoAnswer):
            raise answer
        return answer

    def send(self, pose: np.ndarray, check: Check) -> None:
        y, yaw = self.beside.pop(0) if len(self.beside) > 1 else self.beside[0]
        self.pose = pose + np.array([0.0, y, yaw])
        self.sent.append(float(pose[0]))
        self.sent_at = self.seconds

    def compare(self, check: Check) -> Comparison:
        view = self.views.pop(0) if len(self.views) > 1 else self.views[0]
        if isinstance(view, NoAnswer):
            raise view
        return view

    def arrived(self) -> bool:
        return self.seconds >= self.sent_at + self.seconds_to_goal

    def run(self, **limits: float) -> PhotoDrive:
        for _ in self.drive.run(DriveLimits(**limits)):  # type: ignore[arg-type]
            self.seconds += 1.0
        return self.drive


def test_it_asks_at_first_every_few_seconds_and_on_arrival():
    world = World(said(4.0), seconds_to_goal=8.0)
    drive = world.run(requery_period=3.0)
    assert world.sent == [4.0]
    assert world.seconds == 8.0
    assert drive.queries == 1 + 2 + 1


def test_a_photo_of_an_unseen_place_moves_nothing():
    world = World(said(4.0, seen=0.49))
    with pytest.raises(NotSeen, match=r"0\.49"):
        world.run()
    assert not world.sent


def test_a_photo_of_two_places_moves_nothing_and_names_them_both():
    answer = with_look_alike(said(4.0, seen=0.95, confidence=0.41), -2.25, 0.38)
    world = World(answer)
    with pytest.raises(NotSure) as refused:
        world.run()
    words = str(refused.value)
    assert "(4.00 m, 0.00 m, 0 deg) with probability 0.41" in words
    assert "or else (-2.25 m, 1.50 m, 90 deg) with probability 0.38" in words
    assert "at least 0.50" in words
    assert not world.sent


def test_a_place_without_a_look_alike_is_not_sure_without_naming_another():
    with pytest.raises(NotSure) as refused:
        refuse_unsure(said(4.0, confidence=0.3), DriveLimits())
    assert "or else" not in str(refused.value)


def test_a_place_that_was_hardly_seen_is_not_seen_whatever_else_it_is():
    with pytest.raises(NotSeen):
        refuse_unsure(said(4.0, seen=0.2), DriveLimits(min_confidence=1.0))


def test_what_is_sure_enough_for_the_goal_is_driven_to():
    unsure = with_look_alike(said(4.0, seen=0.9, confidence=0.4), -2.0, 0.3)
    assert World(unsure).run(min_confidence=0.4).confidence == 0.4
    assert World(said(4.0, seen=0.3, confidence=0.3)).run(min_seen=0.3, min_confidence=0.0).seen == 0.3
    with pytest.raises(NotSure, match=r"at least 0\.90"):
        World(said(4.0, confidence=0.8)).run(min_confidence=0.9)


def test_a_goal_that_moved_by_more_than_its_tolerance_is_sent_again():
    assert World(said(4.0, 0.5), said(4.2)).run(position_tolerance=0.25).queries == 3
    world = World(said(4.0, 0.5), said(4.6))
    world.run(position_tolerance=0.25)
    assert len(world.sent) == 2
    assert world.sent[1] == pytest.approx(4.6, abs=0.1)


def test_corrections_after_arrival_come_to_an_end():
    """Answers that grow sharper and move on each time would send a robot round for ever."""
    answers = [said(4.0 + 0.4 * k, 1.0 / 2**k) for k in range(8)]
    world = World(*answers, seconds_to_goal=1.0)
    world.run(max_corrections=2, requery_period=60.0, position_tolerance=0.1)
    assert len(world.sent) == 3
    assert any("after 2 corrections" in words for words in world.warnings)


@pytest.mark.parametrize("beside", [(0.44, 0.0), (0.0, -0.4)])
def test_a_robot_that_arrived_beside_its_goal_is_sent_there_again(beside: tuple[float, float]):
    world = World(said(4.0), beside=[beside, beside, (0.2, 0.1)])
    world.run()
    assert world.sent == [4.0, 4.0, 4.0]


def test_a_robot_that_always_arrives_beside_its_goal_has_not_arrived():
    world = World(said(4.0), beside=[(0.44, 0.1)])
    with pytest.raises(NotReached) as ended:
        world.run(max_corrections=2)
    assert len(world.sent) == 3
    for words in ("0.44 m", "6 deg", "sent there 3 times", "0.25 m and 15 deg are tolerated"):
        assert words in str(ended.value)
    assert World(said(4.0), beside=[(0.44, 0.1)]).run(position_tolerance=0.5).queries == 3


def recognised(x: float) -> Comparison:
    return replace(RECOGNISED, pose=(x, 0.0, 0.0), covariance=np.diag([0.01, 0.01, 0.001]))


def test_a_robot_whose_camera_sees_another_place_goes_to_the_next_one_and_is_there():
    answer = with_look_alike(said(4.0), -2.0, 0.1)
    world = World(answer, views=[ANOTHER, RECOGNISED])
    drive = world.run()
    assert world.sent == [4.0, -2.0]
    assert [tried[0] for tried in drive.tried] == [4.0]
    assert not drive.doubt
    assert any("(4.00 m, 0.00 m, 0 deg), but not at the photo's place: 2 points" in w for w in world.warnings)


def test_answers_on_the_way_to_the_next_place_do_not_call_the_robot_back_to_where_it_was():
    answer = with_look_alike(said(4.0), -2.0, 0.1)
    world = World(answer, views=[ANOTHER, RECOGNISED], seconds_to_goal=10.0)
    world.run(requery_period=1.0)
    assert world.sent == [4.0, -2.0]


def test_an_alternative_of_the_first_answer_is_tried_where_the_newest_names_none():
    world = World(with_look_alike(said(4.0), -2.0, 0.1), said(4.0), views=[ANOTHER, RECOGNISED])
    assert world.run().queries > 2
    assert world.sent == [4.0, -2.0]


def test_a_robot_that_saw_other_places_wherever_it_was_names_them():
    answer = with_look_alike(with_look_alike(said(4.0), -2.0, 0.1), 7.0, 0.001)
    world = World(answer, views=[ANOTHER])
    with pytest.raises(OtherPlace) as ended:
        world.run()
    assert "(4.00 m, 0.00 m, 0 deg), (-2.00 m, 1.50 m, 90 deg)" in str(ended.value)
    assert world.sent == [4.0, -2.0]  # what is hardly likely is not worth a drive
    assert len(world.drive.tried) == 2


@pytest.mark.parametrize("view", [DARK, NoAnswer("no image has come")])
def test_where_the_camera_cannot_tell_the_odometry_counts_and_the_drive_says_so(view):
    world = World(said(4.0), views=[view])
    drive = world.run()
    assert world.sent == [4.0]
    assert drive.doubt.startswith("not confirmed by the camera: ")
    assert str(view.why if isinstance(view, Comparison) else view) in drive.doubt


def test_a_named_place_which_has_no_photo_to_compare_with_is_reached_where_the_robot_stands_at_it():
    world = World(said(4.0), views=[Comparison(Verdict.RECOGNISED, "a place that was named")])
    drive = world.run()
    assert world.sent == [4.0]
    assert (drive.doubt, drive.tried) == ("", [])


def test_the_next_place_must_be_recognised():
    world = World(with_look_alike(said(4.0), -2.0, 0.1), views=[ANOTHER, DARK])
    with pytest.raises(OtherPlace):
        world.run()
    assert not world.drive.doubt


def test_a_robot_that_recognises_the_photo_from_beside_it_goes_there():
    world = World(said(4.0), views=[recognised(5.7), recognised(5.7)])
    drive = world.run()
    assert world.sent == [4.0, 5.7]  # whatever the memory says of the place where it was
    assert [tried[0] for tried in drive.tried] == [4.0]


def test_a_photo_recognised_from_ever_farther_on_is_not_reached():
    world = World(said(4.0), views=[recognised(4.0 + 1.5 * k) for k in range(1, 9)])
    with pytest.raises(OtherPlace):
        world.run(max_corrections=2)
    assert world.sent == [4.0, 5.5, 7.0]
    assert [tried[0] for tried in world.drive.tried] == [4.0, 5.5, 7.0]


def test_the_robot_drives_on_while_the_memory_is_silent_and_past_answers_that_do_not_know_the_photo():
    world = World(said(4.0), NoAnswer("restarting"), said(9.0, seen=0.1), said(4.0))
    drive = world.run(requery_period=1.0)
    assert world.sent == [4.0]
    assert drive.seen == 0.9
    assert ["restarting" in words or "0.10" in words for words in world.warnings] == [True, True]


def test_an_answer_on_the_way_that_is_not_sure_is_not_used():
    world = World(said(4.0), said(9.0, confidence=0.2), said(4.0))
    drive = world.run(requery_period=1.0)
    assert world.sent == [4.0]
    assert drive.confidence == 0.8
    assert any("sure with 0.20 only" in words for words in world.warnings)


def test_a_memory_that_is_silent_at_first_is_the_callers_affair():
    with pytest.raises(NoAnswer):
        World(NoAnswer("empty")).run()


def test_a_drive_that_takes_too_long_is_ended():
    world = World(said(4.0), seconds_to_goal=1e9)
    with pytest.raises(DriveTimeout, match="20 s"):
        world.run(goal_timeout=20.0)
    assert world.seconds == 21.0


def test_a_wait_for_the_memory_or_the_planner_ends_with_the_drive():
    class Waiting(World):
        def ask(self, check: Check) -> Estimate:
            while self.sent:
                self.seconds += 1.0
                check()
            return super().ask(check)

    with pytest.raises(DriveTimeout, match="20 s"):
        Waiting(said(4.0), seconds_to_goal=1e9).run(goal_timeout=20.0)


def test_the_codes_are_those_of_the_action():
    codes = pytest.importorskip("kinaema_interfaces.action").NavigateToImage.Result
    assert NavigationError("").code == codes.UNKNOWN
    assert issubclass(NavigationError, KinaemaError)
    assert [end("").code for end in (NotSeen, NotSure, NotReached, OtherPlace, NoAnswer, DriveTimeout)] == [
        codes.NOT_SEEN,
        codes.NOT_SURE,
        codes.NOT_REACHED,
        codes.OTHER_PLACE,
        codes.QUERY_FAILED,
        codes.TIMEOUT,
    ]


@pytest.mark.parametrize(
    "limits",
    [
        {"min_seen": 1.5},
        {"min_confidence": -0.1},
        {"position_tolerance": -0.1},
        {"yaw_tolerance": float("nan")},
    ],
)
def test_limits_that_make_no_sense_are_refused(limits):
    with pytest.raises(ValueError, match=next(iter(limits))):
        DriveLimits(**limits)
