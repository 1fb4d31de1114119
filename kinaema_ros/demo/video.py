"""MP4 files with H.264, which browsers play."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import av

from kinaema_ros.images import RGB


def write_video(path: Path, frames: Iterable[RGB], width: int, height: int, fps: int) -> None:
    """Writes frames (height, width, 3) RGB."""
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as file:
        stream = file.add_stream("libx264", rate=fps, options={"preset": "superfast", "crf": "27"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode(None))
