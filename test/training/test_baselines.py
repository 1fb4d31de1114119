"""The learned baselines: what they are told frame by frame is what they learn from, and they are able to learn."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from evaluation_support import (
    SMALL_BASELINE,
    folder_of_drives,
    random_trajectory,
    random_walk,
    small_baseline,
)
from torch import Tensor

from kinaema_ros import cli
from kinaema_ros.baselines.baseline import Baseline
from kinaema_ros.baselines.checkpoint import KINDS, load_baseline, save_baseline
from kinaema_ros.baselines.config import LearnedConfig
from kinaema_ros.baselines.decoder import PoseEstimate
from kinaema_ros.errors import InputError
from kinaema_ros.model.checkpoint import CheckpointError
from kinaema_ros.model.se2 import compose
from kinaema_ros.paths import default_checkpoint
from kinaema_ros.training import drive_folder
from kinaema_ros.training import trajectories as trajectories_module
from kinaema_ros.training.drive_folder import DriveBatch, DriveFolder, draw, fill
from kinaema_ros.training.train_baselines import BaselineConfig, Stage, learn, train_baselines
from kinaema_ros.training.trajectories import (
    DataConfig,
    Trajectory,
    TrajectoryDataset,
    encode,
    render_trajectory,
)

VIEW = SMALL_BASELINE.key_dim + 2 * SMALL_BASELINE.content_dim
all_kinds = pytest.mark.parametrize("name", sorted(KINDS))


def drive(seed: int = 0, width: int = VIEW) -> tuple[Tensor, Tensor, Tensor]:
    """Views (1, T, V), odometry (1, T, 3), questions (1, Q, V); V is ``width``."""
    rng = np.random.default_rng(seed)
    views = torch.from_numpy(rng.standard_normal((1, 12, width))).float()
    return views, torch.from_numpy(random_walk(rng, 12))[None], views[:, 3:7]


def answered(baseline: Baseline, state: object, questions: Tensor) -> PoseEstimate:
    """In the frame of the start."""
    estimate, _ = baseline.estimate(state, questions)
    return estimate


def one_by_one(
    baseline: Baseline, views: Tensor, odometry: Tensor, questions: Tensor
) -> tuple[object, PoseEstimate]:
    state = baseline.start(1, views.shape[1])
    for t in range(views.shape[1]):
        state = baseline.update(state, views[:, t], odometry[:, t])
    return state, answered(baseline, state, questions)


@all_kinds
def test_frame_by_frame_gives_what_training_saw_of_the_whole_drive(name: str) -> None:
    baseline, (views, odometry, questions) = small_baseline(name), drive()
    state, answer = one_by_one(baseline, views, odometry, questions)
    begun = baseline.remember(baseline.start(1, 0), views[:, :5], odometry[:, :5])
    remembered = baseline.remember(begun, views[:, 5:], odometry[:, 5:])
    whole = answered(baseline, remembered, questions)
    for field in dataclasses.fields(PoseEstimate):
        a, b = getattr(answer, field.name), getattr(whole, field.name)
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        baseline.estimate(state, questions)[1], baseline.estimate(remembered, questions)[1]
    )


@all_kinds
def test_where_the_odometry_began_does_not_matter(name: str) -> None:
    baseline, (views, odometry, questions) = small_baseline(name), drive()
    elsewhere = compose(
        torch.tensor([12_000.0, -3.0, 2.5], dtype=torch.float64).expand_as(odometry), odometry
    )
    _, here = one_by_one(baseline, views, odometry, questions)
    _, there = one_by_one(baseline, views, elsewhere, questions)
    torch.testing.assert_close(here.pose, there.pose, atol=1e-4, rtol=1e-4)


def test_the_states_stay_as_they_are_and_the_history_grows() -> None:
    for name, grows in (("gru", False), ("paper", False), ("attention", True)):
        baseline, (views, odometry, questions) = small_baseline(name), drive()
        short, _ = one_by_one(baseline, views[:, :4], odometry[:, :4], questions)
        long, _ = one_by_one(baseline, views, odometry, questions)
        assert baseline.num_bytes(long) == (3 if grows else 1) * baseline.num_bytes(short)


def batch_of(tmp_path: Path, drives: int = 4, noise: tuple[float, float] = (0.0, 0.0)) -> DriveBatch:
    folder = DriveFolder(folder_of_drives(tmp_path, drives) / "train", small_baseline("gru").describe)
    return draw(folder, drives, 12, noise, torch.Generator().manual_seed(0))


def learned_from(baseline: Baseline, drives: DriveBatch, **changes: object) -> dict[str, Tensor]:
    config = dataclasses.replace(CONFIG, **changes)  # type: ignore[arg-type]
    return learn(baseline, drives, config, 12, torch.Generator().manual_seed(0))


@all_kinds
def test_gradients_reach_everything_that_is_not_frozen(name: str, tmp_path: Path) -> None:
    baseline = small_baseline(name).requires_grad_(True)
    frozen = ("calibration.", "trunk.", "descriptor.")
    for part in (baseline.trunk, baseline.descriptor, baseline.calibration):
        part.requires_grad_(False)
    values = learned_from(baseline, batch_of(tmp_path), chunk=5)
    assert all(value.isfinite() for value in values.values())
    for parameter, tensor in baseline.named_parameters():
        reached = tensor.grad is not None and bool(tensor.grad.abs().sum() > 0)
        assert reached != parameter.startswith(frozen), parameter


def test_what_is_new_is_frozen_but_for_the_memory_itself() -> None:
    for name, kind in KINDS.items():
        learns = {n.partition(".")[0] for n, p in kind(SMALL_BASELINE).named_parameters() if p.requires_grad}
        assert learns, name
        assert not learns & {"trunk", "descriptor", "calibration"}, name


@all_kinds
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


@pytest.mark.parametrize("name", ["attention", "gru"])
def test_the_shipped_baselines_can_be_read(name: str) -> None:
    baseline = load_baseline(default_checkpoint().parent / f"baseline-{name}.safetensors", name)
    assert not any(parameter.requires_grad for parameter in baseline.parameters())
    views, odometry, questions = drive(width=baseline.config.key_dim + 2 * baseline.config.content_dim)
    _, answer = one_by_one(baseline, views, odometry, questions)
    assert answer.pose.shape == (1, 4, 3)
    assert answer.pose.isfinite().all()


# -- training ----------------------------------------------------------------------------------------------

CONFIG = BaselineConfig(
    stages=(Stage(6, 40, 4), Stage(12, 40, 4)),
    chunk=8,
    questions=4,
    warm_up=5,
    paper=SMALL_BASELINE.paper,
    data=DataConfig(frames=16, queries=8),
)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Whose trunk and descriptor the trained ones see by."""
    path = tmp_path_factory.mktemp("models") / "baseline-attention.safetensors"
    save_baseline(path, small_baseline("attention"), {})
    return path


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of_drives(tmp_path_factory.mktemp("drives"))


