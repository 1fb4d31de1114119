"""`kinaema evaluate rpe`: the command's contract, and that what it measures is what it says."""

from __future__ import annotations

import json
import math
import multiprocessing.dummy
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from evaluation_support import random_episode, small_network

from kinaema_ros import cli, geometry
from kinaema_ros.baselines.methods import KinaemaMethod, OwnPose, Retrieval, RetrievalPair
from kinaema_ros.evaluation import episodes as episodes_module
from kinaema_ros.evaluation import rpe
from kinaema_ros.evaluation.episodes import EpisodeConfig, odometry_of
from kinaema_ros.evaluation.rpe import ask, measure_costs, record
from kinaema_ros.evaluation.rpe_answers import LabelledEstimates, groups
from kinaema_ros.memory import SpatialMemory
from kinaema_ros.model.checkpoint import save_network
from kinaema_ros.model.estimates import Estimates
from kinaema_ros.sim import OdometryNoise

CONTRACT = {
    "method", "length", "scenes", "queries", "seed", "median_position_m", "median_yaw_deg", "acc_0.5m_10deg",
    "acc_1m_20deg", "acc_2m_30deg", "seen_auroc", "ece", "update_ms", "query_ms", "state_bytes",
}  # fmt: skip
LENGTHS = (6, 12)
EXACT = OdometryNoise(0.0, 0.0)


def drives(count: int = 3, noise: OdometryNoise = EXACT) -> tuple[list, np.ndarray]:
    episodes = [random_episode(seed, LENGTHS) for seed in range(count)]
    return episodes, np.stack([odometry_of(e, noise, 0, i) for i, e in enumerate(episodes)])


def answers_of(method: object, noise: OdometryNoise = EXACT, count: int = 3) -> list[LabelledEstimates]:
    episodes, odometry = drives(count, noise)
    return ask(method, episodes, odometry, LENGTHS, "cpu")  # type: ignore[arg-type]


def located(answers: LabelledEstimates) -> np.ndarray:
    return np.hypot(*(answers.located - answers.truth)[..., :2].transpose(2, 0, 1))


def test_retrieval_answers_with_the_pose_of_the_very_frame_it_is_shown() -> None:
    for answers in answers_of(Retrieval(small_network())):
        np.testing.assert_allclose(located(answers), 0.0, atol=1e-6)
        seen = answers.estimates.seen
        assert seen[:, :3].min() > seen[:, 3:].max()  # random features resemble nothing
        assert answers.estimates.std is None


def test_retrieval_suffers_from_odometry_that_drifts() -> None:
    noisy = answers_of(Retrieval(small_network()), OdometryNoise(0.3, 5.0))
    assert np.median(located(noisy[-1])) > 0.1


def test_own_pose_is_off_by_the_distance_of_the_place() -> None:
    for answers in answers_of(OwnPose()):
        np.testing.assert_allclose(located(answers), np.hypot(answers.truth[..., 0], answers.truth[..., 1]))


def test_a_memory_that_never_folds_answers_as_one_that_keeps_every_frame() -> None:
    network = small_network(cell={"write_threshold": 1.0}, loop_closure={"enabled": False})
    ours, kept = answers_of(KinaemaMethod(network)), answers_of(RetrievalPair(network))
    for a, b in zip(ours, kept, strict=True):
        np.testing.assert_allclose(a.estimates.pose, b.estimates.pose, atol=1e-4)
        np.testing.assert_allclose(a.estimates.seen, b.estimates.seen, atol=1e-5)


def test_drives_side_by_side_get_the_answers_of_drives_one_by_one() -> None:
    network = small_network()
    together = answers_of(KinaemaMethod(network), OdometryNoise(0.05, 1.0))
    episodes, odometry = drives(3, OdometryNoise(0.05, 1.0))
    for index, episode in enumerate(episodes):
        alone = ask(KinaemaMethod(network), [episode], odometry[index : index + 1], LENGTHS, "cpu")
        for a, b in zip(together, alone, strict=True):
            np.testing.assert_allclose(a.estimates.pose[index], b.estimates.pose[0], atol=1e-4)


def test_what_is_measured_is_what_spatial_memory_answers() -> None:
    network = small_network()
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, 120, 160, 3), dtype=np.uint8)
    poses = np.cumsum(rng.uniform(-0.2, 0.3, (8, 3)), axis=0)
    memory = SpatialMemory(network)
    method = KinaemaMethod(network)
    state = method.start(1, 8)
    with torch.inference_mode():
        for image, pose in zip(images, poses, strict=True):
            memory.update(image, pose)
            features = network.trunk(torch.from_numpy(image).permute(2, 0, 1)[None])
            state = method.update(state, features, torch.from_numpy(pose)[None])
        answer = method.query(state, network.trunk(torch.from_numpy(images[3]).permute(2, 0, 1)[None])[None])
    estimate = memory.locate(images[3])
    np.testing.assert_allclose(answer.pose[0, 0].numpy(), estimate.pose, atol=1e-4)
    assert answer.std is not None
    assert float(answer.std[0, 0, 0]) ** 2 == pytest.approx(estimate.covariance[0, 0], rel=1e-3)
    assert float(answer.seen[0, 0]) == pytest.approx(estimate.seen, abs=1e-4)
    assert method.num_bytes(state) == memory.state_bytes


