"""MP4 files: H.264 where an encoder is at hand, for browsers play nothing older."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import cv2

from kinaema_ros.images import RGB

ENCODER: Final = "libx264"


def write_video(path: Path, frames: Iterable[RGB], width: int, height: int, fps: int) -> str:
    """Writes frames (height, width, 3) RGB; returns what is to be said about the file, "" if all is well.

    Raises RuntimeError if nothing can write MP4.
    """
    try:
        import av
    except ImportError:
        return _write_with_opencv(path, frames, width, height, fps)
    if ENCODER not in av.codecs_available:
        return _write_with_opencv(path, frames, width, height, fps)
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as file:
        stream = file.add_stream(ENCODER, rate=fps, options={"preset": "superfast", "crf": "27"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode(None))
    return ""


def _write_with_opencv(path: Path, frames: Iterable[RGB], width: int, height: int, fps: int) -> str:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, (width, height))
    if not writer.isOpened():
        raise RuntimeError(f"OpenCV cannot write {path}; pip install av")
    try:
        for frame in frames:
            writer.write(frame[..., ::-1])
    finally:
        writer.release()
    return "MPEG-4 Part 2, which players show and browsers do not; pip install av for H.264"
