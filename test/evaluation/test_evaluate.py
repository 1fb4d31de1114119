"""`kinaema evaluate rpe`: the command's contract, and that what it measures is what it says."""

from __future__ import annotations

import json
import math
import multiprocessing.dummy
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from evaluation_support import random_walk, shipped_network, short_episode, small_baseline, small_network
from torch import Tensor

from kinaema_ros import cli, geometry
from kinaema_ros.baselines.checkpoint import save_baseline
from kinaema_ros.baselines.methods import (
    Encoder,
    KinaemaMethod,
    LastViews,
    Learned,
    Method,
    NetworkEncoder,
    OwnPose,
    Retrieval,
    RetrievalPair,
)
from kinaema_ros.baselines.network import load_network
from kinaema_ros.camera import Intrinsics, Mount
from kinaema_ros.errors import InputError
from kinaema_ros.evaluation import rpe
from kinaema_ros.evaluation.episodes import Episode, EpisodeConfig, odometry_of, plan_episode
from kinaema_ros.evaluation.rpe import METHODS, Outcome, Task, drive, make_methods, record
from kinaema_ros.evaluation.rpe_answers import LabelledEstimates, groups
from kinaema_ros.images import RGB
from kinaema_ros.memory import SpatialMemory
from kinaema_ros.model.answer import Answer
from kinaema_ros.model.checkpoint import CheckpointError, save_network
from kinaema_ros.sim import OdometryNoise
from kinaema_ros.training.drives import intrinsics, mounted

CONTRACT = {
    "method", "length", "scenes", "queries", "seed", "median_position_m", "median_yaw_deg", "acc_0.5m_10deg",
    "acc_1m_20deg", "acc_2m_30deg", "seen_auroc", "ece", "update_ms", "query_ms", "state_bytes",
}  # fmt: skip
LENGTHS = (6, 12)
QUERIES = 2
EXACT = OdometryNoise(0.0, 0.0)


class Grey:
    """An encoder that takes the mean of a picture and keeps count."""

    def __init__(self, seconds: float = 0.0):
        self.seconds, self.seen, self.mounts = seconds, [], []  # type: ignore[var-annotated]

    def __call__(self, rgb: RGB, camera: Intrinsics, mount: Mount | None) -> float:
        assert (camera.width, camera.height) == (rgb.shape[1], rgb.shape[0])
        time.sleep(self.seconds)
        self.seen.append(float(rgb.mean()))
        self.mounts.append(mount)
        return self.seen[-1]


class Diary:
    """A method that remembers everything it is told, and answers with how much that is."""

    def __init__(self, encoder: Encoder):
        self.encoder, self.asked = encoder, []  # type: ignore[var-annotated]

    def start(self, capacity: int) -> list:
        self.capacity = capacity
        return []

    def update(self, state: list, observation: float, odometry: Tensor) -> list:
        return [*state, (observation, odometry)]

    def query(self, state: list, observation: float, same_camera: bool) -> Answer:
        self.asked.append((list(state), observation, same_camera))
        pose = torch.tensor([float(len(state)), 0.0, 0.0], dtype=torch.float64)
        return Answer(pose, torch.eye(3, dtype=torch.float64), 0.7, 0.4)

    def num_bytes(self, state: list) -> int:
        return 8 * len(state)


def outcomes_of(
    make: Callable[..., Method], episode: Episode | None = None, noise: OdometryNoise = EXACT, **changes: Any
) -> list[Outcome]:
    """Of a method of the small network in a short drive, one for each length."""
    network = small_network(**changes)
    episode = episode or short_episode()
    odometry = odometry_of(episode, noise, 0, 0)
    return drive({"it": make(network, NetworkEncoder(network))}, episode, odometry, LENGTHS)["it"]


def off(answers: LabelledEstimates) -> np.ndarray:
    """Metres (1, Q)."""
    return np.hypot(*(answers.located - answers.truth)[..., :2].transpose(2, 0, 1))


