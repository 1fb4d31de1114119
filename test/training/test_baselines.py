"""The learned baselines: fair in size and in what they are told, and able to learn."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from evaluation_support import random_episode, random_sequence, small_network
from torch import Tensor

from kinaema_ros import cli
from kinaema_ros.baselines.learned import KINDS, Baseline, load_baseline, new_baseline, save_baseline
from kinaema_ros.model.checkpoint import CheckpointError, save_network
from kinaema_ros.model.config import KinaemaConfig
from kinaema_ros.model.estimates import Estimates
from kinaema_ros.model.network import Kinaema
from kinaema_ros.model.se2 import compose
from kinaema_ros.training import train_baselines as baseline_training
from kinaema_ros.training.data import DataConfig, Pool
from kinaema_ros.training.memory_stage import TrajectoryBatch, trajectory_batch
from kinaema_ros.training.train_baselines import BaselineConfig, baseline_loss, train_baselines

both = pytest.mark.parametrize("name", sorted(KINDS))


def baseline_of(name: str) -> Baseline:
    torch.manual_seed(1)
    return new_baseline(name, small_network()).requires_grad_(False).eval()


def drive(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Features (1, T, F), odometry (1, T, 3), questions (1, Q, F)."""
    episode = random_episode(seed)
    return episode.features[None].float(), torch.from_numpy(episode.poses)[None], episode.queries[1:].float()


def one_by_one(
    baseline: Baseline, features: Tensor, odometry: Tensor, questions: Tensor
) -> tuple[object, Estimates]:
    state = baseline.start(1, features.shape[1])
    for t in range(features.shape[1]):
        state = baseline.update(state, features[:, t], odometry[:, t])
    return state, baseline.query(state, questions)


def parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@both
def test_baselines_have_as_many_parameters_as_are_trained_in_ours(name: str) -> None:
    network = Kinaema(KinaemaConfig())
    trained = parameters(network) - parameters(network.trunk)
    assert abs(parameters(new_baseline(name, network)) - trained) < 0.05 * trained


@both
def test_frame_by_frame_gives_what_training_saw_of_the_whole_drive(name: str) -> None:
    baseline, (features, odometry, questions) = baseline_of(name), drive()
    _, answer = one_by_one(baseline, features, odometry, questions)
    whole = baseline.query(baseline.remember(features, odometry), questions)
    for a, b in ((answer.pose, whole.pose), (answer.std, whole.std), (answer.seen, whole.seen)):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


@both
def test_where_the_odometry_began_does_not_matter(name: str) -> None:
    baseline, (features, odometry, questions) = baseline_of(name), drive()
    elsewhere = compose(
        torch.tensor([12_000.0, -3.0, 2.5], dtype=torch.float64).expand_as(odometry), odometry
    )
    _, here = one_by_one(baseline, features, odometry, questions)
    _, there = one_by_one(baseline, features, elsewhere, questions)
    torch.testing.assert_close(here.pose, there.pose, atol=1e-4, rtol=1e-4)


def test_the_state_of_the_gru_stays_and_the_history_grows() -> None:
    for name, grows in (("gru", False), ("attention", True)):
        baseline, (features, odometry, questions) = baseline_of(name), drive()
        short, _ = one_by_one(baseline, features[:, :4], odometry[:, :4], questions)
        long, _ = one_by_one(baseline, features, odometry, questions)
        assert baseline.num_bytes(long) == (3 if grows else 1) * baseline.num_bytes(short)


@both
def test_gradients_reach_everything_but_the_calibration(name: str) -> None:
    baseline = new_baseline(name, small_network()).requires_grad_(True)
    rng = np.random.default_rng(0)
    drives = trajectory_batch(
        [random_sequence(i) for i in range(2)], rng, torch.device("cpu"), 16, 4, (0.0, 0.0)
    )
    loss, metrics = baseline_loss(baseline, drives)
    loss.backward()
    without = {n for n, p in baseline.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
    assert {n for n in without if not n.startswith("fusion.")} == set()
    assert math.isfinite(metrics["loss"])


@both
def test_a_saved_baseline_answers_alike_and_a_wrong_file_is_refused(name: str, tmp_path: Path) -> None:
    baseline, path = baseline_of(name), tmp_path / "baseline.safetensors"
    save_baseline(path, baseline, {"steps": 0})
    again = load_baseline(path, name)
    _, a = one_by_one(baseline, *drive())
    _, b = one_by_one(again, *drive())
    torch.testing.assert_close(a.pose, b.pose, atol=0.02, rtol=0.02)  # large matrices are stored as float16
    other = next(kind for kind in KINDS if kind != name)
    with pytest.raises(CheckpointError, match=f"holds the baseline {name}, not {other}"):
        load_baseline(path, other)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match="truncated"):
        load_baseline(path, name)


