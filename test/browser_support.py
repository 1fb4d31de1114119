"""A real Chromium, by Playwright: Debian's, which a test run with CI=true installs where it may."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

PHONE, DESKTOP = {"width": 360, "height": 640}, {"width": 1280, "height": 800}
_NAMES = ("chromium", "chromium-browser", "google-chrome")


@functools.cache
def chromium_path() -> str:
    """Of the browser; skips the test, with the reason, where there is none and none may be installed."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None and os.environ.get("CI") == "true" and os.getuid() == 0 and shutil.which("apt-get"):
        install = "apt-get -qq update && apt-get -qq install -y --no-install-recommends chromium"
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        try:
            subprocess.run(["sh", "-c", install], env=environment, capture_output=True, timeout=300)
        except subprocess.TimeoutExpired:
            pytest.skip("chromium is missing, and apt-get did not install it within 5 minutes")
        found = shutil.which("chromium")
    if found is None:
        pytest.skip("chromium is missing, and could not be installed: apt install chromium")
    return found


@contextmanager
def browser() -> Iterator[Any]:
    """Chromium without a window."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = chromium_path()
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield chromium
        finally:
            chromium.close()


def open_page(
    chromium: Any, url: str, screen: dict[str, int] = PHONE, language: str = "en", **options: Any
) -> Any:
    """A page of a browser of its own, as a phone has it; what goes wrong in it fails the test at ``no_faults``."""
    context = chromium.new_context(viewport=screen, locale=language, **options)
    context.set_default_timeout(20_000)
    page = context.new_page()
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on(
        "console", lambda said: page.faults.append(said.text) if "Content Security" in said.text else None
    )
    page.goto(url)
    return page


def no_faults(*pages: Any) -> None:
    """No script failed, and nothing was blocked by the policy."""
    assert [page.faults for page in pages] == [[] for _ in pages]
