"""Checkpoints: safetensors with the configuration, a training summary and a hash. Loading executes no code."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from kinaema_ros.errors import InputError
from kinaema_ros.model.config import KinaemaConfig
from kinaema_ros.model.network import Kinaema

FORMAT = "kinaema-network"
VERSION = 7
# What safetensors calls the types of a memory
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "I64": torch.int64,
    "I16": torch.int16,
    "U8": torch.uint8,
}
HALF_PRECISION_FROM = 100_000  # elements: large matrices are stored as float16, which changes no result

Shapes = dict[str, tuple[int, ...]]
Expected = Callable[[Shapes], dict[str, Tensor]]


class CheckpointError(InputError):
    """The file is missing, damaged, or not what it should be; the message says which and what to do."""


def write_tensors(
    path: Path, tensors: dict[str, Tensor], metadata: dict[str, Any], mode: int = 0o666
) -> None:
    """Write atomically: a reader sees the old file or the whole new one, also where this process is killed or the power fails.

    So also where several threads write one file: the last one's stays. Adds ``sha256`` to the metadata.

    mode: who may read the file, less what the umask forbids. Raises ``OSError``.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {**metadata, "sha256": digest(tensors, metadata)}
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "is no file but a folder, pipe or device", str(path))
    path = Path(os.path.realpath(path))  # where a link leads to, and not the link, is written
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{threading.get_ident()}.{os.getpid()}.partial")
    try:
        partial.unlink(missing_ok=True)
        _remove_leftovers(path)
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:
            stream.write(save(tensors, {key: json.dumps(value) for key, value in metadata.items()}))
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the new name, too
        finally:
            os.close(folder)
    finally:
        partial.unlink(missing_ok=True)


def _remove_leftovers(path: Path) -> None:
    """What processes that were killed while they wrote have left."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        try:
            os.kill(int(leftover.name.split(".")[-2]), 0)
        except ProcessLookupError:
            leftover.unlink(missing_ok=True)
        except (PermissionError, OverflowError, ValueError):  # another user's process, or not ours
            continue


def read_tensors(
    path: Path, kind: str, version: int, expected: Expected | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and metadata of a file that ``write_tensors`` wrote; ``CheckpointError`` if it is not one.

    expected: by the shapes of the file's tensors, those whose names, shapes and types they must have, which is checked before
    any of it is read.
    """
    try:
        if not path.is_file():
            raise CheckpointError(f"{path}: no such file")
        path.open("rb").close()  # of one that may not be read safetensors says that it is not there
        with safe_open(str(path), framework="pt") as file:
            metadata = {key: _value(text) for key, text in (file.metadata() or {}).items()}
            _check_kind(path, metadata, kind, version)
            names = file.keys()
            if expected is not None:
                found = {name: file.get_slice(name) for name in names}
                shapes = {name: tuple(part.get_shape()) for name, part in found.items()}
                _check_layout(path, found, expected(shapes))
            # Copies: what safetensors returns is mapped from the file; whoever truncates that kills us.
            tensors = {name: file.get_tensor(name).clone() for name in names}
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f"{path}: truncated or not a safetensors file ({error})") from error
    if metadata.pop("sha256", None) != (sha := digest(tensors, metadata)):
        raise CheckpointError(
            f"{path}: damaged, its content does not match its hash; copy or download it again"
        )
    return tensors, {**metadata, "sha256": sha}


def format_of(path: Path) -> str:
    """What a file of ``write_tensors`` says it holds; "" for any other, about which ``read_tensors`` says more."""
    try:
        with safe_open(str(path), framework="pt") as file:
            return str(_value((file.metadata() or {}).get("format", "")))
    except (OSError, SafetensorError, ValueError):
        return ""


def _value(text: str) -> Any:
    """What ``write_tensors`` wrote; of other programs' metadata the text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _check_kind(path: Path, metadata: dict[str, Any], kind: str, version: int) -> None:
    if metadata.get("format") != kind:
        what = str(metadata.get("format") or "something else")[:40]
        raise CheckpointError(f"{path}: holds {what}, not a {kind}")
    if metadata.get("version") != version:
        raise CheckpointError(
            f"{path}: has format version {metadata.get('version')}, this kinaema_ros reads version {version}; "
            "use a file that was made with this version"
        )


def _check_layout(path: Path, found: dict[str, Any], expected: dict[str, Tensor]) -> None:
    """found: slices of safetensors by name, of which nothing has been read."""
    for name in sorted(found.keys() | expected.keys()):
        if name not in expected or name not in found:
            what = "unknown" if name in found else "missing"
            raise CheckpointError(
                f"{path}: the tensor {name[:80]!r} is {what}; it was not written by this version"
            )
        shape, dtype = tuple(found[name].get_shape()), DTYPES.get(found[name].get_dtype())
        if (shape, dtype) != (tuple(expected[name].shape), expected[name].dtype):
            raise CheckpointError(
                f"{path}: the tensor {name!r} has another shape or type than this network's"
            )


def digest(tensors: dict[str, Tensor], metadata: dict[str, Any]) -> str:
    """SHA-256 of the tensors' names, shapes and contents, and of the metadata."""
    sha = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        sha.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        sha.update(tensor.numpy().tobytes())
    return sha.hexdigest()


def save_network(path: str | Path, network: Kinaema, training: dict[str, Any]) -> None:
    """Write the network with its configuration and ``training``, a JSON-able summary of how it came about."""
    tensors = {
        name: tensor.half() if tensor.numel() >= HALF_PRECISION_FROM else tensor
        for name, tensor in network.state_dict().items()
    }
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "config": network.config.to_dict(),
        "training": training,
    }
    write_tensors(Path(path), tensors, metadata)


def load_network(path: str | Path, device: torch.device | str = "cpu") -> tuple[Kinaema, dict[str, Any]]:
    """The network in evaluation mode and its metadata (config, training, sha256).

    Raises ``CheckpointError``, or ``InputError`` for a device that this machine does not have.
    """
    device = usable_device(device)
    tensors, metadata = read_tensors(Path(path), FORMAT, VERSION)
    try:
        network = Kinaema(KinaemaConfig.from_dict(metadata["config"]))
        network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path}: does not fit this version of the network ({error})") from error
    network.requires_grad_(False)
    return network.to(device).eval(), metadata


def usable_device(name: torch.device | str) -> torch.device:
    """The device of this name, such as "cuda:1"; ``InputError`` where this machine does not have it."""
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ImportError) as error:  # what PyTorch raises depends on its build
        reason = str(error).partition("\n")[0].partition(". ")[0].rstrip(".")
        raise InputError(f"the device {str(name)!r} cannot be used: {reason}; use cpu") from error
    return device
