"""A robot that the tests of the page play, and the page's address."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # needs the page's server, without which the tests are skipped
    from web_support import PlayedRobot


@pytest.fixture
def robot() -> PlayedRobot:
    from web_support import PlayedRobot

    return PlayedRobot()


@pytest.fixture
def url(robot: PlayedRobot) -> Iterator[str]:
    from web_support import served

    with served(robot) as address:
        yield address