def test_state_of_ours_stays_as_it_is_and_that_of_retrieval_grows() -> None:
    network = small_network()
    episodes, odometry = drives(1)
    for method, grows in (
        (KinaemaMethod(network), False),
        (Retrieval(network), True),
        (RetrievalPair(network), True),
    ):
        short, long = measure_costs(method, network.trunk, episodes[0], odometry[0], LENGTHS)
        assert (
            (long["state_bytes"] == 2 * short["state_bytes"])
            if grows
            else long == {**long, **short} | {key: long[key] for key in ("update_ms", "query_ms")}
        )
        assert min(short["update_ms"], short["query_ms"]) > 0.0


def test_exact_odometry_is_the_true_path_and_noise_is_the_same_in_every_run() -> None:
    episode = random_episode(5)
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
    stds = np.full((1, 2000, 2), std)
    seen = np.repeat([[0.9, 0.1]], 1000, axis=1).reshape(1, -1)
    seen = np.sort(seen)[:, ::-1].copy()
    estimates = Estimates(*(torch.from_numpy(array) for array in (pose, stds, seen)))
    return LabelledEstimates(estimates, truth, np.full((1, 1000), age))


def test_a_record_holds_what_is_promised_and_calibrated_errors_count_as_calibrated() -> None:
    cost = {"update_ms": 1.0, "query_ms": 2.0, "state_bytes": 3}
    entry = record("kinaema", 100, synthetic(0.3, 0.3), cost, EpisodeConfig(7), EXACT)
    assert set(entry) >= CONTRACT
    assert (entry["length"], entry["scenes"], entry["queries"], entry["seed"]) == (100, 1, 1000, 7)
    assert entry["seen_auroc"] == 1.0
    assert entry["ece"] < 0.03
    assert abs(entry["inside_90_ellipse"] - 0.9) < 0.03
    assert entry["median_yaw_deg"] == pytest.approx(0.0, abs=1e-9)
    expected = 1 - math.exp(-1.0 / (2 * 0.3**2))  # Rayleigh: share of errors below 1 m
    assert entry["acc_1m_20deg"] == pytest.approx(expected, abs=0.02)
    overconfident = record("kinaema", 100, synthetic(0.3, 0.1), cost, EpisodeConfig(7), EXACT)
    assert overconfident["ece"] > 0.2
    assert overconfident["inside_90_ellipse"] < 0.5


def test_groups_put_each_place_where_its_age_and_distance_say() -> None:
    entries = groups("kinaema", [synthetic(0.1, 0.1, age=0.8)], (100,))
    filled = {(entry["by"], entry["group"]) for entry in entries if entry["queries"]}
    assert filled == {("age", "oldest quarter"), ("distance", "0 to 3 m")}
    assert all(entry["acc_1m_20deg"] is None for entry in entries if not entry["queries"])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    save_network(path, small_network(cell={"context_layers": 1}), {})
    return path


def test_the_command_writes_records_and_pictures_and_repeats_itself(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # `cpu` would move the network's trunk in place, away from the --device that its costs are measured on.
    monkeypatch.delattr(torch.nn.Module, "cpu")
    monkeypatch.setattr(rpe, "TIMED", 2)
    # One worker, and at first a thread: a process spends longer on importing PyTorch than on the work.
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    threads = SimpleNamespace(get_context=lambda _: multiprocessing.dummy)
    monkeypatch.setattr(episodes_module, "multiprocessing", threads)
    arguments = [
        "evaluate",
        "rpe",
        "--method",
        "kinaema,retrieval,retrieval_pair,own_pose",
        "--lengths",
        "6,12",
    ]
    arguments += ["--scenes", "2", "--queries", "2", "--seed", "3", "--odom-noise", "0.02,0.2"]
    arguments += ["--checkpoint", str(checkpoint), "--cache", str(tmp_path / "cache")]
    out = tmp_path / "out"
    assert cli.main([*arguments, "--json", str(tmp_path / "first.json"), "--out", str(out)]) == 0
    assert cli.main([*arguments, "--json", str(tmp_path / "again.json")]) == 0  # from the cache
    first, again = (json.loads((tmp_path / name).read_text()) for name in ("first.json", "again.json"))
    assert [(entry["method"], entry["length"]) for entry in first] == [
        (method, length)
        for method in ("kinaema", "retrieval", "retrieval_pair", "own_pose")
        for length in (6, 12)
    ]
    assert all(set(entry) >= CONTRACT and entry["scenes"] == 2 and entry["queries"] == 4 for entry in first)
    for a, b in zip(first, again, strict=True):
        assert {k: v for k, v in a.items() if not k.endswith("_ms")} == {
            k: v for k, v in b.items() if not k.endswith("_ms")
        }
    for name in ("accuracy.png", "age.png", "distance.png", "calibration.png", "groups.json"):
        assert (out / name).stat().st_size > 1000
    damaged = min((tmp_path / "cache").iterdir())
    damaged.write_bytes(damaged.read_bytes()[:1000])
    monkeypatch.setattr(episodes_module, "multiprocessing", multiprocessing)
    assert cli.main(arguments) == 1
    error = capsys.readouterr().err
    assert f"error: {damaged} is damaged" in error
    assert "Traceback" not in error


def test_a_baseline_that_is_not_there_is_named_before_any_work(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "evaluate",
        "rpe",
        "--method",
        "gru",
        "--checkpoint",
        str(checkpoint),
        "--baselines",
        str(tmp_path),
    ]
    assert cli.main(arguments) == 1
    assert "baseline-gru.safetensors: no such file; train it" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong",
    [
        ["--lengths", "1"],
        ["--lengths", "8,8"],
        ["--method", "magic"],
        ["--odom-noise", "2,0"],
        ["--scenes", "0"],
    ],
)
def test_wrong_usage_is_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["evaluate", "rpe", *wrong])
    assert stopped.value.code == 2
    assert wrong[0] in capsys.readouterr().err
