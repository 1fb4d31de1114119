"""The learned baselines: what they are told frame by frame is what they learn from, and they are able to learn."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from evaluation_support import SMALL_BASELINE, random_trajectory, random_walk, small_baseline
from torch import Tensor

from kinaema_ros import cli
from kinaema_ros.baselines.config import LearnedConfig
from kinaema_ros.baselines.decoder import PoseEstimate
from kinaema_ros.baselines.encoder import FEATURE_DIM
from kinaema_ros.baselines.learned import KINDS, Baseline, load_baseline, save_baseline
from kinaema_ros.errors import InputError
from kinaema_ros.model.checkpoint import CheckpointError
from kinaema_ros.model.se2 import compose
from kinaema_ros.paths import default_checkpoint
from kinaema_ros.training import train_baselines as baseline_training
from kinaema_ros.training import trajectories as trajectories_module
from kinaema_ros.training.train_baselines import BaselineConfig, baseline_loss, train_baselines
from kinaema_ros.training.trajectories import (
    CALIBRATION_SEED,
    DataConfig,
    Pool,
    TrajectoryBatch,
    TrajectoryDataset,
    encode,
    first_in_pool,
    in_batches,
    rendered_before,
    trajectory_batch,
)

both = pytest.mark.parametrize("name", sorted(KINDS))


def drive(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Features (1, T, F), odometry (1, T, 3), questions (1, Q, F)."""
    rng = np.random.default_rng(seed)
    features = torch.from_numpy(rng.standard_normal((1, 12, FEATURE_DIM))).float()
    return features, torch.from_numpy(random_walk(rng, 12))[None], features[:, 3:7]


def answered(baseline: Baseline, state: object, questions: Tensor) -> PoseEstimate:
    """In the frame of the start."""
    estimate, _ = baseline.estimate(state, questions)
    return estimate


def one_by_one(
    baseline: Baseline, features: Tensor, odometry: Tensor, questions: Tensor
) -> tuple[object, PoseEstimate]:
    state = baseline.start(1, features.shape[1])
    for t in range(features.shape[1]):
        state = baseline.update(state, features[:, t], odometry[:, t])
    return state, answered(baseline, state, questions)


@both
def test_frame_by_frame_gives_what_training_saw_of_the_whole_drive(name: str) -> None:
    baseline, (features, odometry, questions) = small_baseline(name), drive()
    state, answer = one_by_one(baseline, features, odometry, questions)
    whole = answered(baseline, remembered := baseline.remember(features, odometry), questions)
    for field in dataclasses.fields(PoseEstimate):
        a, b = getattr(answer, field.name), getattr(whole, field.name)
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        baseline.estimate(state, questions)[1], baseline.estimate(remembered, questions)[1]
    )


@both
def test_where_the_odometry_began_does_not_matter(name: str) -> None:
    baseline, (features, odometry, questions) = small_baseline(name), drive()
    elsewhere = compose(
        torch.tensor([12_000.0, -3.0, 2.5], dtype=torch.float64).expand_as(odometry), odometry
    )
    _, here = one_by_one(baseline, features, odometry, questions)
    _, there = one_by_one(baseline, features, elsewhere, questions)
    torch.testing.assert_close(here.pose, there.pose, atol=1e-4, rtol=1e-4)


def test_the_state_of_the_gru_stays_and_the_history_grows() -> None:
    for name, grows in (("gru", False), ("attention", True)):
        baseline, (features, odometry, questions) = small_baseline(name), drive()
        short, _ = one_by_one(baseline, features[:, :4], odometry[:, :4], questions)
        long, _ = one_by_one(baseline, features, odometry, questions)
        assert baseline.num_bytes(long) == (3 if grows else 1) * baseline.num_bytes(short)


def batch_of(drives: int, queries: int = 4) -> TrajectoryBatch:
    rng, cpu = np.random.default_rng(0), torch.device("cpu")
    return trajectory_batch([random_trajectory(i) for i in range(drives)], rng, cpu, 16, queries, (0.0, 0.0))


