"""Opening a rosbag2 by the library rosbags, and what it stumbles over."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path, PosixPath
from urllib.parse import quote

from rosbags.interfaces import ConnectionExtRosbag2
from rosbags.rosbag2 import Reader

from kinaema_ros.replay.topics import BagError


@contextmanager
def blame_the_bag(path: Path) -> Iterator[None]:
    """Turn what the parsers raise on broken bytes (struct, zstd, sqlite, memory ...) into BagError."""
    try:
        yield
    except BagError:
        raise
    except Exception as error:
        reason = str(error).strip().rstrip(".") or type(error).__name__
        if "not supported" in reason:  # what newer recorders write
            raise BagError(
                f"{path} cannot be read by rosbags {version('rosbags')}: {reason.partition(';')[0]}. Update it "
                f"(`{sys.executable} -m pip install --upgrade rosbags`), or give the bag's .mcap or .db3 file"
            ) from error
        raise BagError(f"{path} is broken or was cut off while recording: {reason}") from error


def open_reader(path: Path) -> Reader:
    """A bag's folder, or a single .mcap or .db3 file, opened. Raises BagError, with the remedy, where it cannot be."""
    if not path.exists():
        raise BagError(f"{path} does not exist")
    if path.is_dir() and not (path / "metadata.yaml").exists():
        raise BagError(
            f"{path} has no metadata.yaml: it is not a rosbag2, or one whose recording was cut off "
            f"(then `ros2 bag reindex {path}` writes it)"
        )
    if path.suffix == ".bag":
        raise BagError(
            f"{path} is a bag of ROS 1: convert it with `rosbags-convert --src {path} --dst {path.with_suffix('')}`"
        )
    if path.is_file() and path.suffix not in (".mcap", ".db3"):
        raise BagError(f"{path} is not a rosbag2: give its folder, or a single .mcap or .db3 file")
    with blame_the_bag(path):
        reader = Reader(_UriPath(path))
        reader.open()
        _forget_qos(reader)
    return reader


class _UriPath(PosixPath):
    """rosbags writes the path of an sqlite3 file into a URI as it is, where # and ? mean something else."""

    def __format__(self, _: str) -> str:
        return quote(str(self))


def _forget_qos(reader: Reader) -> None:
    """Rosbags tells topics of metadata.yaml and of the storage by their QoS, too, which people edit in the former."""
    folder = getattr(reader, "storage", reader)
    for storage in getattr(folder, "storages", ()):
        for connections in (folder.connections, storage.connections):
            connections[:] = [c._replace(ext=ConnectionExtRosbag2("cdr", [])) for c in connections]
