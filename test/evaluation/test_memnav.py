"""Mem-Nav without ROS: what is counted, who drives, and what a robot is told on its way."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from evaluation_support import shipped_network, small_network

from kinaema_ros import cli, geometry, metrics
from kinaema_ros.baselines.methods import KinaemaMethod, LastViews, NetworkEncoder, OwnPose, Retrieval
from kinaema_ros.camera import Intrinsics, Mount
from kinaema_ros.errors import InputError
from kinaema_ros.estimate import Estimate, as_pose
from kinaema_ros.evaluation.memnav import evaluate as memnav
from kinaema_ros.evaluation.memnav import rollout
from kinaema_ros.evaluation.memnav.agents import TYPICAL_STD, Agent, RobotMemory
from kinaema_ros.evaluation.memnav.episodes import Episode, MemnavConfig, Result, plan_building
from kinaema_ros.evaluation.memnav.pictures import HEIGHT, WIDTH, episode_picture, outcome, sheet
from kinaema_ros.evaluation.memnav.rollout import Exploration, by_memory, no_memory, observe
from kinaema_ros.images import RGB
from kinaema_ros.model.answer import Answer
from kinaema_ros.navigation.photo_drive import DriveLimits
from kinaema_ros.sim import OdometryNoise, explore, generate_scene, render
from kinaema_ros.sim.simulated_robot import SimulatedRobot
from kinaema_ros.training.drives import intrinsics, mounted

NOISE = OdometryNoise(0.02, 0.2)
CONFIG = MemnavConfig(seed=3, frames=100, goals=3)


@pytest.fixture(scope="module", autouse=True)
def fast() -> Iterator[None]:
    torch.set_num_threads(1)
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def ours() -> KinaemaMethod:
    network = shipped_network()
    return KinaemaMethod(network, NetworkEncoder(network))


@pytest.fixture(scope="module")
def explored(ours: KinaemaMethod) -> Exploration:
    plan = plan_building(CONFIG, 0)
    return rollout.explore(ours, plan, plan.odometry(NOISE, CONFIG.seed, 0), [1, 2, 3])


class Told:
    """A method that answers ``answer``, whatever it is asked, and keeps what it was shown."""

    def __init__(self, answer: Answer):
        self.answer = answer

    def encoder(self, rgb: RGB, camera: Intrinsics, mount: Mount | None) -> RGB:
        return rgb

    def start(self, capacity: int) -> list:
        return []

    def update(self, state: list, observation: Any, odometry: torch.Tensor) -> list:
        return [*state, (observation, odometry)]

    def query(self, state: list, observation: Any, same_camera: bool) -> Answer:
        self.asked = state, observation, same_camera
        return self.answer

    def num_bytes(self, state: list) -> int:
        return 0


def episode(goal_x: float = 5.0, stopped_x: float = 5.0, **changes: object) -> Episode:
    ends = [np.zeros(3), np.array([stopped_x, 0.0, 0.0])]
    base = Episode(
        np.array([goal_x, 0.0, 0.0]), 5.0, True, path=ends, length=stopped_x, seen=0.9, arrived=True
    )
    return replace(base, **changes)  # type: ignore[arg-type]


# -- what is counted ---------------------------------------------------------------------------------------


def test_spl_of_a_worked_example():
    """By hand: 5/5 for a straight way, 5/10 for a detour, nothing for a failure, and never more than 1."""
    spl = metrics.success_weighted_by_path_length([True, True, False, True], [5, 5, 5, 5], [5, 10, 5, 4])
    assert spl == pytest.approx((1.0 + 0.5 + 0.0 + 1.0) / 4)
    assert metrics.success_weighted_by_path_length([], [], []) is None
    with pytest.raises(ValueError, match="longer than 0"):
        metrics.success_weighted_by_path_length([True], [0.0], [1.0])


def test_the_threshold_refuses_no_more_of_the_seen_than_it_may_and_as_much_else_as_it_can():
    seen = np.random.default_rng(0).uniform(0.3, 1.0, 200)
    threshold = metrics.refusal_threshold(seen, 0.05)
    assert np.sum(seen < threshold) == 10
    assert np.sum(seen <= threshold) == 11
    assert metrics.refusal_threshold([0.7, 0.8], 0.05) == 0.7


def test_success_takes_stopping_by_ones_own_word_within_a_metre():
    assert episode(stopped_x=4.01).success
    assert not episode(stopped_x=3.99).success
    assert not episode(arrived=False).success
    assert episode(believed_goals=[np.array([5.0, 3.0, 0.1])]).first_error == pytest.approx((3.0, 0.1))
    assert math.isnan(episode().first_error[0])


def test_retrieval_refuses_what_it_is_least_sure_of(explored):
    episodes = [episode(seen=score, collisions=1) for score in np.linspace(0.1, 1.0, 40)]
    memnav.refuse_least_sure([Result(explored.building, episodes, [0.5])])
    refused = [t for t in episodes if t.refused]
    assert [t.seen for t in refused] == pytest.approx([0.1, 0.1 + 0.9 / 39])
    assert not any(t.success or t.length or t.collisions for t in refused)
    assert all(t.success for t in episodes if not t.refused)


def test_a_record_says_what_happened(explored):
    episodes = [
        episode(),
        episode(stopped_x=2.0, collisions=2),
        episode(arrived=False, refused=True, length=0.0, seen=0.4),
    ]
    episodes.append(episode(arrived=False, message="no path", other_room=False))
    record = memnav.record("kinaema", [Result(explored.building, episodes, [0.1, 0.3, 0.45, 0.6])], 7, NOISE)
    assert record["success_rate"] == 0.25
    assert record["success_rate_other_rooms"] == pytest.approx(1 / 3)
    assert record["spl"] == 0.25
    assert record["mean_path_m"] == pytest.approx((5 + 2 + 0 + 5) / 4)
    assert (record["refused"], record["gave_up"], record["collisions"], record["seed"]) == (1, 1, 2, 7)
    assert record["unseen_refused"] == 0.75  # below the navigator's min_seen
    assert record["unseen_refused_at_5"] == 0.5  # of four goals none may be refused: below 0.4
    assert record["unseen_photos"] == 4


# -- who drives --------------------------------------------------------------------------------------------


def test_the_oracle_reaches_every_goal_by_nearly_the_shortest_way(explored):
    result = rollout.oracle(explored, DriveLimits())
    assert all(t.success and t.stop_distance < 0.6 and t.collisions == 0 for t in result.episodes)
    record = memnav.record("oracle", [result], 0, NOISE)
    assert record["success_rate"] == 1.0
    assert record["spl"] > 0.85
    assert record["unseen_refused"] is None


def test_the_shipped_memory_finds_its_way(ours, explored):
    one = replace(explored, photos=explored.photos[:1], unseen=explored.unseen[:2])
    result = by_memory(ours, one, NOISE, DriveLimits())
    assert len(result.unseen) == 2
    (driven,) = result.episodes
    assert driven.success
    assert driven.queries >= 2
    assert driven.seen > 0.5
    assert driven.first_error[0] < 1.0
    picture = episode_picture(explored.building, driven)
    assert picture.shape == (HEIGHT, WIDTH, 3)
    assert picture.std() > 20
    assert f"stopped {driven.stop_distance:.2f} m" in outcome(driven)


def test_each_photo_is_asked_of_the_memory_as_it_was_after_the_exploration(explored):
    """What one drive saw on its way the next one does not know."""
    sure = Answer(torch.zeros(3, dtype=torch.float64), torch.eye(3, dtype=torch.float64) / 100, 0.9, 0.9)
    told = Told(sure)
    few = replace(explored, odometry=explored.odometry[-5:], frames=explored.frames[-5:])
    known = []

    def noted(state: list, observation: Any, same_camera: bool) -> Answer:
        known.append(len(state))
        assert same_camera
        return sure

    told.query = noted  # type: ignore[method-assign]
    result = by_memory(told, few, NOISE, DriveLimits(goal_timeout=20.0))
    unseen, goals = known[: len(few.unseen)], known[len(few.unseen) :]
    assert set(unseen) == {5}
    assert goals.count(5) >= len(few.photos)
    assert result.unseen == [0.9] * 3
    assert all(t.arrived and not t.success for t in result.episodes), "it was told that it is there already"


def test_a_memory_that_does_not_know_a_photo_refuses_it(explored):
    unsure = Answer(torch.zeros(3, dtype=torch.float64), torch.eye(3, dtype=torch.float64), 0.2, 0.1)
    few = replace(explored, odometry=explored.odometry[-2:], frames=explored.frames[-2:])
    result = by_memory(Told(unsure), few, NOISE, DriveLimits())
    assert all(t.refused and not t.arrived and t.length == 0.0 for t in result.episodes)


def test_without_a_memory_the_robot_looks_until_it_gives_up(explored, monkeypatch):
    monkeypatch.setattr(rollout, "TOUR_METRES", 3.0)
    network = small_network()
    method = LastViews(network, NetworkEncoder(network))
    seen_by_it = rollout.explore(method, explored.building, explored.odometry, explored.seeds)
    strict = DriveLimits(min_seen=1.0, min_confidence=1.0)
    result = no_memory(method, seen_by_it, NOISE, strict)
    assert all(t.message == "not found within 3 m" and not t.success for t in result.episodes)
    assert all(2.85 <= t.length < 3.0 and len(t.path) > 10 for t in result.episodes)
    assert all(0.0 <= score < 1.0 for score in result.unseen)


def test_what_is_found_on_the_tour_is_driven_to(explored, monkeypatch):
    """Whatever it sees is what it looks for: it is told to go half a metre ahead at once."""
    monkeypatch.setattr(rollout, "TOUR_METRES", 1.0)
    ahead = torch.tensor([0.5, 0.0, 0.0], dtype=torch.float64)
    told = Told(Answer(ahead, torch.eye(3, dtype=torch.float64) / 100, 0.9, 0.9))
    result = no_memory(told, explored, NOISE, DriveLimits(goal_timeout=20.0))  # type: ignore[arg-type]
    for t in result.episodes:
        assert t.queries > 0
        assert t.seen == 0.9
        assert t.believed_goals
        assert not t.message or any(why in t.message for why in ("20 s", "path", "beside the goal"))
    assert result.unseen == [0.9] * 3


def test_retrieval_drives_on_its_own_word_and_is_judged_in_hindsight(explored):
    network = small_network()
    method = Retrieval(network, NetworkEncoder(network))
    few = replace(explored.building, walk=explored.building.walk[-20:], goals=explored.building.goals[:1])
    seen_by_it = rollout.explore(method, few, explored.odometry[-20:], explored.seeds)
    anything = DriveLimits(min_seen=0.0, min_confidence=0.0, goal_timeout=30.0)
    result = by_memory(method, seen_by_it, NOISE, anything)
    assert not any(t.refused for t in result.episodes)
    assert all(0.0 <= t.seen <= 1.0 and t.queries > 0 for t in result.episodes)


# -- what a robot is told ----------------------------------------------------------------------------------


@pytest.mark.parametrize("sees_obstacles", [True, False])
def test_a_robot_that_sees_obstacles_plans_from_where_it_is_not_from_where_it_believes_to_be(
    ours, sees_obstacles
):
    plan = plan_building(CONFIG, 0)
    explored = rollout.explore(ours, plan, plan.odometry(NOISE, CONFIG.seed, 0), [1, 2, 3], sees_obstacles)
    robot = explored.robot(0, NOISE)
    true, believed = plan.walk[-1], plan.walk[-2]
    robot.localise(believed)
    follower = robot.go_to(plan.walk[0])
    np.testing.assert_allclose(follower.path[0], (true if sees_obstacles else believed)[:2], atol=1e-9)


def test_an_answer_is_turned_into_the_odometrys_frame():
    """The robot stands at (3, 1) and looks to the left; the photo was taken 2 m ahead of it."""
    answer = Answer(
        torch.tensor([2.0, 0.0, 0.1], dtype=torch.float64),
        torch.diag(torch.tensor([0.04, 0.01, 0.002], dtype=torch.float64)),
        0.9,
        0.6,
    )
    memory = RobotMemory(Told(answer), [], "photo", np.array([3.0, 1.0, math.pi / 2]))
    estimate = memory.ask()
    np.testing.assert_allclose(estimate.pose, [3.0, 3.0, math.pi / 2 + 0.1], atol=1e-12)
    np.testing.assert_allclose(estimate.covariance, np.diag([0.01, 0.04, 0.002]), atol=1e-12)
    assert (estimate.seen, estimate.confidence) == (0.9, 0.6)


def test_an_answer_after_an_update_is_about_where_the_robot_is_then():
    answer = Answer(torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64), None, 0.9, 0.9)
    memory = RobotMemory(told := Told(answer), [], "photo", np.zeros(3))
    memory.update("frame", np.array([0.0, 4.0, math.pi]))
    np.testing.assert_allclose(memory.ask().pose[:2], [-1.0, 4.0], atol=1e-12)
    ((frame, odometry),), photo, same_camera = told.asked
    assert (frame, photo, same_camera) == ("frame", "photo", True)
    assert odometry.dtype == torch.float64


def test_a_method_without_covariances_is_as_sure_as_places_usually_are():
    estimate = RobotMemory(OwnPose(lambda *_: None), None, None, np.array([1.0, 2.0, 0.5])).ask()
    position, yaw = TYPICAL_STD
    np.testing.assert_allclose(estimate.covariance, np.diag([position**2, position**2, yaw**2]), atol=1e-12)
    np.testing.assert_allclose(estimate.pose, [1.0, 2.0, 0.5])


def test_drives_with_the_same_beginning_keep_to_themselves(ours, explored):
    views, walk = explored.frames[:12], explored.building.walk
    state = ours.start(12)
    for view, pose in zip(views[:8], walk, strict=False):
        state = ours.update(state, view, torch.from_numpy(pose))
    alone, beside, other = (RobotMemory(ours, state, views[3], walk[7]) for _ in range(3))
    for t in range(8, 12):
        alone.update(views[t], walk[t])
    for t in range(8, 12):
        other.update(views[11 - t], walk[t])
        beside.update(views[t], walk[t])
    a, b = alone.ask(), beside.ask()
    np.testing.assert_array_equal(a.pose, b.pose)
    assert a.seen == b.seen


def test_an_observation_is_what_the_buildings_camera_sees(explored):
    plan = explored.building
    told = Told(Answer(torch.zeros(3, dtype=torch.float64), None, 1.0, 1.0))
    calls = []
    told.encoder = lambda *call: calls.append(call)  # type: ignore[method-assign, assignment]
    observe(told, plan, plan.walk[0])
    observe(told, plan, plan.walk[0], elsewhere=True)
    for (rgb, camera, mount), scene in zip(calls, (plan.scene, plan.elsewhere), strict=True):
        np.testing.assert_array_equal(rgb, render(scene, plan.walk[:1], plan.camera, plan.lighting)[0])
        assert camera == intrinsics(plan.camera)
        assert mount == mounted(plan.camera)


def test_a_robot_localised_by_odometry_is_right_again_when_told():
    scene = generate_scene(3)
    start = explore(scene, np.random.default_rng(1), 1)[0]
    robot = SimulatedRobot(scene, 0, OdometryNoise(0.2, 2.0), "odometry", start)
    np.testing.assert_array_equal(robot.believed(), start)
    robot.command(0.2, 0.5, 4.0)
    for _ in range(80):
        robot.step(0.05)
    true = robot.snapshot().map_T_base
    assert metrics.pose_errors(robot.believed(), true)[1] > 0.001
    robot.localise(true)
    np.testing.assert_allclose(robot.believed(), true, atol=1e-9)
    np.testing.assert_allclose(
        geometry.compose(robot.map_T_odom(), robot.snapshot().odom_T_base), true, atol=1e-9
    )


# -- the command -------------------------------------------------------------------------------------------


def test_the_command_writes_records_and_pictures(tmp_path, monkeypatch, capsys):
    whole = memnav.evaluate
    short = {"frames": 100, "goals": 3}
    monkeypatch.setattr(memnav, "evaluate", lambda config, *rest: whole(replace(config, **short), *rest))
    out, result = tmp_path / "out", tmp_path / "memnav.json"
    arguments = ["evaluate", "memnav", "--method", "oracle", "--episodes", "1", "--json", str(result)]
    status = cli.main([*arguments, "--out", str(out)])
    assert status == 0
    (record,) = json.loads(result.read_text())
    contract = {"method", "episodes", "seed", "success_rate", "spl", "mean_path_m", "refused", "collisions"}
    assert contract <= set(record)
    assert record["method"] == "oracle"
    assert record["episodes"] == 1
    assert record["success_rate"] == 1.0
    (episode,) = json.loads((out / "episodes.json").read_text())
    assert episode["stopped_m"] < 1.0
    assert episode["shortest_m"] >= 4.0
    assert (out / "oracle.png").is_file()
    assert (out / "oracle" / "000.png").is_file()
    assert "oracle" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--method", "luck"], "'luck' is none of"),
        (["--episodes", "0"], "whole number"),
        (["--odom-noise", "0.02"], "FRACTION,DEG"),
        (["--checkpoint", "nowhere.safetensors"], "does not exist"),
        (["--through-ros", "--method", "retrieval"], "--method kinaema"),
        (["--restart", "--method", "kinaema"], "--through-ros"),
    ],
)
def test_wrong_usage_is_refused_before_anything_is_done(words, complaint, capsys):
    with pytest.raises(SystemExit) as refused:
        cli.main(["evaluate", "memnav", *words])
    assert refused.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["--sees-obstacles"]])
def test_the_command_tells_whether_the_robot_sees_obstacles(words, monkeypatch, capsys):
    def evaluate(config: MemnavConfig, *_: object) -> None:
        raise InputError(f"sees obstacles: {config.sees_obstacles}")

    monkeypatch.setattr(memnav, "evaluate", evaluate)
    assert cli.main(["evaluate", "memnav", *words]) == 1
    assert f"sees obstacles: {bool(words)}" in capsys.readouterr().err


def test_a_sheet_shows_episodes_of_as_many_buildings_as_there_are(explored):
    drawn = sheet([Result(explored.building, [episode(), episode(refused=True, arrived=False)], [])])
    assert drawn.shape == (HEIGHT, 2 * WIDTH, 3)


@pytest.mark.parametrize("localized", [False, True])
def test_a_robot_that_is_localised_by_the_memory_does_not_drift_on_the_map(localized: bool):
    """Here the memory is right, in a frame of its own; the odometry is bad."""
    scene, start_of_odometry = generate_scene(5), np.array([3.0, 1.0, 0.5])
    walk, memory_T_map = explore(scene, np.random.default_rng(0), 60), np.array([-4.0, 2.0, 1.0])
    robot = SimulatedRobot(scene, 1, OdometryNoise(0.08, 1.5), "odometry", walk[0])

    def odom_T_base() -> np.ndarray:
        return geometry.compose(start_of_odometry, robot.snapshot().odom_T_base)

    def memory_T_odom() -> np.ndarray:
        memory_T_base = geometry.compose(memory_T_map, robot.snapshot().map_T_base)
        return geometry.compose(memory_T_base, geometry.inverse(odom_T_base()))

    def ask() -> Estimate:
        goal = geometry.compose(odom_T_base(), geometry.between(robot.snapshot().map_T_base, walk[12]))
        return Estimate(as_pose(goal), np.diag([0.01, 0.01, 0.01]), 1.0, 1.0)

    where = memory_T_odom if localized else None
    agent = Agent(episode(), robot, start_of_odometry, ask, DriveLimits(), memory_T_odom=where)
    drifted = []
    while agent.advance():
        drifted.append(np.hypot(*(robot.believed() - robot.snapshot().map_T_base)[:2]))
    assert (max(drifted) < 0.05) == localized, drifted