@both
def test_gradients_reach_everything_but_the_calibration(name: str) -> None:
    baseline = small_baseline(name).requires_grad_(True)
    baseline.trunk.requires_grad_(False)
    drives = batch_of(2)
    loss, metrics = baseline_loss(baseline, drives)
    loss.backward()
    without = {n for n, p in baseline.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
    assert {n for n in without if not n.startswith(("calibration.", "trunk."))} == set()
    assert math.isfinite(metrics["loss"])


@both
def test_a_saved_baseline_answers_alike_and_a_wrong_file_is_refused(name: str, tmp_path: Path) -> None:
    baseline, path = small_baseline(name), tmp_path / "baseline.safetensors"
    save_baseline(path, baseline, {"steps": 0})
    again = load_baseline(path, name)
    assert again.config == SMALL_BASELINE
    images = torch.randint(0, 256, (2, 3, 48, 64), dtype=torch.uint8)
    torch.testing.assert_close(again.trunk(images), baseline.trunk(images), atol=0.02, rtol=0.02)
    _, a = one_by_one(baseline, *drive())
    _, b = one_by_one(again, *drive())
    torch.testing.assert_close(a.pose, b.pose, atol=0.02, rtol=0.02)  # large matrices are stored as float16
    other = next(kind for kind in KINDS if kind != name)
    with pytest.raises(CheckpointError, match=f"holds the baseline {name}, not {other}"):
        load_baseline(path, other)
    whole = path.read_bytes()
    for damaged, complaint in (
        (whole[:-10], "truncated"),
        (whole[:-10] + bytes(10 * [77]), "damaged"),
        (b"hello", "not a safetensors file"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=complaint):
            load_baseline(path, name)
    with pytest.raises(CheckpointError, match="no such file"):
        load_baseline(tmp_path / "nowhere.safetensors", name)
    with pytest.raises(CheckpointError, match="not a kinaema-baseline"):
        load_baseline(default_checkpoint(), name)


@both
def test_the_shipped_baselines_can_be_read(name: str) -> None:
    baseline = load_baseline(default_checkpoint().parent / f"baseline-{name}.safetensors", name)
    assert not any(parameter.requires_grad for parameter in baseline.parameters())
    features, odometry, questions = drive()
    _, answer = one_by_one(baseline, features, odometry, questions)
    assert answer.pose.shape == (1, 4, 3)
    assert answer.pose.isfinite().all()


# -- training ----------------------------------------------------------------------------------------------

CONFIG = BaselineConfig(
    steps=20, batch=4, queries=6, frames=(8, 16), calibration_drives=4, data=DataConfig(frames=16, queries=8)
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Baselines whose trunk and descriptor the trained ones begin with."""
    folder = tmp_path_factory.mktemp("models")
    for name in KINDS:
        save_baseline(folder / f"baseline-{name}.safetensors", small_baseline(name), {})
    return folder


@pytest.fixture
def without_rendering(monkeypatch: pytest.MonkeyPatch) -> None:
    def pool(data: DataConfig, step: int) -> Pool:
        first = 1000 if data.seed else 0  # calibration's are others
        trajectories = iter(random_trajectory(first + k) for k in range(10**6))
        return Pool(dataclasses.replace(data, pool_start=8, new_per_step=0.0), trajectories, step)

    monkeypatch.setattr(baseline_training, "_pool", pool)


def weights(path: Path, name: str) -> dict[str, Tensor]:
    return load_baseline(path, name).state_dict()


@pytest.mark.usefixtures("without_rendering")
def test_baselines_learn_a_few_drives_by_heart(tmp_path: Path, models: Path) -> None:
    config = dataclasses.replace(CONFIG, steps=150, frames=(16,), max_odometry_noise=(0.0, 0.0))
    paths = train_baselines(["attention"], models, config, tmp_path)
    assert [path.name for path in paths] == ["baseline-attention.safetensors"]
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["median_m"] < 0.5 * lines[0]["median_m"]
    assert lines[-1]["loss"] < lines[0]["loss"] - 1.0


@pytest.mark.usefixtures("without_rendering")
def test_an_interrupted_run_ends_as_an_uninterrupted_one(tmp_path: Path, models: Path) -> None:
    names = ["gru", "attention"]
    whole = train_baselines(names, models, CONFIG, tmp_path / "whole")
    assert train_baselines(names, models, CONFIG, tmp_path / "parts", minutes=0.0) == []
    parts = train_baselines(names, models, CONFIG, tmp_path / "parts")
    for name, a, b in zip(names, whole, parts, strict=True):
        for key, tensor in weights(a, name).items():
            torch.testing.assert_close(tensor, weights(b, name)[key], atol=1e-5, rtol=1e-4)


@pytest.mark.usefixtures("without_rendering")
def test_a_run_of_another_configuration_is_not_gone_on_with(tmp_path: Path, models: Path) -> None:
    train_baselines(["gru"], models, CONFIG, tmp_path, minutes=0.0)
    with pytest.raises(InputError, match="another configuration"):
        train_baselines(["gru"], models, dataclasses.replace(CONFIG, batch=5), tmp_path)
    with pytest.raises(InputError, match="another configuration"):
        train_baselines(["gru", "attention"], models, CONFIG, tmp_path)


@both
@pytest.mark.usefixtures("without_rendering")
def test_trunk_and_descriptor_are_the_shipped_ones_and_the_trunk_stays(
    name: str, tmp_path: Path, models: Path
) -> None:
    (path,) = train_baselines([name], models, dataclasses.replace(CONFIG, steps=2), tmp_path)
    before, after = weights(models / path.name, name), weights(path, name)
    for key, tensor in before.items():
        if key.startswith("trunk."):
            torch.testing.assert_close(after[key], tensor, rtol=0.0, atol=0.0)
        if key.startswith("descriptor.") and tensor.numel() > 1:
            torch.testing.assert_close(after[key], tensor, rtol=0.01, atol=0.01)


@pytest.mark.usefixtures("without_rendering")
def test_calibration_asks_no_drive_about_its_own_places_as_unseen_ones(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight drives in batches of seven leave one alone."""
    batches = []

    def recorded(*arguments: object) -> TrajectoryBatch:
        batches.append(trajectory_batch(*arguments))  # type: ignore[arg-type]
        return batches[-1]

    monkeypatch.setattr(baseline_training, "trajectory_batch", recorded)
    train_baselines(["gru"], models, dataclasses.replace(CONFIG, steps=1, batch=7), tmp_path)
    assert len(batches) > 1, "drives to train on and to calibrate with"
    for batch in batches:
        for own, unseen in zip(batch.queries, batch.unseen, strict=True):
            assert not any(torch.equal(a, b) for a in own for b in unseen)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"frames": (500,)}, {"batch": 1}, {"calibration_drives": 1}])
