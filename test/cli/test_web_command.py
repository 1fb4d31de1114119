"""`kinaema web` and `kinaema demo --web`: what they start."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from kinaema_ros import cli


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What web_node would be started with."""
    started: list[Any] = []
    module = types.ModuleType("kinaema_ros.nodes.web.node")
    module.main = lambda words: started.extend(words) or 0  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return started


def test_the_page_is_for_this_machine_unless_told_otherwise(node: list[Any]) -> None:
    assert cli.main(["web"]) == 0
    assert "address:='127.0.0.1'" in node
    assert "port:=8765" in node
    assert "-r" not in node


def test_options_become_parameters_and_names(node: list[Any], tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_text("")
    command = ["web", "--address", "0.0.0.0", "--port", "80", "--restrict-go", "--tls-key", str(key)]
    assert cli.main([*command, "--namespace", "ant", "--image", "/camera/image_raw"]) == 0
    given = dict(word.split(":=") for word in node if ":=" in word)
    assert given == {
        "address": "'0.0.0.0'",
        "port": "80",
        "restrict_go": "true",
        "tls_key": f"'{key}'",
        "__ns": "/ant",
        "image": "/camera/image_raw",
        "image/compressed": "/camera/image_raw/compressed",
    }


def test_wrong_usage_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--port", "x"], ["--tls-key", "/none"], ["--image", "a b"]):
        with pytest.raises(SystemExit) as end:
            cli.main(["web", *words])
        assert end.value.code == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
