"""The secrets that let a browser in: made once, kept in files for the node's user alone, shown as a QR code."""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
import stat
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from kinaema_ros.errors import KinaemaError

IN_FILE, GO_FILE = "web_token", "web_token_go"
_MIN_LENGTH = 20  # characters of a token that somebody wrote by hand


class Role(IntEnum):
    """What a browser may do; each includes those below."""

    NOBODY = 0
    WATCH = 1  # see everything, ask about photos, stop the robot
    DRIVE = 2  # send it somewhere, change the places


@dataclass(frozen=True)
class Tokens:
    """``enter`` lets in; ``go`` is asked for to drive, and is the same where one token is enough."""

    enter: str
    go: str
    path: Path  # of the file of ``go``

    def role(self, token: str) -> Role:
        """What this token allows. Takes as long for a wrong one as for a right one."""
        given = token.encode("utf-8", "replace")
        drives = hmac.compare_digest(given, self.go.encode())
        enters = hmac.compare_digest(given, self.enter.encode())
        return Role.DRIVE if drives else Role.WATCH if enters else Role.NOBODY


def load_tokens(folder: Path, restrict_go: bool) -> Tokens:
    """Reads the tokens in the folder; makes those that are missing. KinaemaError where a file cannot be trusted."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        enter = _token(folder / IN_FILE)
        if not restrict_go:
            return Tokens(enter, enter, folder / IN_FILE)
        return Tokens(enter, _token(folder / GO_FILE), folder / GO_FILE)
    except (OSError, UnicodeDecodeError) as error:
        raise KinaemaError(
            f"the page's token in {folder} cannot be read or made ({error}); give access there, or set the parameter "
            "data_dir to another folder"
        ) from error


def _token(path: Path) -> str:
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(24) + "\n")
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW)) as file:
        info = os.fstat(file.fileno())
        if stat.S_IMODE(info.st_mode) & 0o077 or info.st_uid != os.getuid():
            raise KinaemaError(
                f"{path} can be read by others: `rm {path}`, and a new token is made at the next start"
            )
        token = file.read().strip()
    if len(token) < _MIN_LENGTH or not token.isascii() or not token.isprintable():
        raise KinaemaError(f"{path} holds no token: `rm {path}`, and a new one is made at the next start")
    return token


def qr_code(address: str) -> str:
    """The address as a QR code of characters for a terminal; "" where segno is not installed."""
    try:
        import io

        import segno
    except ModuleNotFoundError:
        return ""
    drawn = io.StringIO()
    segno.make(address, error="l").terminal(drawn, compact=True)
    return drawn.getvalue()