# -- training ----------------------------------------------------------------------------------------------

CONFIG = BaselineConfig(
    steps=20, batch=4, queries=6, frames=(8, 16), calibration_drives=4, data=DataConfig(frames=16, queries=8)
)


@pytest.fixture
def without_rendering(monkeypatch: pytest.MonkeyPatch) -> None:
    def pool(data: DataConfig, step: int) -> Pool:
        first = 1000 if data.seed else 0  # calibration's are others
        trajectories = iter(random_sequence(first + k) for k in range(10**6))
        return Pool(dataclasses.replace(data, pool_start=8, new_per_step=0.0), trajectories, step)

    monkeypatch.setattr(baseline_training, "_pool", pool)


def weights(path: Path, name: str) -> dict[str, Tensor]:
    return load_baseline(path, name).state_dict()


@pytest.mark.usefixtures("without_rendering")
def test_baselines_learn_a_few_drives_by_heart(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, steps=150, frames=(16,), max_odometry_noise=(0.0, 0.0))
    paths = train_baselines(["attention"], small_network(), config, tmp_path)
    assert [path.name for path in paths] == ["baseline-attention.safetensors"]
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["median_m"] < 0.5 * lines[0]["median_m"]
    assert lines[-1]["loss"] < lines[0]["loss"] - 1.0


@pytest.mark.usefixtures("without_rendering")
def test_an_interrupted_run_ends_as_an_uninterrupted_one(tmp_path: Path) -> None:
    network, names = small_network(), ["gru", "attention"]
    whole = train_baselines(names, network, CONFIG, tmp_path / "whole")
    assert train_baselines(names, network, CONFIG, tmp_path / "parts", minutes=0.0) == []
    parts = train_baselines(names, network, CONFIG, tmp_path / "parts")
    for name, a, b in zip(names, whole, parts, strict=True):
        for key, tensor in weights(a, name).items():
            torch.testing.assert_close(tensor, weights(b, name)[key], atol=1e-5, rtol=1e-4)


@pytest.mark.usefixtures("without_rendering")
def test_a_run_of_another_configuration_is_not_gone_on_with(tmp_path: Path) -> None:
    train_baselines(["gru"], small_network(), CONFIG, tmp_path, minutes=0.0)
    with pytest.raises(ValueError, match="another configuration"):
        train_baselines(["gru"], small_network(), dataclasses.replace(CONFIG, batch=5), tmp_path)


@pytest.mark.usefixtures("without_rendering")
def test_calibration_asks_no_drive_about_its_own_places_as_unseen_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight drives in batches of seven leave one alone."""
    batches = []

    def recorded(*arguments: object) -> TrajectoryBatch:
        batches.append(trajectory_batch(*arguments))  # type: ignore[arg-type]
        return batches[-1]

    monkeypatch.setattr(baseline_training, "trajectory_batch", recorded)
    train_baselines(["gru"], small_network(), dataclasses.replace(CONFIG, steps=1, batch=7), tmp_path)
    assert len(batches) > 1, "drives to train on and to calibrate with"
    for batch in batches:
        for own, unseen in zip(batch.queries, batch.unseen, strict=True):
            assert not any(torch.equal(a, b) for a in own for b in unseen)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"frames": (500,)}, {"batch": 1}, {"calibration_drives": 1}])
def test_impossible_configurations_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        BaselineConfig(**wrong)


@pytest.mark.usefixtures("without_rendering")
def test_the_command_trains_baselines_and_goes_on_where_it_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_network(tmp_path / "network.safetensors", small_network(), {})
    config = "memory_batch: 4\nmemory_queries: 6\nmemory_frames: [8, 16]\ndata: {frames: 16, queries: 8}\n"
    (tmp_path / "config.yaml").write_text(config)
    arguments = ["train", str(tmp_path / "config.yaml"), "--method", "gru", "--out", str(tmp_path / "run")]
    arguments += ["--checkpoint", str(tmp_path / "network.safetensors"), "--minutes", "0"]
    for steps in (1, 2):
        assert cli.main(arguments) == 0
        assert "time is up" in capsys.readouterr().out
        assert torch.load(tmp_path / "run" / "state.pt", weights_only=True)["step"] == steps


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (["--method", "kinaema,gru"], "by itself"),
        (["--method", "gru", "--device", "cuda"], "on the CPU"),
        (["--method", "lstm"], "none of"),
        (["--minutes", "-1"], "0 or more"),
    ],
)
def test_wrong_usage_of_train_is_refused(
    wrong: list[str], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["train", "--out", str(tmp_path), *wrong])
    assert stopped.value.code == 2
    assert reason in capsys.readouterr().err
