"""The demo as a film: camera, photo and words on the left, the building from above on the right."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from kinaema_ros import drawing
from kinaema_ros.demo.record import CAMERA, DemoRecord, Visit
from kinaema_ros.drawing import BLUE, GREEN, GREY, INK, ORANGE, PAPER, RED, FloorPlan
from kinaema_ros.images import RGB
from kinaema_ros.sim import Camera, render

WIDTH, HEIGHT, FPS = 1280, 720, 20
EXPLORE_SPEED, VISIT_SPEED = 8.0, 4.0  # robot's seconds a second of the film
_VIEW = Camera(480, 360)  # the robot's, sharper: what it saw is rendered again
_LEFT, _TOP, _VIEW_SIZE = 32, 108, (560, 420)
_PHOTO_SIZE = (213, 160)
_MAP = (624, 108, 632, 540)  # x, y, width, height
_CHUNK = 32  # frames in memory at a time


@dataclass(frozen=True)
class Moment:
    """A frame of the film: at which of the robot's seconds, and how fast time passes (0: it stands still)."""

    seconds: float
    speed: float
    over: bool = False  # the end of the demo


class Painter:
    """Paints what was recorded up to a moment."""

    def __init__(self, record: DemoRecord):
        self._record = record
        self._plan = FloorPlan(record.scene, *_MAP)
        self._empty = np.full((HEIGHT, WIDTH, 3), PAPER, np.uint8)
        self._plan.draw(self._empty)
        _legend(self._empty)

    def frame(self, moment: Moment) -> RGB:
        """(HEIGHT, WIDTH, 3) RGB."""
        image, record, now = self._empty.copy(), self._record, moment.seconds
        begun = [visit for visit in record.visits if visit.started <= now]
        pose = record.pose_at(now)
        self._map(image, now, begun, pose, moment.over)
        view = render(record.scene, pose[None], _VIEW)[0]
        drawing.paste(image, view, _LEFT, _TOP, *_VIEW_SIZE)
        drawing.text(image, "what the robot sees", _LEFT, _TOP - 24, 15, GREY)
        drawing.text(
            image, "the building from above, for you: the memory has no map", _MAP[0], _TOP - 24, 15, GREY
        )
        _clock(image, now - record.began, moment.speed)
        if moment.over:
            self._ending(image)
        elif begun:
            self._visit(image, begun[-1], len(begun), now)
        else:
            self._exploring(image)
        return image

    # -- the map ---------------------------------------------------------------------------------------------

    def _map(self, image: RGB, now: float, begun: list[Visit], pose: NDArray, over: bool) -> None:
        record, plan = self._record, self._plan
        plan.line(image, record.path(record.began, min(now, record.explored)), (150, 190, 214), 2)
        for number, visit in enumerate(begun, 1):
            finished = over or visit.ended <= now
            active = visit is begun[-1] and not over
            if active or over:
                plan.line(image, record.path(visit.started, min(now, visit.ended)), ORANGE, 3)
            if active:
                estimate = visit.estimate_at(now)
                if estimate is not None:
                    plan.estimate(image, estimate, ORANGE)
            color = INK if not finished else GREEN if visit.reached else RED
            plan.view(image, visit.true, color, str(number))
        plan.robot(image, pose, 1.6, CAMERA.hfov)

    # -- words -----------------------------------------------------------------------------------------------

    def _exploring(self, image: RGB) -> None:
        _title(image, "1. A robot is shown round a building it has never seen")
        size = f"{self._record.state_bytes / 1000:.0f} kB"
        words = [
            "Every camera image changes the robot's memory,",
            f"which never grows ({size}), and is thrown away.",
            "No map is built and no picture is kept.",
        ]
        _lines(image, _LEFT, words)

    def _visit(self, image: RGB, visit: Visit, number: int, now: float) -> None:
        _title(image, f"2. Photo {number} of {self._record.goals}: where was it taken? Go there!")
        y = _TOP + _VIEW_SIZE[1] + 12
        drawing.paste(image, visit.photo, _LEFT, y, *_PHOTO_SIZE)
        x = _LEFT + _PHOTO_SIZE[0] + 20
        estimate = visit.estimate_at(now)
        if visit.ended <= now:
            color = GREEN if visit.reached else RED
            drawing.text(image, "Reached." if visit.reached else "Not reached.", x, y, 24, color, True)
            if visit.arrived:
                words = [f"{visit.distance:.2f} m from the photo's place,", f"after {visit.seconds:.0f} s."]
            else:
                words = _wrapped(visit.message)
            _lines(image, x, words, 1.4)
        elif estimate is None:
            drawing.text(image, "Where is this?", x, y, 24, INK, True)
        else:
            drawing.text(image, "There!", x, y, 24, ORANGE, True)
            size = math.sqrt(float(np.linalg.eigvalsh(estimate.covariance[:2, :2])[-1]))
            words = [
                f"this place: {100 * estimate.confidence:.0f} % sure",
                f"position: give or take {size:.2f} m",
            ]
            left = math.hypot(*(np.array(estimate.pose) - self._record.pose_at(now))[:2])
            _lines(image, x, [*words, f"{left:.1f} m away, as the crow flies"], 1.4)

    def _ending(self, image: RGB) -> None:
        record = self._record
        _title(image, f"{record.reached} of {record.goals} places found from their photos alone.")
        y, gap = _TOP + _VIEW_SIZE[1] + 12, 8
        shown = record.visits[:5]
        width = min(170, (_VIEW_SIZE[0] - gap * (len(shown) - 1)) // max(1, len(shown)))
        for index, visit in enumerate(shown):
            x, height = _LEFT + index * (width + gap), width * 3 // 4
            drawing.paste(image, visit.photo, x, y, width, height)
            color = GREEN if visit.reached else RED
            words = f"{index + 1}: {visit.distance:.2f} m" if visit.arrived else f"{index + 1}: refused"
            drawing.text(image, words, x, y + height + 4, 16, color, True)


def timeline(record: DemoRecord) -> list[Moment]:
    """The film's frames: exploration fast, drives slower, with time to look at each photo and answer."""
    moments = _run(record.began, record.explored, EXPLORE_SPEED)
    for visit in record.visits:
        moments += _hold(visit.started, 1.5)
        if visit.estimates:
            start = min(visit.estimates[0][0], visit.ended)
            moments += _hold(start, 1.5) + _run(start, visit.ended, VISIT_SPEED)
        moments += _hold(visit.ended, 2.0)
    last = record.visits[-1].ended if record.visits else record.explored
    return moments + [Moment(last, 0.0, over=True)] * (4 * FPS)


def frames(record: DemoRecord, moments: list[Moment]) -> Iterator[RGB]:
    """Paints moments on all cores."""
    painter = Painter(record)
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(moments), _CHUNK):
            yield from pool.map(painter.frame, moments[start : start + _CHUNK])