def test_impossible_configurations_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        BaselineConfig(**wrong)


@pytest.mark.parametrize("wrong", [{"pool": 1}, {"pool_start": 1}])
def test_a_pool_of_one_is_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        DataConfig(**wrong)


@pytest.mark.usefixtures("without_rendering")
def test_the_command_trains_baselines_and_goes_on_where_it_stopped(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "kinaema_ros.commands.train.default_checkpoint", lambda: models / "kinaema.safetensors"
    )
    config = "steps: 3\nbatch: 4\nqueries: 6\nframes: [8, 16]\ndata: {frames: 16, queries: 8}\n"
    (tmp_path / "config.yaml").write_text(config + "calibration_drives: 4\n")
    arguments = ["train", str(tmp_path / "config.yaml"), "--method", "gru", "--out", str(tmp_path / "run")]
    for steps in (1, 2):
        assert cli.main([*arguments, "--minutes", "0"]) == 0
        assert "time is up" in capsys.readouterr().out
        assert torch.load(tmp_path / "run" / "state.pt", weights_only=True)["step"] == steps
    assert cli.main(arguments) == 0
    assert "time is up" not in capsys.readouterr().out
    assert load_baseline(tmp_path / "run" / "baseline-gru.safetensors", "gru").config == SMALL_BASELINE


