"""kill -9 in the middle of a save: the file is the last good one or the new one, and what is left over goes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import torch

from kinaema_ros.model.checkpoint import read_tensors, write_tensors

# Writes 0s, then 1s in a process of its own that kills itself at the named point; prints what the file holds then.
PROGRAM = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)  # a fork knows nothing of other threads
from kinaema_ros.model import checkpoint

path = Path(sys.argv[1])
checkpoint.write_tensors(path, {"x": torch.zeros(300_000)}, {"format": "f", "version": 1})
for point in sys.argv[2:]:
    child = os.fork()
    if child == 0:
        def die(*_):
            os.kill(os.getpid(), signal.SIGKILL)
        if point == "write":
            whole = checkpoint.save
            def half(*arguments):
                stream = open(next(path.parent.glob("*.partial")), "wb")
                stream.write(whole(*arguments)[:500_000])
                stream.flush()
                die()
            checkpoint.save = half
        else:
            setattr(os, point, die)
        checkpoint.write_tensors(path, {"x": torch.ones(300_000)}, {"format": "f", "version": 1})
        os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    tensors, _ = checkpoint.read_tensors(path, "f", 1)
    print(point, *tensors["x"].unique().tolist())
"""


def test_a_save_that_is_killed_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    """``close``: of the folder, after the new file has its name."""
    program = [sys.executable, "-c", PROGRAM, str(tmp_path / "home.safetensors")]
    run = subprocess.run(
        [*program, "write", "fsync", "replace", "close"],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.stdout.splitlines() == ["write 0.0", "fsync 0.0", "replace 0.0", "close 1.0"]


def test_what_killed_processes_have_left_is_removed_by_the_next_save(tmp_path: Path) -> None:
    path = tmp_path / "home.safetensors"
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    there = tmp_path / f".home.safetensors.{os.getppid()}.partial"  # of one that is writing just now
    for leftover in (tmp_path / f".home.safetensors.{ended.pid}.partial", there):
        leftover.touch()
    write_tensors(path, {"x": torch.ones(3)}, {"format": "f", "version": 1})
    assert sorted(tmp_path.iterdir()) == sorted([path, there])


def test_two_threads_that_save_one_file_leave_it_whole_at_any_time(tmp_path: Path) -> None:
    path = tmp_path / "home.safetensors"
    errors: list[Exception] = []

    def write(value: float) -> None:
        try:
            for _ in range(20):
                write_tensors(path, {"x": torch.full((300_000,), value)}, {"format": "f", "version": 1})
                read_tensors(path, "f", 1)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(value,)) for value in (1.0, 2.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert [other.name for other in tmp_path.iterdir()] == [path.name]