def weights(path: Path, name: str) -> dict[str, Tensor]:
    return load_baseline(path / f"baseline-{name}.safetensors", name).state_dict()


@all_kinds
def test_a_few_drives_are_learned_by_heart(
    name: str, tmp_path: Path, pretrained: Path, features: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kinaema_ros.training.train_baselines.CHECK_EVERY", 40)
    config = dataclasses.replace(
        CONFIG, stages=(Stage(4, 1600, 8),), max_odometry_noise=(0.0, 0.0), learning_rate=3e-3
    )
    assert train_baselines([name], pretrained, config, features, tmp_path) == 1600
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(160, 1601, 160)), "sequences"
    assert lines[-1]["regression"] < lines[0]["regression"] - 0.4
    assert lines[-1]["held_median_m"] > 0.0


def test_an_interrupted_run_ends_as_an_uninterrupted_one(
    tmp_path: Path, pretrained: Path, features: Path
) -> None:
    names = ["gru", "paper"]
    assert train_baselines(names, pretrained, CONFIG, features, tmp_path / "whole") == 80
    parts = [
        train_baselines(names, pretrained, CONFIG, features, tmp_path / "parts", minutes=0.0)
        for _ in range(3)
    ]
    assert parts == [4, 8, 12]
    assert train_baselines(names, pretrained, CONFIG, features, tmp_path / "parts") == 80
    for name in names:
        for key, tensor in weights(tmp_path / "whole", name).items():
            torch.testing.assert_close(tensor, weights(tmp_path / "parts", name)[key], atol=1e-4, rtol=1e-3)


