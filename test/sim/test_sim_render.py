"""The renderer against pin-hole geometry and a slow ray caster; what light and cameras do to its images."""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from kinaema_ros.sim import (
    Camera,
    Lighting,
    Scene,
    SceneConfig,
    explore,
    generate_scene,
    random_lighting,
    render,
)
from kinaema_ros.sim.materials import CONTRAST, EMISSION, RED, SCALE_U, SCALE_V, TEXTURE

FLAT = 1e-3  # contrast that leaves nothing of a texture


def room(boxes: list[tuple[float, ...]], size: float = 10.0, ceiling: float = 3.0) -> Scene:
    """A square room with the given boxes (x, y, length, width, yaw, z0, z1)."""
    walls = [
        (size / 2, 0.0, size, 0.1, 0.0, 0.0, ceiling),
        (size / 2, size, size, 0.1, 0.0, 0.0, ceiling),
        (0.0, size / 2, 0.1, size, 0.0, 0.0, ceiling),
        (size, size / 2, 0.1, size, 0.0, 0.0, ceiling),
    ]
    template = generate_scene(0)
    all_boxes = np.array(walls + boxes)
    return replace(
        template,
        size=(size, size),
        ceiling=ceiling,
        boxes=all_boxes,
        faces=np.zeros((len(all_boxes), 6), np.int32),
        kinds=("wall",) * 4 + ("box",) * len(boxes),
        rooms=np.array([[0.0, 0.0, size, size]]),
        floors=np.zeros(1, np.int32),
        ceilings=np.zeros(1, np.int32),
        lights=np.array([[size / 2, size / 2, 0.8, 0.0, 10.0, 1.0, 1.0, 1.0]], np.float32),
    )


def painted(scene: Scene) -> Scene:
    """The scene with a colour of its own, that no light changes, on every face, floor and ceiling."""
    count = 6 * len(scene.boxes) + 2
    materials = np.zeros((count, scene.materials.shape[1]), np.float32)
    materials[:, [SCALE_U, SCALE_V, EMISSION]] = 1.0
    materials[:, CONTRAST] = FLAT
    materials[:, RED : RED + 3] = np.random.default_rng(0).uniform(0.1, 1.2, (count, 3))
    rooms = len(scene.rooms)
    return replace(
        scene,
        materials=materials,
        faces=np.arange(6 * len(scene.boxes), dtype=np.int32).reshape(-1, 6),
        floors=np.full(rooms, count - 2, np.int32),
        ceilings=np.full(rooms, count - 1, np.int32),
    )