@pytest.fixture
def shown_its_frames() -> Episode:
    """The seen places are the very frames of the drive."""
    episode = short_episode()
    episode.lighting = replace(episode.lighting, noise=0.0)
    for which, length in enumerate(LENGTHS):
        episode.views[which, :QUERIES] = episode.poses[[1, length - 2]]
    return episode


# -- a drive -----------------------------------------------------------------------------------------------


def test_a_method_is_shown_every_frame_in_order_and_asked_at_each_length() -> None:
    episode, method = short_episode(), Diary(Grey())
    odometry = odometry_of(episode, OdometryNoise(0.02, 0.2), 0, 0)
    outcomes = drive({"diary": method}, episode, odometry, LENGTHS)["diary"]
    assert method.capacity == 12
    frames = [float(rgb.mean()) for rgb in episode.frames()]
    for which, length in enumerate(LENGTHS):
        asked = method.asked[2 * QUERIES * which : 2 * QUERIES * (which + 1)]
        photos = [float(rgb.mean()) for rgb, _ in episode.photos(which)]
        assert [photo for _, photo, _ in asked] == photos
        for state, _, same_camera in asked:
            assert same_camera
            assert [observation for observation, _ in state] == frames[:length]
            np.testing.assert_array_equal(torch.stack([pose for _, pose in state]), odometry[:length])
    assert [outcome.state_bytes for outcome in outcomes] == [48, 96]


def test_answers_stand_beside_the_truth_in_the_robots_frame_and_the_age_of_the_place() -> None:
    episode = short_episode()
    outcomes = drive({"diary": Diary(Grey())}, episode, episode.poses, LENGTHS)["diary"]
    for which, (length, outcome) in enumerate(zip(LENGTHS, outcomes, strict=True)):
        answers = outcome.answers
        np.testing.assert_array_equal(answers.pose[0, :, 0], length)
        assert answers.pose.shape == (1, 2 * QUERIES, 3)
        assert answers.covariance is not None
        assert answers.covariance.shape == (1, 2 * QUERIES, 3, 3)
        assert set(answers.seen[0]) == {0.7}
        assert set(answers.confidence[0]) == {0.4}
        in_world = geometry.compose(episode.poses[length - 1], answers.truth[0])
        np.testing.assert_allclose(in_world[:, :2], episode.views[which, :QUERIES, :2], atol=1e-9)
        last = episode.last_seen(which, length)
        np.testing.assert_allclose(answers.age[0], (length - 1 - last) / length)


def test_methods_that_share_an_encoder_see_what_it_made_of_a_picture_once() -> None:
    shared, own = Grey(), Grey()
    methods = {"a": Diary(shared), "b": Diary(shared), "c": Diary(own)}
    drive(methods, short_episode(), short_episode().poses, LENGTHS)
    pictures = max(LENGTHS) + 2 * QUERIES * len(LENGTHS)
    assert len(shared.seen) == len(own.seen) == pictures
    assert shared.seen == own.seen
    assert methods["a"].asked == methods["b"].asked


def test_the_time_of_a_shared_encoder_counts_for_each_method() -> None:
    slow = Grey(0.004)
    outcomes = drive({"a": Diary(slow), "b": Diary(slow)}, short_episode(), short_episode().poses, (6,))
    for of_lengths in outcomes.values():
        assert of_lengths[0].update_ms >= 4.0
        assert of_lengths[0].query_ms >= 4.0


def test_a_phones_photo_comes_without_a_mount_and_as_another_cameras() -> None:
    episode = plan_episode(EpisodeConfig(0, LENGTHS, QUERIES, query_camera="phone"), 0)
    method = Diary(encoder := Grey())
    drive({"diary": method}, episode, episode.poses, LENGTHS)
    assert encoder.mounts.count(mounted(episode.camera)) == max(LENGTHS)
    assert encoder.mounts.count(None) == 2 * QUERIES * len(LENGTHS)
    assert not any(same_camera for *_, same_camera in method.asked)


