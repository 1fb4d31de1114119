"""`kinaema bench`: what an update and a query cost after 10 and after 10,000 frames, ours and history attention's.

One image at a time on one thread. The lengths take turns within one run, so that other work of the machine
slows all of them alike; ratios are more reliable than milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from kinaema_ros.baselines.learned import Baseline, new_baseline
from kinaema_ros.baselines.methods import KinaemaMethod, Method
from kinaema_ros.evaluation.timing import milliseconds, one_thread
from kinaema_ros.model.encoder import FEATURE_DIM
from kinaema_ros.model.network import Kinaema
from kinaema_ros.reporting import number, percent, progress, table

LENGTHS = (10, 100, 1000, 10_000)
WARM_UP = 5  # rounds that are not measured
MATRIX = 1024  # side of the square matrices that the machine's rate is measured with


@one_thread()
@torch.inference_mode()
def bench(network: Kinaema, rounds: int, lengths: tuple[int, ...] = LENGTHS) -> list[dict[str, Any]]:
    """A record for each method, operation and length.

    ``what`` is "kinaema update", "kinaema query", "attention update" or "attention query", from image to
    answer, or one of them with ", memory alone" where the image has been encoded already.
    """
    device = network.temperature.device
    # How long attention takes does not depend on what it has learned: an untrained one will do.
    attention: Baseline = new_baseline("attention", network).requires_grad_(False).eval()
    methods: dict[str, Method] = {"kinaema": KinaemaMethod(network), "attention": attention}  # type: ignore[dict-item]
    work: dict[tuple[str, int], Callable[[], None]] = {}
    size: dict[tuple[str, int], int] = {}
    for name, method in methods.items():
        for length, state in _driven(method, network, lengths, name):
            for operation, function in _operations(method, network, state).items():
                work[f"{name} {operation}", length] = function
                size[f"{name} {operation}", length] = method.num_bytes(state)
    times: dict[tuple[str, int], list[float]] = {key: [] for key in work}
    rng = np.random.default_rng(0)
    keys = list(work)
    for turn in progress(range(-WARM_UP, rounds), desc="timing", unit="round"):
        for index in rng.permutation(len(keys)):
            taken = milliseconds(work[keys[index]], device)
            if turn >= 0:
                times[keys[index]].append(taken)
    return [
        {
            "what": what,
            "length": length,
            "p50_ms": float(np.percentile(times[what, length], 50)),
            "p99_ms": float(np.percentile(times[what, length], 99)),
            "ratio_to_length_10": float(np.median(times[what, length]) / np.median(times[what, lengths[0]])),
            "bytes": size[what, length],
        }
        for what, length in keys
    ]


def _driven(method: Method, network: Kinaema, lengths: tuple[int, ...], name: str) -> list[tuple[int, Any]]:
    """The method's state after each length of a drive through ever new places, which fills any memory."""
    device = network.temperature.device
    generator = torch.Generator().manual_seed(0)
    states = []
    state = method.start(1, max(lengths) + 1)
    pose = torch.zeros(1, 3, dtype=torch.float64)
    for t in progress(range(max(lengths)), desc=f"{name} drives", unit="frame"):
        noise = torch.randn(1, FEATURE_DIM, generator=generator).to(device)
        features = network.descriptor.mean + noise / network.descriptor.inverse_std
        pose = pose + torch.tensor([[0.25, 0.0, 0.0]], dtype=torch.float64)
        state = method.update(state, features, pose.to(device))
        if t + 1 in lengths:
            states.append((t + 1, state))
    return states


def _operations(method: Method, network: Kinaema, state: Any) -> dict[str, Callable[[], None]]:
    device = network.temperature.device
    image = torch.randint(0, 256, (1, 3, 120, 160), dtype=torch.uint8, device=device)
    features = network.trunk(image)
    pose = torch.zeros(1, 3, dtype=torch.float64, device=device)

    def update(features: Tensor) -> None:
        method.update(state, features, pose)

    def query(features: Tensor) -> None:
        method.query(state, features[None]).pose.cpu()

    return {
        "update": lambda: update(network.trunk(image)),
        "query": lambda: query(network.trunk(image)),
        "update, memory alone": lambda: update(features),
        "query, memory alone": lambda: query(features),
    }


@one_thread()
def matrix_rate(device: torch.device) -> float:
    """Floating-point operations a second of the machine's matrix product, float32, one thread on a CPU."""
    a, b = (torch.randn(MATRIX, MATRIX, device=device) for _ in range(2))
    best = min(milliseconds(lambda: a @ b, device) for _ in range(10))
    return 2.0 * MATRIX**3 / (best / 1000.0)


@torch.inference_mode()
def operations_of(network: Kinaema) -> tuple[float, float]:
    """Floating-point operations of an update and of a query, encoder included."""
    method = KinaemaMethod(network)
    state = method.start(1, 1)
    counts = []
    for work in list(_operations(method, network, state).values())[:2]:
        with FlopCounterMode(display=False) as counter:
            work()
        counts.append(float(counter.get_total_flops()))
    return counts[0], counts[1]


def peak_shares(network: Kinaema, records: list[dict[str, Any]], rate: float) -> str:
    """How much of ``rate``, the machine's (operations a second), an update and a query make use of."""
    lines = [f"matrix product  {rate / 1e9:.0f} GFLOP/s, float32, {MATRIX} x {MATRIX}"]
    for operation, flops in zip(("update", "query"), operations_of(network), strict=True):
        seconds = next(r["p50_ms"] for r in records if r["what"] == f"kinaema {operation}") / 1000.0
        share = percent(flops / seconds / rate)
        lines.append(f"{operation:<14}  {flops / 1e9:.2f} GFLOP, {share} of that rate")
    return "\n".join(lines)


def records_table(records: list[dict[str, Any]]) -> str:
    """The records of `bench` for the terminal."""
    rows = [
        (
            entry["what"],
            str(entry["length"]),
            number(entry["p50_ms"], 2, " ms"),
            number(entry["p99_ms"], 2, " ms"),
            number(entry["ratio_to_length_10"], 3),
            number(entry["bytes"] / 1e6, 3, " MB"),
        )
        for entry in records
    ]
    return table(rows, ("what", "frames", "median", "99 %", "ratio to 10", "state"))
