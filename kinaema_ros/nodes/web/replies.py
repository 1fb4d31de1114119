"""What the server answers where it does not do what was asked: JSON with a key and a sentence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NoReturn

from aiohttp import web


class Refusal(web.HTTPException):
    """An answer of any status; raised, so that whoever finds out need not hand it on."""

    status_code = 400

    def __init__(self, status: int, key: str, message: str, headers: Mapping[str, str] | None = None):
        self.status_code = status
        text = json.dumps({"error": key, "message": message})
        super().__init__(text=text, content_type="application/json", headers=headers)


def refuse(status: int, key: str, message: str, headers: Mapping[str, str] | None = None) -> NoReturn:
    """Ends the request. key: for programs, and for the page's own words; message: cause and remedy."""
    raise Refusal(status, key, message, headers)
