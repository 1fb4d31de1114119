"""docs/parameters.md from the nodes' declarations.

python -m kinaema_ros.nodes.parameters_page > docs/parameters.md
"""

from __future__ import annotations

from typing import Any

from kinaema_ros.nodes.memory.parameters import MemoryParameters
from kinaema_ros.nodes.navigator.parameters import NavigatorParameters
from kinaema_ros.nodes.simulator.parameters import SimulatorParameters
from kinaema_ros.nodes.support.parameters import Declaration, declarations
from kinaema_ros.nodes.web.parameters import WebParameters

NODES = {
    "memory_node (kinaema_memory)": MemoryParameters,
    "navigator_node (kinaema_navigator)": NavigatorParameters,
    "web_node (kinaema_web)": WebParameters,
    "simulator_node (kinaema_simulator)": SimulatorParameters,
}
_HEAD = """# Parameters

This page is generated from the declarations in the code: `python -m kinaema_ros.nodes.parameters_page`. A
test compares the two. [config/kinaema.yaml](../config/kinaema.yaml) says why and when to change the parameters of
memory, navigator and web page.

A dot in a name is a level in YAML: `odometry.max_jump` is `max_jump` below `odometry`. Lengths are in metres,
angles in radians, times in seconds, unless the name says otherwise. A name that is not known, a wrong type and
a value that is not allowed are refused, at start and later. `truth_localization` has no parameters of its own.
"""


def page() -> str:
    """The page in Markdown, one table for each node."""
    parts = [_HEAD]
    for title, config in NODES.items():
        parts.append(f"\n## {title}\n\n| name | type | default | allowed | changeable | description |")
        parts.append("\n|---|---|---|---|---|---|\n")
        parts.extend(_row(declaration) for declaration in declarations(config))
    return "".join(parts)


def _row(declaration: Declaration) -> str:
    meta = declaration.field.metadata
    limits = "" if meta["low"] is None else f"{_shown(meta['low'])} to {_shown(meta['high'])}"
    cells = (
        f"`{declaration.name}`",
        declaration.type.__name__,
        f"`{_shown(declaration.default)}`",
        ", ".join(f"`{choice}`" for choice in meta["choices"]) or limits,
        declaration.when,
        meta["description"],
    )
    return f"| {' | '.join(cells)} |\n"


def _shown(value: Any) -> str:
    """As YAML has it, floats rounded to five digits."""
    if isinstance(value, float):
        return str(float(f"{value:.5g}"))
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) or '""'


if __name__ == "__main__":
    print(page(), end="")
