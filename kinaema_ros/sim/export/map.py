"""Export of a scene as the occupancy map that nav2's map_server loads."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kinaema_ros.sim.scene import Scene

OCCUPIED, UNKNOWN, FREE = 0, 205, 254


def export_map(scene: Scene, folder: str | Path) -> Path:
    """Writes map.yaml and map.pgm into the folder (created if need be) and returns the path of map.yaml.

    The map frame is the scene's frame. Image row 0 is the largest y, as map_server expects; what lies outside
    the building is unknown.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    grid = scene.occupancy()
    height, width = grid.data.shape
    xs = grid.origin[0] + (np.arange(width) + 0.5) * grid.resolution
    ys = grid.origin[1] + (np.arange(height) + 0.5) * grid.resolution
    inside = ((ys > 0) & (ys < scene.size[1]))[:, None] & ((xs > 0) & (xs < scene.size[0]))[None, :]
    image = np.where(grid.data, OCCUPIED, np.where(inside, FREE, UNKNOWN)).astype(np.uint8)
    (folder / "map.pgm").write_bytes(b"P5\n%d %d\n255\n" % (width, height) + image[::-1].tobytes())
    path = folder / "map.yaml"
    path.write_text(
        "image: map.pgm\nmode: trinary\n"
        f"resolution: {grid.resolution}\norigin: [{grid.origin[0]}, {grid.origin[1]}, 0.0]\n"
        "negate: 0\noccupied_thresh: 0.65\nfree_thresh: 0.25\n"
    )
    return path
