"""Saved memories, by name: nothing outside one folder is written or read."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from kinaema_ros.errors import InputError, KinaemaError
from kinaema_ros.odometry import OdomFrame

if TYPE_CHECKING:
    from kinaema_ros.memory import SpatialMemory

SUFFIX = ".safetensors"
_NAME = re.compile(r"\w[\w .+-]{0,49}")  # in UTF-8, with the suffix, no longer than a file system takes


def folder(memory_dir: str) -> Path:
    """The folder of the parameter ``memory_dir``, absolute; "": the default. InputError where there is no home."""
    try:
        if memory_dir:
            return Path(memory_dir).expanduser().absolute()
        return Path(os.environ.get("ROS_HOME") or "~/.ros").expanduser().absolute() / "kinaema"
    except RuntimeError as error:
        raise InputError(
            "the node's user has no home directory; set the parameter memory_dir to a folder"
        ) from error


def save(memory: SpatialMemory, memory_dir: str, name: str, odom: OdomFrame | None = None) -> Path:
    """Writes a memory, and of which odometry it is; returns its file. KinaemaError for a name that is none and where nothing can be written."""
    path = _file(folder(memory_dir), name)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        memory.save(path, odom)
    except OSError as error:
        raise KinaemaError(
            f"{path} cannot be written ({error.strerror}); make room or give access there, or set the parameter "
            "memory_dir to another folder"
        ) from error
    return path


def exists(memory_dir: str, name: str) -> bool:
    """Whether there is a file of this name. KinaemaError for a name that is none, and where nobody can see."""
    path = _file(folder(memory_dir), name)
    try:
        return path.exists()
    except OSError as error:
        raise _unreadable(path, error) from error


def set_aside(memory_dir: str, name: str, other: str) -> None:
    """Gives the file of this name, if there is one, the name ``other``. KinaemaError where that cannot be."""
    path, aside = _file(folder(memory_dir), name), _file(folder(memory_dir), other)
    try:
        path.replace(aside)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise KinaemaError(f"{path} cannot be renamed to {aside} ({error.strerror})") from error


def saved(memory_dir: str, name: str) -> Path:
    """The file of a memory that was saved. KinaemaError for a name that is none and where there is no such file."""
    path = _file(folder(memory_dir), name)
    try:
        if path.is_file():
            return path
        there = sorted(other.stem for other in path.parent.glob(f"[!.]*{SUFFIX}") if other.is_file())
    except OSError as error:
        raise _unreadable(path, error) from error
    names = ", ".join(there) or "none"
    raise InputError(f"there is no {path}; of the memories there are: {names[:300]}")


def _unreadable(path: Path, error: OSError) -> KinaemaError:
    return KinaemaError(f"{path} cannot be read ({error.strerror}); give access there")


def _file(parent: Path, name: str) -> Path:
    stem = name.removesuffix(SUFFIX)
    if not _NAME.fullmatch(stem):
        raise InputError(
            f"{name[:60]!r} is no name of a memory, such as 'home': up to 50 letters, digits, blanks and . + - _, the "
            f"first a letter, digit or _. Its file lies in {parent} (parameter memory_dir)"
        )
    path = parent / f"{stem}{SUFFIX}"
    if os.path.dirname(os.path.realpath(path)) != os.path.realpath(parent):
        raise InputError(f"{path} is a link out of its folder, which is not followed; remove it")
    return path
