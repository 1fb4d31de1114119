"""The API does what its description says, whatever it is sent (schemathesis)."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading

import pytest

pytest.importorskip("aiohttp", reason="the page's server is not installed")

from web_support import PlayedRobot, ask, jpeg, served

_CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "negative_data_rejection",
    "unsupported_method",
)


def test_no_request_breaks_the_server_or_its_description() -> None:
    if importlib.util.find_spec("schemathesis") is None:
        pytest.skip("schemathesis is not installed (it needs Python 3.11)")
    robot, before = PlayedRobot(), threading.active_count()
    with served(robot) as url:
        address, checks = f"{url}/api/openapi.json", ",".join(_CHECKS)
        command = [sys.executable, "-m", "schemathesis.cli", "run", address, "--exclude-path", "/api/events"]
        options = [
            "--seed",
            "1",
            "-n",
            "20",
            "--phases",
            "coverage,fuzzing",
            "--checks",
            checks,
            "--no-color",
        ]
        done = subprocess.run(
            [*command, *options, "-H", "X-Kinaema: fuzz"], capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
        assert "12 selected" in done.stdout
        # It has been through all that, and works.
        assert ask(f"{url}/api/photos", "POST", jpeg())[0] == 201
    assert threading.active_count() == before, [thread.name for thread in threading.enumerate()]
