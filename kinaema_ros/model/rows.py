"""Reading and writing one row of each of B tables."""

from __future__ import annotations

import torch
from torch import Tensor


def pick(values: Tensor, index: Tensor) -> Tensor:
    """Row ``index`` (B,) of values (B, N, ...) -> (B, ...)."""
    return values[torch.arange(len(index), device=index.device), index]


def put(values: Tensor, index: Tensor, row: Tensor, where: Tensor | None = None) -> Tensor:
    """A copy of values (B, N, ...) in which row ``index`` (B,) is ``row`` (B, ...), in the tables of ``where`` (B,)."""
    row = row.to(values.dtype)
    if where is not None:
        row = torch.where(where.view(-1, *[1] * (row.dim() - 1)), row, pick(values, index))
    return values.index_put((torch.arange(len(index), device=index.device), index), row)