# -- the methods -------------------------------------------------------------------------------------------


def test_retrieval_answers_with_the_pose_of_the_very_frame_it_is_shown(shown_its_frames: Episode) -> None:
    for outcome in outcomes_of(Retrieval, shown_its_frames):
        answers = outcome.answers
        np.testing.assert_allclose(off(answers), 0.0, atol=1e-6)
        assert answers.seen[:, :QUERIES].min() > answers.seen[:, QUERIES:].max()
        assert ((answers.seen >= 0.0) & (answers.seen <= 1.0)).all()
        assert answers.covariance is None


def test_retrieval_suffers_from_odometry_that_drifts(shown_its_frames: Episode) -> None:
    answers = outcomes_of(Retrieval, shown_its_frames, OdometryNoise(0.3, 5.0))[-1].answers
    assert off(answers)[0, 0] > 0.1


def test_retrieval_keeps_every_frame_with_its_tokens_even_where_the_robot_stands_still() -> None:
    network = small_network()
    method = RetrievalPair(network, NetworkEncoder(network))
    episode = short_episode()
    episode.poses[4:7] = episode.poses[4]
    state = method.start(12)
    views = [method.encoder(rgb, intrinsics(episode.camera), Mount()) for rgb in episode.frames()]
    for view, pose in zip(views, episode.poses, strict=True):
        state = method.update(state, view, torch.from_numpy(pose))
    used = state.count.nonzero()[:, 0]
    assert state.count[used].tolist() == [1.0] * 12
    relative = geometry.between(episode.poses[0], episode.poses)
    in_order = state.written[used].argsort()
    np.testing.assert_allclose(state.pose[used][in_order], relative, atol=1e-9)
    kept = state.tokens.unpack(used).known.sum(1)  # what contradicts other views is worth nothing
    assert kept.min() > network.config.tokens.tokens
    assert kept.max() == network.config.tokens.view_tokens


def test_the_state_of_ours_stays_as_it_is_and_that_of_retrieval_grows() -> None:
    short, long = outcomes_of(KinaemaMethod)
    assert short.state_bytes == long.state_bytes > 0
    for make in (Retrieval, RetrievalPair):
        short, long = outcomes_of(make)
        assert long.state_bytes == 2 * short.state_bytes
        assert min(short.update_ms, short.query_ms) > 0.0


def test_a_drive_with_other_methods_gives_the_answers_of_a_drive_alone() -> None:
    episode, network = short_episode(), small_network()
    encoder = NetworkEncoder(network)
    kinds: dict[str, Callable[..., Method]] = {
        "kinaema": KinaemaMethod, "retrieval": Retrieval, "retrieval_pair": RetrievalPair,
    }  # fmt: skip
    together = {name: make(network, encoder) for name, make in kinds.items()}
    outcomes = drive(together, episode, episode.poses, LENGTHS)
    for name, make in kinds.items():
        alone = drive({name: make(network, encoder)}, episode, episode.poses, LENGTHS)[name]
        for a, b in zip(outcomes[name], alone, strict=True):
            np.testing.assert_array_equal(a.answers.pose, b.answers.pose)
            np.testing.assert_array_equal(a.answers.seen, b.answers.seen)


def test_the_memory_locates_what_it_has_seen_and_knows_what_it_has_not() -> None:
    network = shipped_network()
    episode = short_episode(queries=8)
    method = KinaemaMethod(network, NetworkEncoder(network))
    (outcome,) = drive({"it": method}, episode, episode.poses, (12,))["it"]
    assert np.median(off(outcome.answers)) < 0.1
    assert np.median(outcome.answers.seen[0, :8]) > 0.8
    assert np.median(outcome.answers.seen[0, 8:]) < 0.2


