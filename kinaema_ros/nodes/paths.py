"""Files that ship with the package, in a checkout and in an installation."""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory


def shipped(relative: str) -> Path:
    """A file of the package's source tree, such as "models/kinaema.safetensors", wherever it is installed.

    Where there is none, the path in the checkout is returned, for the error message of whoever opens it.
    """
    checkout = Path(__file__).resolve().parents[2] / relative
    if checkout.exists():
        return checkout
    try:
        installed = Path(get_package_share_directory("kinaema_ros")) / relative
    except PackageNotFoundError:
        return checkout
    return installed if installed.exists() else checkout


def default_checkpoint() -> Path:
    """The network that ships with the package."""
    return shipped("models/kinaema.safetensors")