def test_a_run_of_another_configuration_is_not_gone_on_with(
    tmp_path: Path, pretrained: Path, features: Path
) -> None:
    train_baselines(["gru"], pretrained, CONFIG, features, tmp_path, minutes=0.0)
    with pytest.raises(InputError, match="another configuration"):
        train_baselines(["gru"], pretrained, dataclasses.replace(CONFIG, chunk=5), features, tmp_path)
    with pytest.raises(InputError, match="another configuration"):
        train_baselines(["gru", "attention"], pretrained, CONFIG, features, tmp_path)


@all_kinds
def test_trunk_and_descriptor_stay_those_of_the_shipped_one(
    name: str, tmp_path: Path, pretrained: Path, features: Path
) -> None:
    train_baselines([name], pretrained, CONFIG, features, tmp_path, minutes=0.0)
    before, after = weights(pretrained.parent, "attention"), weights(tmp_path, name)
    for key, tensor in before.items():
        if key.startswith(("trunk.", "descriptor.")):
            torch.testing.assert_close(after[key], tensor, rtol=0.0, atol=0.0)


def test_the_curriculum_goes_from_short_parts_to_long_ones() -> None:
    assert CONFIG.sequences == 80
    assert CONFIG.stage(0) == (CONFIG.stages[0], 0.0)
    assert CONFIG.stage(39) == (CONFIG.stages[0], pytest.approx(39 / 40))
    assert CONFIG.stage(40) == (CONFIG.stages[1], 0.0)
    assert CONFIG.stage(60) == (CONFIG.stages[1], pytest.approx(0.5))


@pytest.mark.parametrize(
    "wrong",
    [
        {"stages": ()},
        {"stages": (Stage(500, 8, 4),)},
        {"stages": (Stage(8, 0, 4),)},
        {"chunk": 0},
        {"questions": 0},
    ],
)
def test_impossible_configurations_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        BaselineConfig(**wrong)


