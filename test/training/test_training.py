"""Training: what is resumed, what is refused, and a run from nothing to a checkpoint that can be used."""

from __future__ import annotations

import json
import logging
import multiprocessing.dummy
import os
from collections.abc import Iterator
from dataclasses import fields, replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from evaluation_support import shipped_network

from kinaema_ros import cli
from kinaema_ros.errors import InputError, KinaemaError
from kinaema_ros.memory import SpatialMemory
from kinaema_ros.model.checkpoint import load_network
from kinaema_ros.model.judge import Candidates
from kinaema_ros.model.local_features import LocalFeatures
from kinaema_ros.model.network import Kinaema
from kinaema_ros.training import pretrained
from kinaema_ros.training import train as training
from kinaema_ros.training.config import TrainConfig, build, read_config
from kinaema_ros.training.drives import simulate
from kinaema_ros.training.pretrained import load_pretrained_features
from kinaema_ros.training.questions import Questions
from kinaema_ros.training.run import Run
from kinaema_ros.training.train import fit_projection, from_tensors, to_tensors, train
from kinaema_ros.training.train_baselines import BaselineConfig

ROOT = Path(__file__).resolve().parents[2]
TINY: dict[str, Any] = {
    "projection_scenes": 2,
    "projection_views": 2,
    "held_out": 0.5,
    "model": {"num_embeddings": 32, "search": {"shortlist": 8, "hypotheses": 4, "verified": 3}},
    "data": {"drives": 2, "frames": [8, 9], "moments": [0.6, 1.0], "photos": 2, "max_size": 9.0},
}


def tiny(**data: Any) -> TrainConfig:
    return build(TrainConfig, TINY | {"data": TINY["data"] | data})


@pytest.fixture(scope="module", autouse=True)
def in_this_process() -> Iterator[None]:
    """Drives in a thread: a process would spend longer on importing PyTorch than on the work."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "sched_getaffinity", lambda _: {0})
        patch.setattr(
            training, "multiprocessing", SimpleNamespace(get_context=lambda _: multiprocessing.dummy)
        )
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a whole run, beside said.txt: what was logged for people."""
    folder = tmp_path_factory.mktemp("whole")
    said, log = logging.FileHandler(folder / "said.txt"), logging.getLogger("kinaema_ros")
    level = log.level
    log.addHandler(said)
    log.setLevel(logging.INFO)
    path = train(tiny(), folder)
    log.removeHandler(said)
    log.setLevel(level)
    said.close()
    assert path is not None
    return path


def test_a_run_ends_in_a_network_that_can_be_used_and_says_how_good_it_is(whole: Path) -> None:
    network, metadata = load_network(whole)
    assert metadata["training"]["train"] == json.loads(json.dumps(tiny().to_dict()))
    for camera in ("own camera", "other camera"):
        summary = metadata["training"]["held_out"][camera]
        assert {"acc_1m_20deg", "seen_auroc", "inside_90_position", "inside_90_yaw"} <= set(summary)
    assert str(whole) in (whole.parent / "said.txt").read_text()
    assert not any(parameter.requires_grad for parameter in network.parameters())
    memory, drive = SpatialMemory(network), simulate(tiny().data, 5)
    memory.set_camera(drive.camera, drive.mount)
    for rgb, pose in zip(drive.frames, drive.poses, strict=True):
        memory.update(rgb, pose)
    estimate = memory.locate(drive.frames[-1])
    assert np.hypot(*estimate.pose[:2]) < 0.5, "the photo is what the robot sees at the end"


def test_the_projection_depends_on_the_seed_alone(whole: Path) -> None:
    network, _ = load_network(whole)
    weight, bias = network.projection.weight, network.projection.bias
    again = Kinaema(tiny().model).eval()
    load_pretrained_features(again.features)
    fit_projection(again, tiny(), "cpu")
    torch.testing.assert_close(again.projection.weight, weight)
    torch.testing.assert_close(again.projection.bias, bias)
    fit_projection(again, tiny(seed=1), "cpu")
    assert not torch.allclose(again.projection.weight, weight)


def test_a_run_that_ran_out_of_time_goes_on_and_ends_as_one_that_did_not(tmp_path: Path, whole: Path) -> None:
    stops = 0
    while (path := train(tiny(), tmp_path, minutes=0.0)) is None:  # one drive at a time
        stops += 1
        assert len(list((tmp_path / "questions").glob("*.pt"))) >= stops
        assert stops <= 2
    assert stops >= 1
    for k in range(2):
        there, here = (torch.load(run / "questions" / f"{k}.pt") for run in (whole.parent, tmp_path))
        for name, tensor in there.items():
            torch.testing.assert_close(tensor, here[name], rtol=0.0, atol=0.0, msg=name)
    first, second = (load_network(path)[0].state_dict() for path in (whole, path))
    for name in (
        "projection.weight",
        "features.skip.weight",
        "judge.mean",
        "judge.deviation",
        "judge.rank.weight",
    ):
        torch.testing.assert_close(first[name], second[name], rtol=1e-3, atol=1e-3, msg=name)


def test_a_drive_that_is_done_is_not_done_again(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "questions").mkdir()
    for name in ("state.pt", "questions/0.pt", "questions/1.pt"):
        (tmp_path / name).write_bytes((whole.parent / name).read_bytes())
    monkeypatch.setattr(training, "simulate", None)
    monkeypatch.setattr(training, "fit_projection", None)
    assert train(tiny(), tmp_path) == tmp_path / "kinaema.safetensors"