def _run(start: float, end: float, speed: float) -> list[Moment]:
    return [Moment(float(t), speed) for t in np.arange(start, end, speed / FPS)]


def _hold(seconds: float, duration: float) -> list[Moment]:
    return [Moment(seconds, 0.0)] * round(duration * FPS)


def _title(image: RGB, words: str) -> None:
    drawing.text(image, words, _LEFT, 28, 29, INK, True)


def _lines(image: RGB, x: int, words: list[str], after: float = 0.0) -> None:
    """Below the camera, after so many lines."""
    for index, line in enumerate(words):
        drawing.text(image, line, x, _TOP + _VIEW_SIZE[1] + 14 + 29 * (index + after), 19)


def _wrapped(words: str, width: int = 36) -> list[str]:
    return textwrap.wrap(words, width)[:4]


def _clock(image: RGB, seconds: float, speed: float) -> None:
    minutes, whole = divmod(max(0, int(seconds)), 60)
    words = f"robot's time {minutes}:{whole:02d}" + (f"  ×{speed:g}" if speed > 0 else "")
    drawing.text(image, words, WIDTH - 24 - drawing.text_width(words, 18), 34, 18, GREY)


def _legend(image: RGB) -> None:
    """Under the map."""
    y, x = _MAP[1] + _MAP[3] + 20, float(_MAP[0])
    for color, words in (
        (BLUE, "robot"),
        (ORANGE, "the memory's answer (95 % ellipse) and the drive"),
        (INK, "photo taken here"),
    ):
        cv2.circle(image, (round(x) + 7, y + 10), 7, color, 2 if color == INK else -1, cv2.LINE_AA)
        drawing.text(image, words, x + 20, y, 15, GREY)
        x += 20 + drawing.text_width(words, 15) + 22