def test_what_is_measured_is_what_spatial_memory_answers() -> None:
    network = small_network()
    episode = short_episode()
    camera = intrinsics(episode.camera)
    memory, method = SpatialMemory(network), KinaemaMethod(network, NetworkEncoder(network))
    memory.set_camera(camera)
    state = method.start(12)
    with torch.inference_mode():
        for rgb, pose in zip(episode.frames(), episode.poses, strict=True):
            memory.update(rgb, pose)
            state = method.update(state, method.encoder(rgb, camera, Mount()), torch.from_numpy(pose))
        for rgb, _ in episode.photos(1):
            estimate = memory.locate(rgb)
            answer = method.query(state, method.encoder(rgb, camera, Mount()), same_camera=True)
            np.testing.assert_allclose(answer.pose, estimate.pose, atol=1e-9)
            assert answer.covariance is not None
            np.testing.assert_allclose(answer.covariance, estimate.covariance, atol=1e-9)
            assert (answer.seen, answer.confidence) == pytest.approx((estimate.seen, estimate.confidence))
    assert method.num_bytes(state) == memory.state_bytes


def test_own_pose_is_off_by_the_distance_of_the_place() -> None:
    episode = short_episode()
    for outcome in drive({"it": OwnPose(Grey())}, episode, episode.poses, LENGTHS)["it"]:
        truth = outcome.answers.truth
        np.testing.assert_allclose(off(outcome.answers), np.hypot(truth[..., 0], truth[..., 1]))
        assert outcome.state_bytes == 0


def test_the_newest_views_are_recognised_and_older_ones_forgotten() -> None:
    """On a straight way through a building the first view shows nothing of the last one."""
    network = small_network()
    episode = plan_episode(EpisodeConfig(3, (60,), QUERIES), 0)
    method = LastViews(network, NetworkEncoder(network))
    state = method.start(0)
    size = network.config.window.size
    with torch.inference_mode():
        for t, rgb in enumerate(episode.frames()):
            view = method.encoder(rgb, intrinsics(episode.camera), mounted(episode.camera))
            if t == 0:
                first = view
            state = method.update(state, view, torch.from_numpy(episode.poses[t]))
            assert int((state.count > 0).sum()) == min(t + 1, size)
            assert state.count.max() == 1.0
        newest, oldest = (method.query(state, photo, same_camera=True) for photo in (view, first))
    relative = geometry.between(episode.poses[0], episode.poses[-size:])
    kept = state.count > 0
    np.testing.assert_allclose(state.pose[kept][state.written[kept].argsort()], relative, atol=1e-9)
    assert newest.seen > 0.9
    assert torch.linalg.vector_norm(newest.pose[:2]) < 0.1
    assert oldest.seen < 0.2


@pytest.mark.parametrize("name", ["gru", "paper"])
def test_a_learned_method_answers_in_the_robots_frame_with_a_covariance(name: str) -> None:
    """Whatever it has not learned yet, it answers where it answers, however the robot stands there."""
    baseline = small_baseline(name)
    method = Learned(baseline)
    episode = short_episode()
    camera = intrinsics(episode.camera)
    odometry = random_walk(np.random.default_rng(0), 12)
    state = method.start(12)
    for rgb, pose in zip(episode.frames(), odometry, strict=True):
        observation = method.encoder(rgb, camera, None)
        state = method.update(state, observation, torch.from_numpy(pose))
    answer = method.query(state, observation, same_camera=True)
    estimate, robot = baseline.estimate(state, observation[None, None])
    robot_T_query = geometry.between(robot[0].numpy(), estimate.pose[0, 0].double().numpy())
    np.testing.assert_allclose(answer.pose, robot_T_query, atol=1e-5)
    np.testing.assert_allclose(robot[0], geometry.between(odometry[0], odometry[-1]), atol=1e-9)
    assert answer.covariance is not None
    assert (torch.linalg.eigvalsh(answer.covariance) > 0).all()
    assert 0.0 < answer.seen < 1.0


