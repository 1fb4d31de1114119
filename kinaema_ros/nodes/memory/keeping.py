"""A memory that outlives its node: loaded where the node is configured, saved now and then and at the end."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from kinaema_ros.errors import KinaemaError
from kinaema_ros.estimate import Place
from kinaema_ros.nodes.memory import files
from kinaema_ros.nodes.memory.inputs import MemoryInputs
from kinaema_ros.nodes.memory.monitor import MemoryMonitor

if TYPE_CHECKING:
    from kinaema_ros.memory import SpatialMemory

UNNAMED = "autosave"  # where the parameter load_at_start names no memory; that of the run before is set aside
PREVIOUS = "autosave-previous"


class MemoryKeeper:
    """What the parameters ``load_at_start`` and ``autosave_period`` ask for. Thread-safe."""

    def __init__(self, inputs: MemoryInputs, monitor: MemoryMonitor):
        self._inputs, self._monitor = inputs, monitor
        self._lock = threading.Lock()
        self._name = ""  # of the memory in use, "": it has none
        self._saved: tuple[int, dict[str, Place]] = 0, {}  # updates and places
        self._saved_at = time.monotonic()

    def restore(self, memory: SpatialMemory) -> None:
        """Loads the memory of ``load_at_start``, which must find the robot first, for nobody knows where it was started.

        Where there is none yet, the robot begins with an empty one. Raises KinaemaError for one that cannot be loaded:
        it would be overwritten.
        """
        parameters = self._inputs.parameters
        self._saved, self._saved_at = (0, {}), time.monotonic()
        name = self._name = parameters.load_at_start  # once: set later, it is that of the next configure
        if not name:
            return
        if not files.exists(parameters.memory_dir, name):
            self._monitor.problem(
                "nothing_to_load", f"there is no memory '{name}' yet (load_at_start): it begins empty"
            )
            return
        memory.load(files.saved(parameters.memory_dir, name), localize=True)
        self._saved = memory.num_updates, memory.places

    def load(self, name: str, localize: bool) -> Path:
        """Takes a saved memory into use, which is saved under its own name from then on; returns its file.

        Raises as ``files.saved`` and ``MemoryInputs.replace``; then nothing changes.
        """
        with self._lock:  # meanwhile nothing is saved: it would be under the name of the memory before
            path = files.saved(self._inputs.parameters.memory_dir, name)
            self._inputs.replace(path, localize)
            memory = self._inputs.configured_memory()
            self._name, self._saved = name, (memory.num_updates, memory.places)
        return path

    def look(self) -> None:
        """Saves where ``autosave_period`` is over."""
        period = self._inputs.parameters.autosave_period
        if period > 0.0 and time.monotonic() - self._saved_at >= period:
            self.save()

    def save(self) -> None:
        """Saves what is new, where ``autosave_period`` asks for it.

        Also while the robot looks for its place: then what it knew before, and that it does not know where it is.
        """
        parameters, memory = self._inputs.parameters, self._inputs.memory
        if parameters.autosave_period == 0.0 or memory is None:
            return
        with self._lock:
            self._saved_at, updates, places = time.monotonic(), memory.num_updates, memory.places
            if updates == 0 or (updates, places) == self._saved:
                return
            try:
                if not self._name:
                    files.set_aside(parameters.memory_dir, UNNAMED, PREVIOUS)
                    self._name = UNNAMED
                files.save(memory, parameters.memory_dir, self._name, self._inputs.odom_to_save())
                self._saved = updates, places
            except KinaemaError as error:
                self._monitor.problem("autosave_failed", str(error))
