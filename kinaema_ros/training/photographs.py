"""What light and camera make of a view: exposure, white balance, blur, noise, vignetting, JPEG."""

from __future__ import annotations

import cv2
import numpy as np

from kinaema_ros.images import RGB

DISPLAY_GAMMA = 2.2  # between the light and the numbers of a picture


def photograph(view: RGB, rng: np.random.Generator) -> RGB:
    """The view (H, W, 3) uint8 as some camera takes it in some light; one of the view's own size."""
    light = (view / 255.0) ** DISPLAY_GAMMA
    red, blue = np.exp(rng.normal(0.0, 0.25, 2))
    light = light * 2.0 ** rng.uniform(-1.2, 0.8) * np.array([red, 1.0, blue])
    light = light * vignette(view.shape[0], view.shape[1], rng.uniform(0.0, 0.5))
    picture = 255.0 * np.clip(light, 0.0, 1.0) ** (1.0 / DISPLAY_GAMMA)
    if rng.random() < 0.1:
        picture = np.repeat(picture.mean(-1, keepdims=True), 3, axis=-1)
    if rng.random() < 0.4:
        picture = blurred(picture, rng)
    picture = picture + rng.normal(0.0, rng.choice([1.0, 4.0, 10.0]), picture.shape)
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(50, 96))]
    _, data = cv2.imencode(".jpg", np.clip(picture, 0, 255).astype(np.uint8), quality)
    taken = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert taken is not None
    return taken.astype(np.uint8, copy=False)


def vignette(height: int, width: int, strength: float) -> np.ndarray:
    """(H, W, 1) of the light that arrives, less by ``strength`` in the corners."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return (1.0 - strength * (x * x + y * y) / 2.0)[..., None]


def blurred(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Out of focus, or moved to the side while the shutter was open."""
    if rng.random() < 0.5:
        return cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.5, 1.5)))
    length = int(rng.integers(2, max(3, picture.shape[1] // 60)))
    return cv2.blur(picture, (length, 1))
