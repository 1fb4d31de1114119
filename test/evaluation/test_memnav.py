"""Mem-Nav without ROS: what is counted, who drives, and that driving together changes nothing."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from evaluation_support import small_network

from kinaema_ros import cli, geometry, metrics
from kinaema_ros.baselines.methods import KinaemaMethod, Retrieval
from kinaema_ros.evaluation.memnav import evaluate as memnav
from kinaema_ros.evaluation.memnav import rollout
from kinaema_ros.evaluation.memnav.agents import Memories, rows
from kinaema_ros.evaluation.memnav.episodes import Episode, MemnavConfig, Result, plan_building
from kinaema_ros.evaluation.memnav.pictures import HEIGHT, WIDTH, episode_picture, outcome, sheet
from kinaema_ros.evaluation.memnav.rollout import ObservationEncoder, by_memory, no_memory
from kinaema_ros.model.checkpoint import load_network
from kinaema_ros.model.encoder import FEATURE_DIM
from kinaema_ros.navigation.photo_drive import DriveLimits
from kinaema_ros.paths import default_checkpoint
from kinaema_ros.sim import OdometryNoise, explore, generate_scene
from kinaema_ros.sim.simulated_robot import SimulatedRobot

NOISE = OdometryNoise(0.02, 0.2)
CONFIG = MemnavConfig(seed=3, frames=100, goals=3)


@pytest.fixture(scope="module")
def network():
    torch.set_num_threads(1)
    return load_network(default_checkpoint(), "cpu")[0]


@pytest.fixture(scope="module")
def explored(network):
    plan = plan_building(CONFIG, 0)
    with torch.inference_mode():
        return ObservationEncoder(network).explored(plan, plan.odometry(NOISE, CONFIG.seed, 0), [1, 2, 3])


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
    with torch.inference_mode():
        (result,) = rollout.oracle([explored], DriveLimits())
    assert all(t.success and t.stop_distance < 0.6 and t.collisions == 0 for t in result.episodes)
    record = memnav.record("oracle", [result], 0, NOISE)
    assert record["success_rate"] == 1.0
    assert record["spl"] > 0.85
    assert record["unseen_refused"] is None


def test_the_shipped_memory_finds_its_way_and_driving_together_is_driving_alone(network, explored):
    encoder, method = ObservationEncoder(network), KinaemaMethod(network)
    with torch.inference_mode():
        (together,) = by_memory(method, [explored], NOISE, DriveLimits(), encoder)
        alone = replace(
            explored,
            building=replace(explored.building, goals=explored.building.goals[1:2]),
            photos=explored.photos[1:2],
            seeds=explored.seeds[1:2],
        )
        (single,) = by_memory(method, [alone], NOISE, DriveLimits(), encoder)
    assert sum(t.success for t in together.episodes) >= 2
    assert len(together.unseen) == 3
    a, b = together.episodes[1], single.episodes[0]
    assert a.queries == b.queries
    assert a.arrived == b.arrived
    np.testing.assert_allclose(a.path[-1], b.path[-1], atol=0.02)
    assert a.length == pytest.approx(b.length, abs=0.05)
    picture = episode_picture(explored.building, a)
    assert picture.shape == (HEIGHT, WIDTH, 3)
    assert picture.std() > 20
    assert f"stopped {a.stop_distance:.2f} m" in outcome(a)


def test_without_a_memory_the_robot_looks_until_it_gives_up(network, explored, monkeypatch):
    monkeypatch.setattr(rollout, "TOUR_METRES", 3.0)
    monkeypatch.setattr(rollout, "FOUND", 0.999)
    with torch.inference_mode():
        (result,) = no_memory(network, [explored], NOISE, DriveLimits(), ObservationEncoder(network))
    assert all(t.message == "not found within 3 m" and not t.success for t in result.episodes)
    assert all(2.85 <= t.length < 3.0 and len(t.path) > 10 for t in result.episodes)
    monkeypatch.setattr(rollout, "FOUND", 0.0)  # whatever it sees is what it looks for
    with torch.inference_mode():
        (result,) = no_memory(
            network, [explored], NOISE, DriveLimits(goal_timeout=20.0), ObservationEncoder(network)
        )
    assert all(t.queries > 0 for t in result.episodes)


@pytest.mark.parametrize("make", [KinaemaMethod, Retrieval])
def test_memories_side_by_side_keep_to_themselves_when_others_arrive(make):
    method, generator = make(small_network()), torch.Generator().manual_seed(0)
    features = torch.randn(8, 3, FEATURE_DIM, generator=generator)
    odometry = np.cumsum(np.full((8, 3, 3), [0.3, 0.0, 0.0]), axis=0)
    photos = torch.randn(3, FEATURE_DIM, generator=generator)

    def answers(numbers: list[int]) -> list[object]:
        state = rows(method.start(1, 20), torch.zeros(3, dtype=torch.int64))
        memories = Memories(method, state, photos, np.zeros((3, 3)))
        for t in range(4):
            memories.update([0, 1, 2], features[t], odometry[t])
        for t in range(4, 8):
            memories.update(numbers, features[t][numbers], odometry[t][numbers])
        return [memories.ask(n) for n in numbers]

    everyone, two = answers([0, 1, 2]), answers([0, 2])
    for a, b in ((everyone[0], two[0]), (everyone[2], two[1])):
        np.testing.assert_allclose(a.pose, b.pose, atol=1e-4)
        assert a.seen == pytest.approx(b.seen, abs=1e-5)


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
    out, result = tmp_path / "out", tmp_path / "memnav.json"
    status = cli.main(
        [
            "evaluate",
            "memnav",
            "--method",
            "oracle",
            "--episodes",
            "1",
            "--json",
            str(result),
            "--out",
            str(out),
        ]
    )
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
    ],
)
def test_wrong_usage_is_refused_before_anything_is_done(words, complaint, capsys):
    with pytest.raises(SystemExit) as refused:
        cli.main(["evaluate", "memnav", *words])
    assert refused.value.code == 2
    assert complaint in capsys.readouterr().err


def test_a_sheet_shows_episodes_of_as_many_buildings_as_there_are(explored):
    drawn = sheet([Result(explored.building, [episode(), episode(refused=True, arrived=False)], [])])
    assert drawn.shape == (HEIGHT, 2 * WIDTH, 3)
