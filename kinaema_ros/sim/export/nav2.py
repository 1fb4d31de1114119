"""Nav2's parameters for other robots than config/nav2.yaml is for: without a lidar, or without a map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


def export_nav2(parameters: str | Path, folder: str | Path) -> Path:
    """Writes nav2.yaml into the folder, made of parameters for a robot with a lidar; returns its path."""
    path = Path(folder) / "nav2.yaml"
    path.write_text(yaml.safe_dump(without_lidar(yaml.safe_load(Path(parameters).read_text()))))
    return path


def export_overlaid(parameters: str | Path, overlay: str | Path, folder: str | Path) -> Path:
    """Writes nav2.yaml into the folder: the parameters, and in their place those of the overlay; returns its path."""
    path = Path(folder) / "nav2.yaml"
    under, over = (yaml.safe_load(Path(file).read_text()) for file in (parameters, overlay))
    path.write_text(yaml.safe_dump(overlaid(under, over)))
    return path


def overlaid(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Sections of both, and of what both have the second's."""
    both = {
        name: overlaid(under[name], value) if isinstance(value, dict) and name in under else value
        for name, value in over.items()
    }
    return {**under, **both}


def without_lidar(nav2: dict[str, Any]) -> dict[str, Any]:
    """The same parameters, changed: both costmaps are the map's, and the collision monitor waits for no scan."""
    static = nav2["global_costmap"]["global_costmap"]["ros__parameters"]["static_layer"]
    for name in ("local_costmap", "global_costmap"):
        costmap = nav2[name][name]["ros__parameters"]
        del costmap["obstacle_layer"]
        # Absolute: a costmap has a namespace of its own.
        costmap.update(
            plugins=["static_layer", "inflation_layer"], static_layer={**static, "map_topic": "/map"}
        )
    nav2["collision_monitor"]["ros__parameters"]["scan"]["enabled"] = False
    return nav2
