"""`kinaema bench`: what an update and a query cost after 10 and after 10,000 frames, ours, the paper's and history attention's.

One image at a time on one thread. The lengths take turns within one run, so that other work of the machine
slows all of them alike; ratios are more reliable than milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from kinaema_ros.baselines.config import LearnedConfig
from kinaema_ros.baselines.learned import HistoryAttention
from kinaema_ros.baselines.methods import KinaemaMethod, Learned, Method, NetworkEncoder
from kinaema_ros.baselines.paper import Paper
from kinaema_ros.camera import Intrinsics
from kinaema_ros.evaluation.timing import milliseconds, one_thread
from kinaema_ros.images import RGB
from kinaema_ros.model.network import Kinaema
from kinaema_ros.reporting import number, percent, progress, table
from kinaema_ros.sim import Camera, SceneConfig, explore, generate_scene, render

LENGTHS = (10, 100, 1000, 10_000)
WARM_UP = 2  # rounds that are not measured
MATRIX = 1024  # side of the square matrices that the machine's rate is measured with
CAMERA = Camera(640, 480, z=0.5)
VIEWS = 90  # of a drive, which begins again and again; after each of LENGTHS the same views come next
IN_A_ROW = 4  # updates that are timed together: in one of so many the memory settles its pose graph
BACK = 12  # updates in a place of before until the window holds nothing else


class Drive:
    """Views of a drive through a building as a method observes them; every round is a place of its own."""

    def __init__(self, method: Method):
        scene = generate_scene(0, SceneConfig(12.0, 12.0))
        self.poses = explore(scene, np.random.default_rng(0), VIEWS)
        self.camera = Intrinsics.from_hfov(CAMERA.width, CAMERA.height, CAMERA.hfov)
        self.rgb: list[RGB] = [render(scene, pose[None], CAMERA)[0] for pose in self.poses]
        self.observations = [method.encoder(rgb, self.camera, None) for rgb in self.rgb]

    def odometry(self, t: int) -> torch.Tensor:
        """Of frame ``t``: each round lies 100 m from the one before, so that new places fill any memory."""
        rounds, view = divmod(t, VIEWS)
        return torch.from_numpy(self.poses[view] + np.array([100.0 * rounds, 0.0, 0.0]))


@one_thread()
@torch.inference_mode()
def bench(network: Kinaema, rounds: int, lengths: tuple[int, ...] = LENGTHS) -> list[dict[str, Any]]:
    """A record for each method, operation and length.

    ``what`` is "kinaema update", "kinaema query", the same of "paper" or "attention", from an image of 640x480 to the
    answer, or one of them with ", memory alone" where the image has been encoded already. The place of an update was
    never seen; "kinaema update, place known" is one where the robot has come back (after 10 frames there is none yet).
    """
    # How long a network takes does not depend on what it has learned: an untrained one will do.
    learned = {"paper": Paper, "attention": HistoryAttention}
    methods: dict[str, Method] = {
        "kinaema": KinaemaMethod(network, NetworkEncoder(network)),
        **{name: Learned(kind(LearnedConfig()).to(network.device).eval()) for name, kind in learned.items()},
    }
    work: dict[tuple[str, int], Operation] = {}
    size: dict[tuple[str, int], int] = {}
    for name, method in methods.items():
        drive = Drive(method)
        for length, state in _driven(method, drive, lengths, name):
            for what, operation in _operations(method, drive, state, length).items():
                work[f"{name} {what}", length] = operation
                size[f"{name} {what}", length] = method.num_bytes(state)
    times: dict[tuple[str, int], list[float]] = {key: [] for key in work}
    rng = np.random.default_rng(0)
    keys = list(work)
    for turn in progress(range(-WARM_UP, rounds), desc="timing", unit="round"):
        view = int(rng.integers(VIEWS))
        for index in rng.permutation(len(keys)):
            operation = work[keys[index]]
            _, taken = milliseconds(operation.work, view)
            if turn >= 0:
                times[keys[index]].append(taken / operation.in_a_row)
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


def _driven(method: Method, drive: Drive, lengths: tuple[int, ...], name: str) -> list[tuple[int, Any]]:
    """The method's state after each length of a drive."""
    states = []
    state = method.start(max(lengths) + IN_A_ROW)
    for t in progress(range(max(lengths)), desc=f"{name} drives", unit="frame"):
        state = method.update(state, drive.observations[t % VIEWS], drive.odometry(t))
        if t + 1 in lengths:
            states.append((t + 1, state))
    return states


@dataclass
class Operation:
    """What is timed at once: ``in_a_row`` times the same, of a view by its number."""

    work: Callable[[int], object]
    in_a_row: int = 1


def _operations(method: Method, drive: Drive, state: Any, length: int) -> dict[str, Operation]:
    """What is timed, by its name. Those views are remembered that come next; any may be asked about."""

    def observed(view: int) -> Any:
        return method.encoder(drive.rgb[view], drive.camera, None)

    def encoded(view: int) -> Any:
        return drive.observations[view]

    def update(before: Any, observe: Callable[[int], Any], first: int, number: int, again: bool) -> Any:
        """The state after ``number`` views, from frame ``first`` on, or ``again`` those of a round earlier."""
        for t in range(first, first + number):
            before = method.update(before, observe(t % VIEWS), drive.odometry(t - VIEWS if again else t))
        return before

    def query(observation: Any) -> None:
        method.query(state, observation, same_camera=True).pose.cpu()

    operations = {
        "update": Operation(lambda _: update(state, observed, length, IN_A_ROW, again=False), IN_A_ROW),
        "query": Operation(lambda view: query(observed(view))),
        "update, memory alone": Operation(
            lambda _: update(state, encoded, length, IN_A_ROW, again=False), IN_A_ROW
        ),
        "query, memory alone": Operation(lambda view: query(encoded(view))),
    }
    if isinstance(method, KinaemaMethod):  # to the others all places are alike
        back = update(state, encoded, length, BACK, again=True)
        operations["update, place known"] = Operation(
            lambda _: update(back, observed, length + BACK, IN_A_ROW, again=True), IN_A_ROW
        )
    return operations


@one_thread()
def matrix_rate(device: torch.device) -> float:
    """Floating-point operations a second of the machine's matrix product, float32, one thread on a CPU."""
    a, b = (torch.randn(MATRIX, MATRIX, device=device) for _ in range(2))
    best = min(milliseconds(lambda: a @ b)[1] for _ in range(10))
    return 2.0 * MATRIX**3 / (best / 1000.0)


@torch.inference_mode()
def operations_of(network: Kinaema) -> tuple[float, float]:
    """Floating-point operations of an update and of a query, encoder included."""
    method = KinaemaMethod(network, NetworkEncoder(network))
    drive = Drive(method)
    ((length, state),) = _driven(method, drive, (10,), "kinaema")
    operations = _operations(method, drive, state, length)
    return flops(operations["update"]), flops(operations["query"])


def flops(operation: Operation) -> float:
    """Floating-point operations of one of those in a row."""
    with FlopCounterMode(display=False) as counter:
        operation.work(0)
    return float(counter.get_total_flops()) / operation.in_a_row


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
