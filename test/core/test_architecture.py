"""docs/architecture.md names files, functions and lines that exist.

Run as a program, it writes the true line numbers into the page.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "kinaema_ros"
PAGE = ROOT / "docs/architecture.md"
CITED_LINE = re.compile(
    r"`([\w.]+)`(\s)\(`([\w/]+\.py):\d+`\)"
)  # `FoldConfig.max_angle` (`model/config.py:94`)
CITED_NAME = re.compile(r"`([\w/]+\.py)`, `([\w.]+)`")  # `model/judge.py`, `Judge.seen`


def line_of(file: str, name: str) -> int:
    """The line on which a module of kinaema_ros defines a name, such as "keep" or "FoldConfig.max_angle"."""
    body = ast.parse((PACKAGE / file).read_text()).body
    for part in name.split("."):
        found = [node for node in body if part in names(node)]
        assert found, f"{file} defines no {name}"
        body = getattr(found[0], "body", [])
    return found[0].lineno


def names(node: ast.stmt) -> list[str]:
    """What a statement defines."""
    targets = getattr(node, "targets", [getattr(node, "target", None)])
    return [getattr(node, "name", ""), *(target.id for target in targets if isinstance(target, ast.Name))]


def corrected(page: str) -> str:
    """The page with the line numbers that are true now."""
    return CITED_LINE.sub(lambda c: f"`{c[1]}`{c[2]}(`{c[3]}:{line_of(c[3], c[1])}`)", page)


def test_cited_names_stand_on_the_cited_lines():
    page = PAGE.read_text()
    assert len(CITED_LINE.findall(page)) >= 15
    assert page == corrected(page), (
        f"to write the true line numbers: python {Path(__file__).relative_to(ROOT)}"
    )


def test_cited_files_and_names_exist():
    page = PAGE.read_text()
    cited = [(file, name) for file, name in CITED_NAME.findall(page) if not name.endswith(".py")]
    assert len(cited) >= 7
    for file, name in cited:
        line_of(file, name)
    # Some rows name a second file of the same folder.
    folders = ("", "nodes/memory/", "training/", "baselines/")
    for file in re.findall(r"`([\w/]+\.py)`", page):
        assert (ROOT / file).is_file() or any((PACKAGE / folder / file).is_file() for folder in folders), file


if __name__ == "__main__":
    PAGE.write_text(corrected(PAGE.read_text()))
