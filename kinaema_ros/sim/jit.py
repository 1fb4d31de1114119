"""How kernels are compiled: cached on disk, and without holding the interpreter's lock."""

from __future__ import annotations

from pathlib import Path

from numba import njit

kernel = njit(cache=True, nogil=True, error_model="numpy")
fast_kernel = njit(cache=True, nogil=True, error_model="numpy", fastmath=True)


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