def test_the_command_trains_baselines_and_goes_on_where_it_stopped(
    tmp_path: Path,
    pretrained: Path,
    features: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    where = pretrained.parent / "kinaema.safetensors"
    monkeypatch.setattr("kinaema_ros.commands.train.default_checkpoint", lambda: where)
    config = "stages: [{frames: 6, sequences: 12, batch: 4}]\ndata: {frames: 16, queries: 8}\n"
    (tmp_path / "config.yaml").write_text(
        config + "paper: {embeddings: 6, dim: 16, heads: 2, decoder_layers: 1}\n"
    )
    arguments = ["train", str(tmp_path / "config.yaml"), "--method", "paper", "--out", str(tmp_path / "run")]
    arguments += ["--features", str(features)]
    for done in (4, 8):
        assert cli.main([*arguments, "--minutes", "0"]) == 0
        assert "time is up" in capsys.readouterr().out
        assert torch.load(tmp_path / "run" / "state.pt", weights_only=True)["sequences"] == done
    assert cli.main(arguments) == 0
    assert "time is up" not in capsys.readouterr().out
    assert load_baseline(tmp_path / "run" / "baseline-paper.safetensors", "paper").config == SMALL_BASELINE


def test_a_folder_without_drives_is_refused(tmp_path: Path, pretrained: Path) -> None:
    with pytest.raises(InputError, match="--render"):
        train_baselines(["gru"], pretrained, CONFIG, tmp_path / "drives", tmp_path / "run")


# -- drives ------------------------------------------------------------------------------------------------

DATA = DataConfig(frames=6, queries=4, max_size=9.0, workers=0, compile=False)


def test_a_rendered_trajectory_depends_on_seed_and_index_alone() -> None:
    one, again, other = (TrajectoryDataset(DATA, [k], encode=False)[0] for k in (3, 3, 4))
    assert torch.equal(one.features, again.features)
    assert torch.equal(one.poses, again.poses)
    assert not torch.equal(one.poses, other.poses)
    canonical = LearnedConfig()
    assert one.features.shape == (10, 3, canonical.image_height, canonical.image_width), (
        "as evaluation has it"
    )
    assert one.source.shape == (4,)
    assert int(one.source.max()) < 6
    another_seed = render_trajectory(dataclasses.replace(DATA, seed=1), 3)
    assert not np.array_equal(another_seed[1], one.poses)


def test_some_see_through_a_narrow_lens() -> None:
    """What it does not show is grey, in the frames of such a drive and in single photos."""
    always = dataclasses.replace(DATA, narrow_fraction=1.0, hfov_deg=(60.0, 61.0))
    narrow, _, _ = render_trajectory(always, 3)
    wide, _, _ = render_trajectory(dataclasses.replace(DATA, narrow_fraction=0.0), 3)
    assert np.ptp(narrow[:, :10].astype(int), axis=(1, 2, 3)).max() == 0
    assert np.ptp(wide[:, :10].astype(int), axis=(1, 2, 3)).min() > 0


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


def test_a_folder_is_filled_up_and_a_sixth_more_is_held_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered: list[int] = []

    def stream(config: DataConfig, indices: Sequence[int]) -> Iterator[Trajectory]:
        rendered.extend(indices)
        return iter([random_trajectory(k) for k in indices])

    monkeypatch.setattr(drive_folder, "stream", stream)
    fill(tmp_path, DATA, 5)
    assert rendered == [0, 1, 2, 3, 4, 5]
    fill(tmp_path, DATA, 10)
    assert rendered == list(range(12)), "what is there is not rendered again"
    drives = DriveFolder(tmp_path / "train", small_baseline("gru").describe)
    assert len(drives) == 10
    assert sorted(path.name for path in (tmp_path / "held").iterdir()) == [
        "000005.safetensors",
        "000011.safetensors",
    ]
    fill(tmp_path, DATA, 15)
    drives.refresh()
    assert (len(drives), drives.frames) == (15, 16)
    torch.testing.assert_close(drives.poses[12], random_trajectory(14).poses)


def test_questions_are_about_the_frames_meant_and_about_another_drives_places(tmp_path: Path) -> None:
    drives = batch_of(tmp_path, drives=5)
    asked = drives.questions(8, 12, 6, True, torch.Generator().manual_seed(1))
    assert asked.views.shape == (5, 12, VIEW)
    assert asked.unseen.shape == (5, 6, VIEW)
    for b in range(5):
        for pose in asked.poses[b, 6:]:
            assert (drives.poses[b, 8:12] == pose).all(-1).any(), "frames of the way itself"
        near = (drives.source[b] >= 8) & (drives.source[b] < 12)
        for pose in asked.poses[b, :6]:
            if near.any():
                assert (drives.asked_poses[b, near] == pose).all(-1).any()
        assert not any(torch.equal(a, u) for a in drives.asked_views[b] for u in asked.unseen[b])
    assert drives.questions(0, 12, 6, False, torch.Generator()).views.shape[1] == 6


def test_a_batch_without_noise_has_the_true_path_as_odometry(tmp_path: Path) -> None:
    exact, noisy = (batch_of(tmp_path, noise=noise) for noise in ((0.0, 0.0), (0.05, 0.5)))
    start = exact.poses[:, :1].expand_as(exact.poses)
    torch.testing.assert_close(
        compose(start, exact.odometry)[..., :2], exact.poses[..., :2], atol=1e-6, rtol=0.0
    )
    off = (compose(start, noisy.odometry) - noisy.poses)[..., :2].norm(dim=-1)
    assert off[:, 0].max() < 1e-6
    assert off[:, -1].max() > 0.005
