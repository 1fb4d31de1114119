"""Pictures of Mem-Nav episodes: the way on the map, the photo asked for, and the view where the robot stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from kinaema_ros.drawing import BLUE, GREEN, GREY, INK, ORANGE, PAPER, RED, FloorPlan, paste, text
from kinaema_ros.evaluation.memnav.episodes import Building, Episode, Result
from kinaema_ros.geometry import Array
from kinaema_ros.images import RGB
from kinaema_ros.sim import render

WIDTH, HEIGHT = 600, 372  # of an episode's picture
_HEAD, _GAP = 30, 8  # pixels of the line of words, and between parts
_PHOTO = 208, 156
SHEET = 2, 3  # episodes across and down


def write_pictures(folder: Path, results: Mapping[str, Sequence[Result]]) -> list[Path]:
    """METHOD/NNN.png of every episode and METHOD.png, a sheet of some, in an existing folder.

    Returns the sheets' paths. Their episodes are the first ones of buildings evenly spaced, however they went.
    """
    sheets = []
    for name, of_method in results.items():
        (folder / name).mkdir(exist_ok=True)
        number = 0
        for result in of_method:
            for episode in result.episodes:
                picture = episode_picture(result.building, episode)
                cv2.imwrite(str(folder / name / f"{number:03}.png"), picture[..., ::-1])
                number += 1
        sheets.append(folder / f"{name}.png")
        cv2.imwrite(str(sheets[-1]), sheet(of_method)[..., ::-1])
    return sheets


def sheet(results: Sequence[Result]) -> RGB:
    """Several episodes, each of another building where there are enough."""
    most = max(len(result.episodes) for result in results)
    episodes = [
        (result.building, result.episodes[k])
        for k in range(most)
        for result in results
        if k < len(result.episodes)
    ]
    wanted = min(SHEET[0] * SHEET[1], len(episodes))
    pool = episodes[: max(wanted, len(results))]
    chosen = [pool[k * len(pool) // wanted] for k in range(wanted)]
    rows = -(-wanted // SHEET[0])
    image = np.full((rows * HEIGHT, SHEET[0] * WIDTH, 3), PAPER, np.uint8)
    for k, (building, episode) in enumerate(chosen):
        row, column = divmod(k, SHEET[0])
        image[row * HEIGHT : (row + 1) * HEIGHT, column * WIDTH : (column + 1) * WIDTH] = episode_picture(
            building, episode
        )
    return image


def episode_picture(building: Building, episode: Episode) -> RGB:
    """(HEIGHT, WIDTH, 3) RGB."""
    image = np.full((HEIGHT, WIDTH, 3), PAPER, np.uint8)
    color = GREEN if episode.success else RED
    text(image, outcome(episode), _GAP, _GAP, 15, color, bold=True)
    right = WIDTH - _PHOTO[0] - _GAP
    plan = FloorPlan(building.scene, _GAP, _HEAD, right - 2 * _GAP, HEIGHT - _HEAD - 24)
    plan.draw(image)
    plan.line(image, building.walk, GREY, 1)
    path = np.array(episode.path)
    plan.line(image, path, BLUE, 2)
    plan.view(image, episode.goal, color)
    camera = replace(building.camera, width=320, height=240)
    plan.robot(image, path[-1], 1.0, camera.hfov)
    for goal in episode.believed_goals[:1]:
        _dot(image, plan, goal, ORANGE)
    views = render(building.scene, np.stack([episode.goal, path[-1]]), camera, building.lighting)
    for row, (view, words) in enumerate(zip(views, ("the photo", "view where it stopped"), strict=True)):
        y = _HEAD + row * (_PHOTO[1] + _GAP)
        paste(image, view, right, y, *_PHOTO)
        _label(image, words, right, y)
    _legend(image)
    return image


def outcome(episode: Episode) -> str:
    """In one line."""
    if episode.refused:
        return f"refused: seen before with probability {episode.seen:.2f} only"
    if not episode.arrived:
        return f"gave up: {episode.message.partition(':')[0]}"  # the figures after it do not fit
    return f"stopped {episode.stop_distance:.2f} m from it; drove {episode.length:.1f} m, shortest way {episode.shortest:.1f} m"


def _dot(image: RGB, plan: FloorPlan, pose: Array, color: tuple[int, int, int]) -> None:
    x, y = plan.pixels(pose[:2])
    cv2.circle(image, (round(float(x)), round(float(y))), 4, color, -1, cv2.LINE_AA)


def _label(image: RGB, words: str, x: int, y: int) -> None:
    image[y : y + 20, x : x + _PHOTO[0]] = (0.55 * image[y : y + 20, x : x + _PHOTO[0]] + 0.45 * 255).astype(
        np.uint8
    )
    text(image, words, x + 5, y + 2, 12, INK)


def _legend(image: RGB) -> None:
    x = _GAP
    for words, color in (
        ("explored", GREY),
        ("driven", BLUE),
        ("first answer", ORANGE),
        ("photo", GREEN),
    ):
        cv2.circle(image, (x + 5, HEIGHT - 12), 5, color, -1, cv2.LINE_AA)
        text(image, words, x + 14, HEIGHT - 20, 12, INK)
        x += 26 + 7 * len(words)
