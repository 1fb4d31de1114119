"""The film while it happens, in a window, where there is a screen."""

from __future__ import annotations

import gc
import os
import threading
from types import TracebackType

from kinaema_ros.demo.film import HEIGHT, WIDTH, Moment, Painter
from kinaema_ros.demo.record import DemoRecord

_PERIOD = 0.1  # seconds between two frames


class LiveWindow:
    """Shows a record as it grows, from its exploration's start, until ``with`` ends or the user closes it."""

    def __init__(self, record: DemoRecord, speed: float):
        self._record, self._speed = record, speed
        self._stop = threading.Event()
        # Tk belongs to the thread that made it, and the main thread has a robot to watch.
        self._thread = threading.Thread(target=self._show, name="live window", daemon=True)

    def __enter__(self) -> LiveWindow:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _show(self) -> None:
        try:
            self._run()
        finally:
            gc.collect()  # what is left of Tk must not be collected by another thread

    def _run(self) -> None:
        import tkinter

        painter = Painter(self._record)
        try:
            root = tkinter.Tk()
            root.title("kinaema demo")
            label = tkinter.Label(root, width=WIDTH, height=HEIGHT, borderwidth=0)
            label.pack()
            while not self._stop.wait(_PERIOD):
                now = self._record.now
                if now is not None:
                    pixels = painter.frame(Moment(now, self._speed)).tobytes()
                    header = f"P6 {WIDTH} {HEIGHT} 255\n".encode()
                    picture = tkinter.PhotoImage(data=header + pixels, format="PPM")
                    label.configure(image=picture)
                    label.image = picture  # type: ignore[attr-defined]  # Tk keeps no reference of its own
                root.update()
            root.destroy()
        except tkinter.TclError:  # the user closed it
            return


def has_screen() -> bool:
    """True if a window can be opened."""
    try:
        import tkinter
    except ImportError:
        return False
    if not os.environ.get("DISPLAY"):
        return False
    try:
        tkinter.Tk().destroy()
    except tkinter.TclError:
        return False
    return True