def test_a_run_is_not_continued_with_another_configuration(tmp_path: Path, whole: Path) -> None:
    (tmp_path / "state.pt").write_bytes((whole.parent / "state.pt").read_bytes())
    with pytest.raises(InputError, match="another configuration"):
        train(tiny(seed=1), tmp_path)


def test_questions_are_written_and_read_as_they_are(whole: Path) -> None:
    written = torch.load(whole.parent / "questions" / "0.pt", weights_only=True)
    questions = from_tensors(written)
    again = from_tensors(to_tensors(questions))
    assert written.keys() == to_tensors(again).keys()
    for field in fields(Questions):
        if field.name != "candidates":
            torch.testing.assert_close(getattr(again, field.name), getattr(questions, field.name))
    for field in fields(Candidates):
        a, b = (getattr(part.candidates, field.name) for part in (again, questions))
        torch.testing.assert_close(a, b)
    photos = simulate(tiny().data, 0).photos
    assert len(questions.seen) == len(photos)
    assert int(questions.seen.sum()) == sum(photo.seen for photo in photos)
    assert int(questions.same_camera.sum()) == sum(photo.mount is not None for photo in photos)


def test_a_run_whose_state_is_damaged_is_refused_with_the_file_and_the_remedy(tmp_path: Path) -> None:
    run, path, cpu = Run(tmp_path, {"seed": 0}, None), tmp_path / "state.pt", torch.device("cpu")
    run.save({"step": 1, "network": {"weight": torch.zeros(100)}})
    saved = run.resume(cpu)
    assert saved is not None
    assert saved["step"] == 1
    whole = path.read_bytes()
    torch.save({"step": 1}, tmp_path / "foreign.pt")
    foreign = (tmp_path / "foreign.pt").read_bytes()
    for damaged in (whole[: len(whole) // 2], b"?" + whole[1:], b"", b"hello", foreign):
        path.write_bytes(damaged)
        with pytest.raises(KinaemaError, match=r"state\.pt cannot be read .*delete it to begin the run anew"):
            run.resume(cpu)


def test_the_shipped_features_are_the_pretrained_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that training begins alike where the package with XFeat's weights is not installed."""
    from_package, shipped = LocalFeatures(), LocalFeatures()
    load_pretrained_features(from_package)

    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(pretrained, "files", missing)
    load_pretrained_features(shipped)
    expected = from_package.state_dict()
    for name, tensor in shipped.state_dict().items():  # large ones are shipped as float16
        torch.testing.assert_close(tensor, expected[name], rtol=1e-3, atol=1e-3, msg=name)
        torch.testing.assert_close(tensor, shipped_network().features.state_dict()[name], msg=name)


# -- configurations ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"projection_scenez": 3}, "projection_scenez"),
        ({"projection_views": 0}, "projection_views = 0"),
        ({"held_out": 1.0}, "held_out = 1.0"),
        ({"model": {"num_embeddings": 0}}, "num_embeddings"),
        ({"model": {"tokens": {"sort": 3}}}, "tokens.sort"),
        ({"data": {"length": 3}}, "length"),
    ],
)
def test_a_wrong_configuration_is_refused_by_file_and_name(
    tmp_path: Path, values: dict, complaint: str
) -> None:
    path = tmp_path / "train.yaml"
    path.write_text(json.dumps(values))  # JSON is YAML
    with pytest.raises(InputError, match=complaint) as refused:
        read_config(TrainConfig, path)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("text", ["{", "3", "[1, 2]"])
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "train.yaml").write_text(text)
    with pytest.raises(InputError, match=r"train\.yaml"):
        read_config(TrainConfig, tmp_path / "train.yaml")


def test_what_is_not_said_keeps_its_default(tmp_path: Path) -> None:
    (tmp_path / "train.yaml").write_text("data: {frames: [10, 20]}\nmodel: {tokens: {tokens: 64}}\n")
    config = read_config(TrainConfig, tmp_path / "train.yaml")
    usual = TrainConfig()
    tokens = replace(usual.model.tokens, tokens=64)
    assert config == replace(
        usual, data=replace(usual.data, frames=(10, 20)), model=replace(usual.model, tokens=tokens)
    )


@pytest.mark.parametrize(("name", "kind"), [("train", TrainConfig), ("train_baselines", BaselineConfig)])
def test_the_recipes_that_ship_are_the_defaults(name: str, kind: type) -> None:
    assert read_config(kind, ROOT / "config" / f"{name}.yaml") == kind()


@pytest.mark.parametrize(("name", "kind"), [("train", TrainConfig), ("train_baselines", BaselineConfig)])
def test_the_recipes_that_ship_name_every_field(name: str, kind: type) -> None:
    text = (ROOT / "config" / f"{name}.yaml").read_text()
    data = type(kind().data)
    for field in (*fields(kind), *fields(data)):
        assert f"{field.name}:" in text, field.name


# -- the command -------------------------------------------------------------------------------------------


def test_the_command_trains_and_goes_on_where_it_stopped(
    tmp_path: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").write_text(json.dumps(TINY))
    (tmp_path / "run" / "questions").mkdir(parents=True)
    for name in ("state.pt", "questions/1.pt"):
        (tmp_path / "run" / name).write_bytes((whole.parent / name).read_bytes())
    arguments = ["train", str(tmp_path / "config.yaml"), "--out", str(tmp_path / "run")]
    assert cli.main([*arguments, "--minutes", "0"]) == 0
    assert "time is up; the same command continues" in capsys.readouterr().out
    assert cli.main(arguments) == 0
    assert "time is up" not in capsys.readouterr().out
    assert (tmp_path / "run" / "kinaema.safetensors").is_file()


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (["--method", "kinaema,gru"], "by itself"),
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
