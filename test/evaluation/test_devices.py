"""`kinaema evaluate rpe --device cuda` and `bench --device cuda`, without a GPU.

PyTorch's fake tensors compute nothing but know their device, and refuse to mix those of two devices, as a GPU does.
They stand on the device "lazy", since a PyTorch built for CPUs cannot index tensors on "cuda", not even fake ones.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from evaluation_support import random_episode, small_network
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from kinaema_ros.baselines.learned import KINDS, new_baseline
from kinaema_ros.baselines.methods import KinaemaMethod, Method, OwnPose, Retrieval, RetrievalPair
from kinaema_ros.evaluation import bench as bench_module
from kinaema_ros.evaluation import rpe, timing
from kinaema_ros.evaluation.bench import bench, matrix_rate
from kinaema_ros.evaluation.episodes import EpisodeConfig, episodes
from kinaema_ros.evaluation.rpe import ask, measure_costs
from kinaema_ros.model.encoder import Trunk
from kinaema_ros.model.network import Kinaema

LENGTHS = (2, 4)
DEVICE = torch.device("lazy:0")


class Waits:
    """Counts how often the device was waited for."""

    def __init__(self) -> None:
        self.devices: list[torch.device] = []

    def __call__(self, device: torch.device) -> None:
        self.devices.append(device)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    waits = Waits()
    monkeypatch.setattr(timing, "_wait", waits)
    return waits


def moved(module: nn.Module, device: torch.device) -> nn.Module:
    """``Module.to``, which swaps the tensors' insides: fake ones refuse that, so they are replaced instead."""
    for part in module.modules():
        for name, parameter in part._parameters.items():
            part._parameters[name] = nn.Parameter(parameter.detach().to(device), parameter.requires_grad)
        for name, buffer in part._buffers.items():
            part._buffers[name] = buffer.to(device)
    return module


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(nn.Module, "to", moved)
    monkeypatch.setattr(rpe, "TIMED", 2)
    monkeypatch.setattr(bench_module, "WARM_UP", 1)
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield


def network_on(device: torch.device) -> Kinaema:
    # Without loops: closing them depends on values, which fake tensors lack.
    return small_network(loop_closure={"enabled": False}).to(device)


def methods(network: Kinaema) -> list[Method]:
    baselines = [new_baseline(name, network).requires_grad_(False).eval() for name in KINDS]
    return [KinaemaMethod(network), Retrieval(network), RetrievalPair(network), OwnPose(), *baselines]  # type: ignore[list-item]


@pytest.mark.usefixtures("gpu", "waits")
def test_every_method_is_asked_and_timed_on_the_device() -> None:
    network, drives = network_on(DEVICE), [random_episode(seed, LENGTHS) for seed in range(2)]
    odometry = np.stack([drive.poses for drive in drives])
    for method in methods(network):
        answers = ask(method, drives, odometry, LENGTHS, str(DEVICE))
        assert [a.estimates.pose.device.type for a in answers] == ["cpu", "cpu"]
        costs = measure_costs(method, network.trunk, drives[0], odometry[0], LENGTHS)
        assert min(cost["update_ms"] for cost in costs) > 0.0
    assert next(network.trunk.parameters()).device == DEVICE


@pytest.mark.usefixtures("gpu")
def test_bench_runs_on_the_device(waits: Waits) -> None:
    records = bench(network_on(DEVICE), rounds=1, lengths=(5, 10))
    assert len(records) == 16
    assert waits.devices == 2 * 16 * (bench_module.WARM_UP + 1) * [DEVICE], "timed from idle to idle"


@pytest.mark.usefixtures("gpu")
def test_costs_are_timed_from_idle_to_idle(waits: Waits) -> None:
    network, drive = network_on(DEVICE), random_episode(0, LENGTHS)
    measure_costs(KinaemaMethod(network), network.trunk, drive, drive.poses, LENGTHS)
    works = 2 * 2 * len(LENGTHS)
    assert waits.devices == 2 * works * [DEVICE]
    matrix_rate(DEVICE)
    assert waits.devices == 2 * (works + 10) * [DEVICE]


def test_a_time_on_a_gpu_is_that_until_it_has_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu, done = torch.device("cuda:1"), []
    monkeypatch.setattr(torch.cuda, "synchronize", done.append)
    timing.milliseconds(lambda: done.append("work"), gpu)
    assert done == [gpu, "work", gpu]


class OnADevice:
    """A tensor that can be used only after it has been copied to the CPU."""

    def __init__(self, tensor: Tensor):
        self._tensor = tensor

    def cpu(self) -> Tensor:
        return self._tensor

    def __reduce__(self) -> str:
        raise TypeError("a tensor on a device cannot be sent to the processes that encode")


def test_drives_are_encoded_on_the_cpu_whatever_device_the_trunk_is_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weights = Trunk().state_dict()
    trunk = Trunk()
    monkeypatch.setattr(trunk, "state_dict", lambda: {n: OnADevice(t) for n, t in weights.items()})
    (episode,) = episodes(EpisodeConfig(0, lengths=(2,), queries=2), 1, trunk)
    assert episode.features.device.type == "cpu"
    assert len(episode.features) == 2
