"""How kernels are compiled: cached on disk, and without holding the interpreter's lock."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from numba import njit

log = logging.getLogger(__name__)


def _compiled(fastmath: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """The decorator of a kernel."""

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            return njit(cache=True, nogil=True, error_model="numpy", fastmath=fastmath)(function)
        except RuntimeError:  # neither beside the sources nor below HOME may be written
            _tell_once()
            return njit(nogil=True, error_model="numpy", fastmath=fastmath)(function)

    return decorate


@cache
def _tell_once() -> None:
    log.warning(
        "numba finds no folder to keep compiled code in, so the simulator is compiled anew at every start; set "
        "NUMBA_CACHE_DIR to a folder that can be written"
    )


kernel = _compiled()
fast_kernel = _compiled(fastmath=True)


def drop_stale_kernels(folder: Path) -> None:
    """Deletes the index of compiled kernels that are older than any source file of the folder.

    Numba recompiles a cached function when its own file changes, but not when a function that it calls or a
    constant that it reads in another file does: after an update of one of two files, the old code would go on
    running. All kernels, and all that they call and read, are in the files of sim/ itself, none below it.
    """
    newest = max(source.stat().st_mtime for source in folder.glob("*.py"))
    for index in (folder / "__pycache__").glob("*.nbi"):
        try:
            if index.stat().st_mtime < newest:
                index.unlink()
        except OSError:
            continue  # another process was faster, or the installation is read-only


drop_stale_kernels(Path(__file__).parent)  # kernels are loaded on their first call, after this
