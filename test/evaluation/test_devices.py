"""`kinaema evaluate rpe --device cuda` and `bench --device cuda`: times are those of finished work, answers those of a CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from evaluation_support import short_episode, small_baseline, small_network

from kinaema_ros.baselines.checkpoint import save_baseline
from kinaema_ros.evaluation import bench as bench_module
from kinaema_ros.evaluation import timing
from kinaema_ros.evaluation.bench import bench, matrix_rate
from kinaema_ros.evaluation.episodes import EpisodeConfig
from kinaema_ros.evaluation.rpe import METHODS, Task, drive, make_methods
from kinaema_ros.sim import OdometryNoise

on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")


def test_a_time_on_a_gpu_is_that_until_it_has_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: done.append("waited"))
    result, taken = timing.milliseconds(lambda word: done.append(word) or word, "work")
    assert done == ["waited", "work", "waited"]
    assert result == "work"
    assert taken >= 0.0


def test_nobody_waits_for_a_gpu_that_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def never() -> None:
        raise AssertionError("starts the GPU")

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    monkeypatch.setattr(torch.cuda, "synchronize", never)
    assert timing.milliseconds(lambda: 3)[0] == 3


def test_one_thread_is_for_the_time_of_the_work_only() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(RuntimeError, match="1 threads"), timing.one_thread():
            raise RuntimeError(f"{torch.get_num_threads()} threads")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@on_a_gpu
def test_every_method_answers_on_a_gpu_as_on_a_cpu(tmp_path: Path) -> None:
    for name in ("paper", "gru", "attention"):
        save_baseline(tmp_path / f"baseline-{name}.safetensors", small_baseline(name), {})
    episode, answers = short_episode(), {}
    for device in ("cpu", "cuda"):
        task = Task(EpisodeConfig(0, (6, 12), 2), METHODS, OdometryNoise(0.0, 0.0), Path(), tmp_path, device)
        methods = make_methods(task, small_network().to(device))
        answers[device] = drive(methods, episode, episode.poses, (6, 12))
    for name in METHODS:
        here, there = (answers[device][name][-1].answers for device in ("cpu", "cuda"))
        close = np.hypot(*(here.pose - there.pose)[..., :2].transpose(2, 0, 1)) < 0.05
        assert close[0, :2].all(), name
        np.testing.assert_allclose(here.seen, there.seen, atol=0.1)


@on_a_gpu
def test_bench_runs_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_module, "VIEWS", 8)
    assert len(bench(small_network().to("cuda"), rounds=2, lengths=(5, 10))) == 16
    assert matrix_rate(torch.device("cuda")) > 1e11