def task(methods: tuple[str, ...] = METHODS, baselines: Path = Path(), **changes: Any) -> Task:
    usual = {
        "config": EpisodeConfig(0, LENGTHS, QUERIES),
        "noise": EXACT,
        "checkpoint": Path(),
        "device": "cpu",
    }
    return Task(methods=methods, baselines=baselines, **(usual | changes))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small models of all kinds."""
    folder = tmp_path_factory.mktemp("models")
    save_network(folder / "small.safetensors", small_network(), {})
    for name in ("paper", "gru", "attention"):
        save_baseline(folder / f"baseline-{name}.safetensors", small_baseline(name), {})
    return folder


def test_methods_that_read_tokens_share_an_encoder_and_learned_ones_have_their_own(models: Path) -> None:
    methods = make_methods(task(baselines=models), small_network())
    assert tuple(methods) == METHODS
    ours = methods["kinaema"].encoder
    for name in ("retrieval", "retrieval_pair", "own_pose"):
        assert methods[name].encoder is ours, name
    assert len({id(methods[name].encoder) for name in ("kinaema", "paper", "gru", "attention")}) == 4


def test_a_method_that_keeps_all_frames_does_not_change_what_the_others_use() -> None:
    network = small_network()
    methods = make_methods(task(("kinaema", "retrieval_pair")), network)
    methods["retrieval_pair"].start(50)
    assert methods["kinaema"].start(50).count.shape == (24,)
    assert network.config == small_network().config


def test_a_missing_baseline_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"baseline-gru.*train it: kinaema train --method gru"):
        make_methods(task(("gru",), tmp_path), small_network())


def test_a_checkpoint_of_the_papers_memory_takes_the_place_of_the_shipped_one(models: Path) -> None:
    network, _ = load_network(models / "baseline-paper.safetensors")
    own = make_methods(task(("kinaema", "own_pose"), models), network)
    beside = make_methods(task(("paper",), models), small_network())
    episode = short_episode()
    a, b = (
        drive(methods, episode, episode.poses, LENGTHS)[name]
        for methods, name in ((own, "kinaema"), (beside, "paper"))
    )
    for one, other in zip(a, b, strict=True):
        np.testing.assert_allclose(one.answers.pose, other.answers.pose, atol=1e-6)
    with pytest.raises(InputError, match="local tokens"):
        make_methods(task(("retrieval",), models), network)


# -- records -----------------------------------------------------------------------------------------------


def test_exact_odometry_is_the_true_path_and_noise_is_the_same_in_every_run() -> None:
    episode = short_episode(5)
    exact = odometry_of(episode, EXACT, 0, 0)
    np.testing.assert_allclose(
        geometry.between(exact[0], exact[-1]),
        geometry.between(episode.poses[0], episode.poses[-1]),
        atol=1e-9,
    )
    noise = OdometryNoise(0.02, 0.2)
    assert np.array_equal(odometry_of(episode, noise, 3, 1), odometry_of(episode, noise, 3, 1))
    assert not np.array_equal(odometry_of(episode, noise, 3, 1), odometry_of(episode, noise, 4, 1))


def synthetic(error_m: float, std: float, age: float = 0.1) -> LabelledEstimates:
    """1000 places 2 m ahead, each answered with a Gaussian error."""
    truth = np.tile([2.0, 0.0, 0.5], (1, 1000, 1))
    pose = np.concatenate([truth, truth], axis=1)
    pose[..., :2] += np.random.default_rng(0).normal(0.0, error_m, pose[..., :2].shape)
    covariance = np.broadcast_to(std**2 * np.eye(3), (1, 2000, 3, 3))
    seen = np.repeat([[0.9, 0.1]], 1000, axis=1)
    return LabelledEstimates(pose, covariance, seen, 0.5 * seen, truth, np.full((1, 1000), age))


def test_a_record_holds_what_is_promised_and_calibrated_errors_count_as_calibrated() -> None:
    cost = {"update_ms": 1.0, "query_ms": 2.0, "state_bytes": 3}
    entry = record("kinaema", 100, synthetic(0.3, 0.3), cost, EpisodeConfig(7), EXACT)
    assert set(entry) >= CONTRACT
    assert (entry["length"], entry["scenes"], entry["queries"], entry["seed"]) == (100, 1, 1000, 7)
    assert entry["seen_auroc"] == 1.0
    assert entry["accepted_seen"] == 0.0, "a confidence of 0.45 is not enough"
    assert entry["ece"] < 0.03
    assert abs(entry["inside_90_ellipse"] - 0.9) < 0.03
    assert entry["median_yaw_deg"] == pytest.approx(0.0, abs=1e-9)
    expected = 1 - math.exp(-1.0 / (2 * 0.3**2))  # Rayleigh: share of errors below 1 m
    assert entry["acc_1m_20deg"] == pytest.approx(expected, abs=0.02)
    overconfident = record("kinaema", 100, synthetic(0.3, 0.1), cost, EpisodeConfig(7), EXACT)
    assert overconfident["ece"] > 0.2
    assert overconfident["inside_90_ellipse"] < 0.5


def test_a_method_without_covariances_has_no_calibration_of_them() -> None:
    answers = replace(synthetic(0.3, 0.3), covariance=None)
    entry = record("retrieval", 100, answers, {}, EpisodeConfig(7), EXACT)
    assert entry["ece"] is entry["inside_90_ellipse"] is None
    assert entry["acc_1m_20deg"] > 0.9


def test_answers_of_several_drives_stand_one_after_another() -> None:
    one, two = synthetic(0.1, 0.1), synthetic(0.2, 0.2, age=0.9)
    both = LabelledEstimates.joined([one, two])
    np.testing.assert_array_equal(both.pose, np.concatenate([one.pose, two.pose]))
    levels = both.levels()
    assert levels is not None
    np.testing.assert_array_equal(levels[1:], two.levels())
    np.testing.assert_array_equal(both.is_right[:1], one.is_right)
    assert both.is_seen.shape == both.is_right.shape == (2, 2000)
    assert not both.is_right[:, 1000:].any()
    without = LabelledEstimates.joined([replace(one, covariance=None), replace(two, covariance=None)])
    assert without.covariance is None


def test_groups_put_each_place_where_its_age_and_distance_say() -> None:
    entries = groups("kinaema", [synthetic(0.1, 0.1, age=0.8)], (100,))
    filled = {(entry["by"], entry["group"]) for entry in entries if entry["queries"]}
    assert filled == {("age", "oldest quarter"), ("distance", "0 to 3 m")}
    assert all(entry["acc_1m_20deg"] is None for entry in entries if not entry["queries"])


def test_the_heading_is_judged_by_the_places_that_a_method_is_sure_of() -> None:
    answers = synthetic(0.1, 0.1)
    answers.pose[0, :1000, 2] += np.radians(np.linspace(-2.0, 2.0, 1000))
    answers.confidence[0, :1000] = 0.9
    answers.pose[0, :50, 2] += np.pi  # a look-alike, of which it is not sure
    answers.confidence[0, :50] = 0.4
    entry = record("kinaema", 100, answers, {}, EpisodeConfig(0), EXACT)
    assert entry["heading_p90_deg"] == pytest.approx(1.8, abs=0.1)
    filled = [group for group in entry["groups"] if group["queries"]]
    assert [(group["by"], group["group"]) for group in filled] == [
        ("age", "newest quarter"),
        ("distance", "0 to 3 m"),
    ]
    assert all(group["heading_p90_deg"] == entry["heading_p90_deg"] for group in filled)
    assert (
        record("own_pose", 100, synthetic(0.1, 0.1), {}, EpisodeConfig(0), EXACT)["heading_p90_deg"] is None
    )


# -- the command -------------------------------------------------------------------------------------------


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drives in a thread: a process would spend longer on importing PyTorch than on the work."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    threads = SimpleNamespace(get_context=lambda _: multiprocessing.dummy)
    monkeypatch.setattr(rpe, "multiprocessing", threads)


@pytest.mark.usefixtures("in_this_process")
def test_the_command_writes_records_and_pictures_and_repeats_itself(models: Path, tmp_path: Path) -> None:
    arguments = ["evaluate", "rpe", "--lengths", "12,6", "--scenes", "2", "--queries", "2", "--seed", "3"]
    arguments += ["--odom-noise", "0.02,0.2", "--hfov-deg", "100", "--query-camera", "phone", "--size", "7,5"]
    arguments += ["--checkpoint", str(models / "small.safetensors"), "--baselines", str(models)]
    arguments += ["--method", ",".join(METHODS)]
    out = tmp_path / "out"
    assert cli.main([*arguments, "--json", str(tmp_path / "first.json"), "--out", str(out)]) == 0
    assert cli.main([*arguments, "--method", "kinaema,gru", "--json", str(tmp_path / "again.json")]) == 0
    first, again = (json.loads((tmp_path / name).read_text()) for name in ("first.json", "again.json"))
    assert [(entry["method"], entry["length"]) for entry in first] == [
        (method, length) for method in METHODS for length in (6, 12)
    ]
    assert all(set(entry) >= CONTRACT and entry["scenes"] == 2 and entry["queries"] == 4 for entry in first)
    same = [entry for entry in first if entry["method"] in ("kinaema", "gru")]
    for a, b in zip(same, again, strict=True):
        assert {k: v for k, v in a.items() if not k.endswith("_ms")} == {
            k: v for k, v in b.items() if not k.endswith("_ms")
        }
    for name in ("accuracy.png", "age.png", "distance.png", "calibration.png", "groups.json"):
        assert (out / name).stat().st_size > 1000


def test_a_drive_by_a_worker_process_is_that_of_this_one(
    models: Path, in_this_process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = task(("kinaema",), checkpoint=models / "small.safetensors", config=EpisodeConfig(0, (6,), QUERIES))
    _, here = rpe.evaluate(mine, 1)
    monkeypatch.undo()
    _, there = rpe.evaluate(mine, 1)
    np.testing.assert_allclose(here["kinaema"][0].pose, there["kinaema"][0].pose, atol=1e-6)


def test_a_memory_is_measured_with_as_many_embeddings_as_asked_for(
    models: Path, in_this_process: None
) -> None:
    usual = {"checkpoint": models / "small.safetensors", "config": EpisodeConfig(0, (6,), QUERIES)}
    sizes = [
        rpe.evaluate(task(("kinaema",), **usual, embeddings=n), 1)[0][0]["state_bytes"]
        for n in (None, 24, 48)
    ]
    assert sizes[0] == sizes[1] < sizes[2]


def test_a_baseline_that_is_not_there_is_named_before_any_work(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", "rpe", "--method", "gru", "--checkpoint", str(models / "small.safetensors")]
    assert cli.main([*arguments, "--baselines", str(tmp_path)]) == 1
    assert "baseline-gru.safetensors: no such file; train it" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong",
    [
        ["--lengths", "1"],
        ["--lengths", "8,8"],
        ["--method", "magic"],
        ["--odom-noise", "2,0"],
        ["--scenes", "0"],
        ["--hfov-deg", "130"],
        ["--size", "3"],
        ["--size", "40,30,20"],
        ["--embeddings", "2"],
        ["--query-camera", "film"],
    ],
)
def test_wrong_usage_is_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["evaluate", "rpe", *wrong])
    assert stopped.value.code == 2
    assert wrong[0] in capsys.readouterr().err
