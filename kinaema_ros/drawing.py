"""Drawing on RGB arrays: text, marks, and a floor plan in metres."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import matplotlib
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from kinaema_ros.estimate import Estimate
from kinaema_ros.geometry import Array
from kinaema_ros.images import RGB

if TYPE_CHECKING:  # the simulator rests on the core, not the core on it
    from kinaema_ros.sim import Scene

Color = tuple[int, int, int]
INK, GREY, PAPER = (38, 43, 51), (118, 126, 138), (246, 247, 249)
BLUE, ORANGE, GREEN, RED = (42, 111, 151), (214, 116, 20), (38, 140, 70), (193, 18, 31)
_WALL, _FURNITURE, _FLOOR = (74, 82, 94), (205, 211, 219), (255, 255, 255)
_SHIFT = 4  # binary digits of OpenCV's coordinates after the point


def text(
    image: RGB, words: str, x: float, y: float, size: int = 18, color: Color = INK, bold: bool = False
) -> None:
    """Writes one line with its upper left corner at pixel (x, y); what does not fit is cut off."""
    mask = _text_mask(words, size, bold)
    x0, y0 = round(x), round(y)
    part = image[y0 : y0 + mask.shape[0], x0 : x0 + mask.shape[1]]
    alpha = mask[: part.shape[0], : part.shape[1], None]
    part[:] = (part + alpha * (np.array(color, np.float32) - part)).astype(np.uint8)


def text_width(words: str, size: int = 18, bold: bool = False) -> int:
    """Pixels that the words are wide."""
    return _text_mask(words, size, bold).shape[1]


@lru_cache(maxsize=512)
def _text_mask(words: str, size: int, bold: bool) -> NDArray[np.float32]:
    """(H, W) coverage in [0, 1]."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    font = ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/{name}", size)
    right = font.getbbox(words or " ")[2]
    picture = Image.new("L", (math.ceil(right), math.ceil(1.3 * size)))
    ImageDraw.Draw(picture).text((0, 0), words, fill=255, font=font)
    return np.asarray(picture, np.float32) / 255.0


def paste(image: RGB, picture: RGB, x: int, y: int, width: int, height: int) -> None:
    """Puts a picture (H, W, 3) into a box."""
    shrinks = width < picture.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    image[y : y + height, x : x + width] = cv2.resize(picture, (width, height), interpolation=how)


