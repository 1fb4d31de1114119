"""How long work takes on a device, on one thread where that is a CPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch


def milliseconds(work: Callable[[], object], device: torch.device) -> float:
    """Duration of ``work`` until the device has finished it; what was under way before does not count."""
    _wait(device)
    tick = time.perf_counter()
    work()
    _wait(device)
    return 1000.0 * (time.perf_counter() - tick)


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch computes on one thread of the CPU meanwhile."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":  # its kernels run on after a call returns
        torch.cuda.synchronize(device)