# -- drives ------------------------------------------------------------------------------------------------

DATA = DataConfig(
    frames=6, queries=4, max_size=9.0, pool=4, pool_start=3, new_per_step=0.5, workers=0, compile=False
)


def test_a_rendered_trajectory_depends_on_seed_and_index_alone() -> None:
    one, again, other = (TrajectoryDataset(DATA, k, 1, 1, encode=False)[0] for k in (3, 3, 4))
    assert torch.equal(one.features, again.features)
    assert torch.equal(one.poses, again.poses)
    assert not torch.equal(one.poses, other.poses)
    canonical = LearnedConfig()
    assert one.features.shape == (10, 3, canonical.image_height, canonical.image_width), (
        "as evaluation has it"
    )
    assert one.source.shape == (4,)
    assert int(one.source.max()) < 6


def test_calibration_sees_other_drives_than_the_steps() -> None:
    fresh = dataclasses.replace(DATA, seed=DATA.seed + CALIBRATION_SEED)
    a, b = (TrajectoryDataset(config, 0, 1, 1, encode=False)[0] for config in (DATA, fresh))
    assert not torch.equal(a.poses, b.poses)


def test_images_are_encoded_alike_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trajectories_module, "ENCODE_BATCH", 4)
    trunk = small_baseline("gru").trunk
    images = torch.randint(0, 256, (6, 3, 48, 64), dtype=torch.uint8)
    sizes = []

    def counted(part: Tensor) -> Tensor:
        sizes.append(len(part))
        return trunk(part)

    features = encode(counted, images)
    assert sizes == [4, 4], "one size, so that one compilation serves"
    torch.testing.assert_close(features, trunk(images).half(), atol=2e-3, rtol=2e-3)


def test_a_resumed_pool_holds_what_an_uninterrupted_one_holds() -> None:
    def names(start: int) -> Iterator[int]:
        return iter(range(start, 100))

    through = Pool(DATA, names(0), 0)  # type: ignore[arg-type]
    for step in range(1, 8):
        through.advance(step)
        resumed = Pool(DATA, names(first_in_pool(DATA, step)), step)  # type: ignore[arg-type]
        assert resumed.trajectories == through.trajectories
        assert len(through.trajectories) <= DATA.pool
        assert through.trajectories[-1] == rendered_before(DATA, step) - 1
    a, b = (pool.sample(np.random.default_rng(3), 3) for pool in (through, resumed))
    assert a == b
    assert len(set(a)) == 3


def test_unseen_places_are_those_of_another_trajectory() -> None:
    batch = batch_of(3)
    for own, unseen in zip(batch.queries, batch.unseen, strict=True):
        assert not any(torch.equal(a, b) for a in own for b in unseen)


def test_a_batch_without_noise_has_the_true_path_as_odometry() -> None:
    batch = batch_of(2)
    start = batch.poses[:, :1].expand_as(batch.poses)
    torch.testing.assert_close(
        compose(start, batch.odometry)[..., :2], batch.poses[..., :2], atol=1e-6, rtol=0.0
    )
    frame = torch.arange(2)[:, None], batch.source
    torch.testing.assert_close(batch.query_poses, batch.poses[frame], atol=1e-6, rtol=0.0)


def test_a_trajectory_alone_is_not_asked_about_its_own_places_as_unseen_ones() -> None:
    with pytest.raises(ValueError, match="at least 2 trajectories"):
        batch_of(1)
    five = [random_trajectory(seed) for seed in range(5)]
    assert [len(batch) for batch in in_batches(five, 2)] == [2, 2]
    assert [len(batch) for batch in in_batches(five, 3)] == [3, 2]