class FloorPlan:
    """A scene seen from above within a box of an image; draws in the scene's metres."""

    def __init__(self, scene: Scene, x: int, y: int, width: int, height: int):
        self._scale = min(width / scene.size[0], height / scene.size[1])
        left = x + (width - self._scale * scene.size[0]) / 2
        bottom = y + (height + self._scale * scene.size[1]) / 2
        self._corner = np.array([left, bottom])
        self._scene = scene

    def pixels(self, xy: ArrayLike) -> Array:
        """Points (..., 2) in metres as pixels x, y of the image."""
        return self._corner + self._scale * np.asarray(xy, float) * np.array([1.0, -1.0])

    def draw(self, image: RGB) -> None:
        """Floor, furniture and walls."""
        scene = self._scene
        self._fill(image, [(0, 0), (scene.size[0], 0), scene.size, (0, scene.size[1])], _FLOOR)
        walls = np.array(scene.kinds) == "wall"
        for which, color in ((scene.obstacles & ~walls, _FURNITURE), (scene.obstacles & walls, _WALL)):
            for box in scene.boxes[which]:
                self._fill(image, _footprint(box), color)

    def line(self, image: RGB, xy: Array, color: Color, thickness: int = 2) -> None:
        """A path (K, 2) or (K, 3)."""
        if len(xy) > 1:
            cv2.polylines(image, [self._fixed(xy[:, :2])], False, color, thickness, cv2.LINE_AA, shift=_SHIFT)

    def robot(self, image: RGB, pose: Array, sight: float, hfov: float) -> None:
        """A robot that looks ``sight`` metres far."""
        angles = pose[2] + np.linspace(-hfov / 2, hfov / 2, 12)
        fan = pose[:2] + sight * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        self._blend(image, np.concatenate([[pose[:2]], fan]), BLUE, 0.2)
        turn = np.array([[math.cos(pose[2]), math.sin(pose[2])], [-math.sin(pose[2]), math.cos(pose[2])]])
        body = np.array([[0.34, 0.0], [-0.22, 0.22], [-0.12, 0.0], [-0.22, -0.22]]) @ turn + pose[:2]
        self._fill(image, body, BLUE)

    def view(self, image: RGB, pose: Array, color: Color, label: str = "") -> None:
        """A ring with a line of sight, where a photo was taken."""
        centre, tip = self.pixels(pose[:2]), self.pixels(_ahead(pose, 0.75))
        cv2.arrowedLine(image, _int(centre), _int(tip), color, 2, cv2.LINE_AA, tipLength=0.3)
        cv2.circle(image, _int(centre), 11, PAPER, -1, cv2.LINE_AA)
        cv2.circle(image, _int(centre), 11, color, 2, cv2.LINE_AA)
        text(image, label, centre[0] - text_width(label, 14, True) / 2, centre[1] - 9, 14, color, True)

    def estimate(self, image: RGB, estimate: Estimate, color: Color) -> None:
        """An estimate with the ellipse that holds the truth 19 times out of 20."""
        pose = np.array(estimate.pose)
        self._blend(image, ellipse(pose, estimate.covariance), color, 0.25)
        centre, tip = self.pixels(pose[:2]), self.pixels(_ahead(pose, 0.75))
        cv2.arrowedLine(image, _int(centre), _int(tip), color, 3, cv2.LINE_AA, tipLength=0.3)
        cv2.circle(image, _int(centre), 6, color, -1, cv2.LINE_AA)

    def _fixed(self, xy: ArrayLike) -> NDArray[np.int32]:
        return np.round(self.pixels(xy) * 2**_SHIFT).astype(np.int32)

    def _fill(self, image: RGB, corners: ArrayLike, color: Color) -> None:
        cv2.fillPoly(image, [self._fixed(corners)], color, cv2.LINE_AA, shift=_SHIFT)

    def _blend(self, image: RGB, corners: Array, color: Color, alpha: float) -> None:
        """Fills, transparently, what of the polygon lies in the image."""
        low = np.clip(np.floor(self.pixels(corners).min(axis=0)).astype(int), 0, None)
        high = np.ceil(self.pixels(corners).max(axis=0)).astype(int) + 1
        part = image[low[1] : high[1], low[0] : high[0]]
        if part.size:
            above = np.ascontiguousarray(part)
            points = self._fixed(corners) - (low * 2**_SHIFT).astype(np.int32)
            cv2.fillPoly(above, [points], color, cv2.LINE_AA, shift=_SHIFT)
            part[:] = cv2.addWeighted(above, alpha, np.ascontiguousarray(part), 1.0 - alpha, 0.0)


def _footprint(box: Array) -> Array:
    """Corners (4, 2) of a row of Scene.boxes."""
    x, y, length, width, yaw = box[:5]
    along = np.array([math.cos(yaw), math.sin(yaw)]) * length / 2
    across = np.array([-math.sin(yaw), math.cos(yaw)]) * width / 2
    return np.array([along + across, along - across, -along - across, -along + across]) + (x, y)


def ellipse(pose: Array, covariance: Array) -> Array:
    """Outline (64, 2) of the 95 % ellipse of a position."""
    values, axes = np.linalg.eigh(covariance[:2, :2])
    angles = np.linspace(0.0, 2 * math.pi, 64)
    circle = np.stack([np.cos(angles), np.sin(angles)])
    radius = math.sqrt(-2.0 * math.log(0.05))  # of chi-square with two degrees of freedom
    return pose[:2] + (axes @ (radius * np.sqrt(values)[:, None] * circle)).T


def _ahead(pose: Array, metres: float) -> Array:
    return pose[:2] + metres * np.array([math.cos(pose[2]), math.sin(pose[2])])


def _int(point: Array) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))