def ray_cast(scene: Scene, pose: np.ndarray, camera: Camera) -> np.ndarray:
    """Material (H, W) seen in each pixel of a painted scene: every 3D ray against every box."""
    f = camera.width / 2 / math.tan(camera.hfov / 2)
    right = (np.arange(camera.width) + 0.5 - camera.width / 2) / f
    down = (np.arange(camera.height) + 0.5 - camera.height / 2) / f
    right, down = np.meshgrid(right, down)
    c, s = math.cos(camera.pitch), math.sin(camera.pitch)
    forward, up = c - s * down, -(s + c * down)
    yaw = pose[2] + camera.yaw
    c, s = math.cos(yaw), math.sin(yaw)
    ray = np.stack([c * forward + s * right, s * forward - c * right, up], axis=-1)
    c, s = math.cos(pose[2]), math.sin(pose[2])
    origin = np.array(
        [pose[0] + c * camera.x - s * camera.y, pose[1] + s * camera.x + c * camera.y, camera.z]
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        floor, top = -camera.z / ray[..., 2], (scene.ceiling - camera.z) / ray[..., 2]
        nearest = np.where(ray[..., 2] < 0, floor, top)
        seen = np.where(ray[..., 2] < 0, len(scene.materials) - 2, len(scene.materials) - 1)
        for b, (x, y, length, width, yaw, z0, z1) in enumerate(scene.boxes):
            turn = np.array(
                [[math.cos(yaw), math.sin(yaw), 0], [-math.sin(yaw), math.cos(yaw), 0], [0, 0, 1]]
            )
            start, direction = turn @ (origin - (x, y, (z0 + z1) / 2)), ray @ turn.T
            half = np.array([length, width, z1 - z0]) / 2
            a, e = (-half - start) / direction, (half - start) / direction
            enter, leave = np.minimum(a, e), np.maximum(a, e).min(axis=-1)
            axis, first = enter.argmax(axis=-1), enter.max(axis=-1)
            positive = np.take_along_axis(direction, axis[..., None], -1)[..., 0] < 0
            face = np.where(axis == 2, np.where(positive, 4, 5), np.where(positive, axis, axis + 2))
            hit = (first < leave) & (first > 0) & (first < nearest)
            nearest, seen = np.where(hit, first, nearest), np.where(hit, 6 * b + face, seen)
    return seen


def colours(scene: Scene) -> np.ndarray:
    """(M, 3) pixel values of the flat, glowing materials of a painted scene."""
    value = scene.materials[:, RED : RED + 3] * 0.5 * 1.2 * 512.0
    return Lighting().tone_curve()[np.clip(value, 0, 1023).astype(int)]


CAMERAS = [
    Camera(160, 120),  # the default's field of view and height
    Camera(96, 72, math.radians(60), z=1.1),
    Camera(120, 60, math.radians(110), z=0.2, x=0.2, y=-0.1, yaw=0.6),
]


@pytest.mark.parametrize("camera", CAMERAS, ids=["usual", "narrow", "mounted"])
def test_images_match_a_ray_caster_pixel_by_pixel(camera):
    for seed in (0, 1, 2):
        scene = painted(generate_scene(seed, SceneConfig(size_max=10.0)))
        poses = explore(scene, np.random.default_rng(seed), 80)[::20]
        images = render(scene, poses, camera).astype(int)
        for pose, image in zip(poses, images, strict=True):
            expected = colours(scene)[ray_cast(scene, pose, camera)].astype(int)
            wrong = (np.abs(image - expected) > 2).any(axis=-1)
            assert wrong.mean() < 0.002  # surfaces that lie in one plane or graze a pixel's centre


@pytest.mark.parametrize("pitch_deg", [-20.0, 12.0, 35.0])
def test_a_pitched_camera_sees_what_its_rays_hit(pitch_deg):
    camera = Camera(128, 96, math.radians(75), z=0.6, pitch=math.radians(pitch_deg))
    scene = painted(generate_scene(3, SceneConfig(size_max=10.0)))
    for pose in explore(scene, np.random.default_rng(0), 60)[::20]:
        seen = ray_cast(scene, pose, camera)
        image = render(scene, pose[None], camera)[0].astype(int)
        wrong = (np.abs(image - colours(scene)[seen].astype(int)) > 2).any(axis=-1)
        # The warp blends neighbours, so only pixels amid one surface must be exact.
        amid = np.ones_like(wrong)
        for dr, dc in ((0, 1), (1, 0), (1, 1), (1, -1)):
            same = seen == np.roll(seen, (dr, dc), (0, 1))
            amid &= same & np.roll(same, (-dr, -dc), (0, 1))
        amid[[0, -1]] = amid[:, [0, -1]] = False
        assert amid.mean() > 0.5
        assert wrong[amid].mean() < 0.003


def test_rows_and_columns_of_a_box_match_pin_hole_geometry():
    # A box 1 m wide from z = 0.3 to 0.9, its front 2 m ahead of a camera at height 0.5.
    scene = painted(room([(4.25, 5.0, 0.5, 1.0, 0.0, 0.3, 0.9)]))
    camera = Camera(200, 160, math.pi / 2, z=0.5)  # focal length 100 pixels
    image = render(scene, np.array([[2.0, 5.0, 0.0]]), camera)[0]
    front = (image == colours(scene)[6 * 4 + 2]).all(axis=-1)
    rows, columns = np.flatnonzero(front.any(axis=1)), np.flatnonzero(front.any(axis=0))
    # row = 80 - 100 * (z - 0.5) / 2 and column = 100 - 100 * y / 2, edges of pixels
    assert (rows[0], rows[-1] + 1) == (60, 90)
    assert (columns[0], columns[-1] + 1) == (75, 125)
    assert front.sum() == 30 * 50


def test_tops_are_seen_from_above_and_undersides_from_below():
    scene = painted(room([(5.0, 5.0, 1.0, 1.0, 0.5, 0.0, 0.4), (5.0, 5.0, 1.0, 1.0, 0.5, 1.2, 1.5)]))
    image = render(scene, np.array([[3.0, 5.0, 0.0]]), Camera(z=0.8))[0]
    low, high = colours(scene)[6 * 4 : 6 * 5], colours(scene)[6 * 5 : 6 * 6]

    def count(colour: np.ndarray) -> int:
        return int((image == colour).all(axis=-1).sum())

    assert count(low[4]) > 400
    assert count(low[5]) == 0
    assert count(high[5]) > 200
    assert count(high[4]) == 0


def test_pictures_are_neither_mirrored_nor_upside_down():
    scene = painted(room([(5.0, 5.0, 0.4, 2.0, 0.0, 0.0, 1.0)]))
    pool = scene.pool
    # The texture that differs most between its left and right and its upper and lower half.
    images = np.stack([pool.image(t) for t in range(len(pool.names))]).astype(float).mean(axis=-1)
    across = images[:, :, :64].mean((1, 2)) - images[:, :, 64:].mean((1, 2))
    upright = images[:, :64].mean((1, 2)) - images[:, 64:].mean((1, 2))
    for differs, halves in ((across, (slice(None), slice(0, 64))), (upright, (slice(0, 64), slice(None)))):
        texture = int(np.argmax(np.abs(differs)))
        materials = scene.materials.copy()
        # The face towards the camera shows the texture exactly once.
        materials[6 * 4 + 2, :] = (texture, 0.5, 1.0, 0.5, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0)
        image = render(replace(scene, materials=materials), np.array([[3.0, 5.0, 0.0]]), Camera(256, 192))[0]
        expected = colours(scene)
        front = ~(image[:, :, None] == expected[None, None]).all(axis=-1).any(axis=-1)
        rows, columns = np.flatnonzero(front.mean(axis=1) > 0.3), np.flatnonzero(front.mean(axis=0) > 0.3)
        face = image[rows[0] : rows[-1], columns[0] : columns[-1]].astype(float).mean(axis=-1)
        h, w = face.shape
        half = (
            (slice(None), slice(0, w // 2)) if halves[0] == slice(None) else (slice(0, h // 2), slice(None))
        )
        other = (
            (slice(None), slice(w // 2, w)) if halves[0] == slice(None) else (slice(h // 2, h), slice(None))
        )
        assert np.sign(face[half].mean() - face[other].mean()) == np.sign(differs[texture])


def test_fine_textures_far_away_fade_to_their_mean_instead_of_aliasing():
    scene = room([])
    checks = int(np.argmax([scene.pool.image(t).astype(float).std() for t in range(len(scene.pool.names))]))
    materials = scene.materials[:1].copy()
    materials[0] = (checks, 40.0, 40.0, 0.0, 0.0, 0.8, 0.8, 0.8, 1.0, 1.0)  # 2.5 cm a repeat
    scene = replace(scene, materials=materials)
    image = render(scene, np.array([[1.0, 5.0, 0.0]]), Camera(hfov=math.radians(60)))[0].astype(float)
    assert image[100:140, 120:200].mean(axis=-1).std() < 0.15 * scene.pool.image(checks).astype(float).std()


def test_windows_and_lamps_outshine_dim_rooms():
    scene = room([(5.0, 5.0, 0.4, 2.0, 0.0, 0.0, 1.0)])
    materials = np.tile(scene.materials[:1], (2, 1))
    materials[:, TEXTURE], materials[:, RED : RED + 3], materials[:, EMISSION] = 0, 1.0, (0.0, 1.0)
    faces = scene.faces.copy()
    faces[4] = 1
    dim = scene.lights.copy()
    dim[:, 2:4] = 0.2, 0.0
    lit = replace(scene, materials=materials, faces=faces)
    view = np.array([[3.0, 5.0, 0.0]])
    bright, dark = render(lit, view)[0].mean(), render(replace(lit, lights=dim), view)[0].mean()
    assert dark < 0.75 * bright
    box = np.s_[0, 110:130, 140:180]
    assert np.array_equal(render(lit, view)[box], render(replace(lit, lights=dim), view)[box])


def test_lighting_changes_brightness_tint_and_noise_and_nothing_else():
    scene = generate_scene(0)
    poses = explore(scene, np.random.default_rng(0), 5)
    plain = render(scene, poses).astype(float)
    assert render(scene, poses, lighting=Lighting(level=1.4)).mean() > plain.mean() + 10
    assert render(scene, poses, lighting=Lighting(level=0.6)).mean() < plain.mean() - 10
    red = render(scene, poses, lighting=Lighting(tint=(1.2, 1.0, 0.8))).mean(axis=(0, 1, 2)) - plain.mean(
        axis=(0, 1, 2)
    )
    assert red[0] > 3
    assert abs(red[1]) < 1e-9
    assert red[2] < -3
    noisy = render(scene, poses, lighting=Lighting(noise=6.0, seed=1)).astype(float)
    unclipped = (plain > 30) & (plain < 225)
    assert np.std((noisy - plain)[unclipped]) == pytest.approx(6.0, rel=0.05)
    assert abs(np.mean((noisy - plain)[unclipped])) < 0.1
    assert np.array_equal(noisy, render(scene, poses, lighting=Lighting(noise=6.0, seed=1)))
    assert not np.array_equal(noisy, render(scene, poses, lighting=Lighting(noise=6.0, seed=2)))


def test_random_lighting_varies_but_keeps_images_usable():
    scene = generate_scene(1)
    poses = explore(scene, np.random.default_rng(0), 40)[::4]
    rng = np.random.default_rng(0)
    means = [render(scene, poses, lighting=random_lighting(rng)).mean() for _ in range(30)]
    assert np.ptp(means) > 30
    assert min(means) > 25
    assert max(means) < 230


def test_rendering_in_threads_gives_the_same_images():
    scene = generate_scene(2)
    poses = explore(scene, np.random.default_rng(0), 40)
    whole = render(scene, poses)
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda k: render(scene, poses[10 * k : 10 * k + 10]), range(4)))
    assert np.array_equal(whole, np.concatenate(parts))


def test_images_of_different_places_differ_and_are_never_blank():
    scene = generate_scene(6)
    poses = explore(scene, np.random.default_rng(0), 200)[::10]
    images = render(scene, poses).astype(float)
    assert (images.std(axis=(1, 2)).max(axis=-1) > 2).all()
    small = images.reshape(len(images), 12, 20, 16, 20, 3).mean((2, 4)).reshape(len(images), -1)
    gaps = np.abs(small[:, None] - small[None]).mean(axis=-1) + 1e3 * np.eye(len(images))
    assert gaps.min() > 1.0


@pytest.mark.parametrize(
    "wrong", [{"hfov": 0.5}, {"width": 2}, {"z": 0.0}, {"pitch": 1.3}], ids=["hfov", "width", "z", "pitch"]
)
def test_cameras_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Camera(**wrong)


@pytest.mark.parametrize("poses", [np.zeros(3), np.zeros((2, 2)), np.array([[0.0, np.nan, 0.0]])])
def test_poses_of_the_wrong_shape_or_not_finite_are_refused(poses):
    with pytest.raises(ValueError, match="poses"):
        render(generate_scene(0), poses)
