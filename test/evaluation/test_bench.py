"""`kinaema bench`: its contract, and that the work of the memory does not grow with the drive."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import pytest
import torch
from evaluation_support import small_baseline, small_network
from torch.utils.flop_counter import FlopCounterMode

from kinaema_ros import cli
from kinaema_ros.baselines.methods import KinaemaMethod, Learned, Method, NetworkEncoder
from kinaema_ros.evaluation import bench as bench_module
from kinaema_ros.evaluation.bench import Drive, _driven, _operations, bench, matrix_rate, operations_of
from kinaema_ros.model.checkpoint import save_network

LENGTHS = (20, 40, 80)  # the memory holds 12 embeddings, so that it is full; after each the drive begins anew
VIEWS = 10


@pytest.fixture(autouse=True)
def few_views(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rendering and encoding them is most of the work."""
    monkeypatch.setattr(bench_module, "VIEWS", VIEWS)


def ours() -> KinaemaMethod:
    network = small_network(num_embeddings=12)
    return KinaemaMethod(network, NetworkEncoder(network))


def flops(method: Method, lengths: tuple[int, ...]) -> dict[str, list[int]]:
    counts: dict[str, list[int]] = {}
    drive = Drive(method)
    with torch.inference_mode():
        for length, state in _driven(method, drive, lengths, ""):
            for name, operation in _operations(method, drive, state, length).items():
                with FlopCounterMode(display=False) as counter:
                    for view in range(VIEWS):  # how many tokens match varies from one to the next
                        operation.work(view)
                counts.setdefault(name, []).append(counter.get_total_flops())
    return counts


def test_the_work_of_ours_does_not_grow_with_the_drive_and_that_of_attention_does() -> None:
    for name, counts in flops(ours(), LENGTHS).items():
        assert 0 < max(counts) < 2 * min(counts), name  # the drive is 4 times as long
    for name, counts in flops(Learned(small_baseline("paper")), LENGTHS).items():
        assert 0 < max(counts) == min(counts), name
    short, longer, long = flops(Learned(small_baseline("attention")), LENGTHS)["query, memory alone"]
    assert short < longer < long


def test_a_drive_that_begins_again_is_elsewhere_and_its_views_are_the_same() -> None:
    drive = Drive(ours())
    assert len(drive.observations) == VIEWS
    first, second = drive.odometry(2), drive.odometry(2 + VIEWS)
    assert (second - first).tolist() == pytest.approx([100.0, 0.0, 0.0])


def test_the_robot_that_has_come_back_knows_its_place_and_the_one_that_drives_on_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bench_module, "VIEWS", 40)
    method = ours()
    with torch.inference_mode():
        drive = Drive(method)
        ((length, state),) = _driven(method, drive, (80,), "")
        operations = _operations(method, drive, state, length)
        on, back = (int(operations[name].work(0).graph.loops) for name in ("update", "update, place known"))
    assert on == int(state.graph.loops)
    assert back > on


def test_records_are_as_promised() -> None:
    records = bench(small_network(), rounds=3, lengths=(5, 10))
    assert {(r["what"], r["length"]) for r in records} == {
        (f"{method} {operation}{alone}", length)
        for method in ("kinaema", "paper", "attention")
        for operation in ("update", "query")
        for alone in ("", ", memory alone")
        for length in (5, 10)
    } | {("kinaema update, place known", length) for length in (5, 10)}
    for entry in records:
        assert set(entry) == {"what", "length", "p50_ms", "p99_ms", "ratio_to_length_10", "bytes"}
        assert 0.0 < entry["p50_ms"] <= entry["p99_ms"]
        assert entry["length"] != 5 or entry["ratio_to_length_10"] == 1.0
    size = {(r["what"].split()[0], r["length"]): r["bytes"] for r in records}
    assert size["kinaema", 5] == size["kinaema", 10]
    assert size["paper", 5] == size["paper", 10]
    assert size["attention", 10] == 2 * size["attention", 5]


def test_most_of_the_operations_of_an_update_are_the_encoders() -> None:
    method = ours()
    drive = Drive(method)
    with FlopCounterMode(display=False) as counter:
        method.encoder(drive.rgb[0], drive.camera, None)
    encoder = counter.get_total_flops()
    update, query = operations_of(method.network)
    assert encoder < update < 1.2 * encoder
    assert encoder < query < 1.5 * encoder


def test_the_machines_rate_is_that_of_a_machine() -> None:
    assert 1e8 < matrix_rate(torch.device("cpu")) < 1e13


def test_the_command_prints_and_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench_module, "bench", functools.partial(bench, lengths=(3, 6)))
    save_network(tmp_path / "small.safetensors", small_network(), {})
    arguments = ["bench", "--rounds", "10", "--checkpoint", str(tmp_path / "small.safetensors")]
    assert cli.main([*arguments, "--json", str(tmp_path / "bench.json")]) == 0
    assert len(json.loads((tmp_path / "bench.json").read_text())) == 26
    printed = capsys.readouterr().out
    assert "GFLOP/s" in printed
    assert "kinaema update" in printed


def test_too_few_rounds_are_wrong_usage() -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["bench", "--rounds", "1"])
    assert stopped.value.code == 2
