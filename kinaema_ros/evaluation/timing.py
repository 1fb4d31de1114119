"""How long work takes on a device, on one thread where that is a CPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

Result = TypeVar("Result")


def milliseconds(work: Callable[..., Result], *arguments: Any) -> tuple[Result, float]:
    """What ``work`` returns of ``arguments``, and how long it took until the device had finished it."""
    _wait()
    tick = time.perf_counter()
    result = work(*arguments)
    _wait()
    return result, 1000.0 * (time.perf_counter() - tick)


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch computes on one thread of the CPU meanwhile."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _wait() -> None:
    if torch.cuda.is_initialized():  # its kernels run on after a call returns
        torch.cuda.synchronize()
