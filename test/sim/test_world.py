"""Exported worlds: what Gazebo and Nav2 will read is what the simulator shows, found out without them."""

from __future__ import annotations

import itertools
import json
import math
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from world_support import Triangles, colors, look, numbers, read_visuals

from kinaema_ros.replay.maps import read_map
from kinaema_ros.sim import Camera, Scene, explore, generate_scene, render
from kinaema_ros.sim.export.sdf import ROBOT_DIR, export_world, start_pose

SEED = 11
ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "worlds" / "example" / "world.sdf"


@pytest.fixture(scope="module")
def scene() -> Scene:
    return generate_scene(SEED)


@pytest.fixture(scope="module")
def exported(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_world(scene, tmp_path_factory.mktemp("world"))


@pytest.fixture(params=["exported", "shipped"])
def world(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue("exported") if request.param == "exported" else SHIPPED


@pytest.fixture(scope="module")
def triangles(exported: Path) -> Triangles:
    return read_visuals(exported)


@pytest.fixture(scope="session")
def sdf_checker() -> list[str]:
    """The command that checks an SDF file: Gazebo's own where there is one, else Debian's, installed if need be."""
    for command in (["gz", "sdf", "--check"], ["ign", "sdf", "--check"]):
        if _works(command):
            return command
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        pytest.skip("no `gz sdf` or `ign sdf`, and no right to install ignition-tools by apt")
    install = [
        "apt-get",
        "install",
        "-y",
        "-qq",
        "--no-install-recommends",
        "ignition-tools",
        "libsdformat-dev",
    ]
    quiet = {
        "env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        "capture_output": True,
        "timeout": 300,
    }
    try:
        if subprocess.run(install, **quiet).returncode:
            subprocess.run(["apt-get", "update", "-qq"], **quiet)
            subprocess.run(install, **quiet)
    except subprocess.TimeoutExpired:
        pytest.skip("apt-get could not install ignition-tools and libsdformat-dev in 300 s")
    if not _works(["ign", "sdf", "--check"]):
        pytest.skip("apt-get could not install ignition-tools and libsdformat-dev")
    return ["ign", "sdf", "--check"]


def _works(command: list[str]) -> bool:
    """Whether the checker finds something to say for an empty world."""
    if shutil.which(command[0]) is None:
        return False
    probe = subprocess.run([*command[:2], "--help"], capture_output=True, text=True, timeout=60)
    return "--check" in probe.stdout + probe.stderr


def robot_model(world: Path) -> ElementTree.Element:
    model = ElementTree.parse(world).find("world/model[@name='kinaema_robot']")
    assert model is not None
    return model


def test_sdformat_accepts_the_world(world: Path, sdf_checker: list[str]) -> None:
    answer = subprocess.run([*sdf_checker, str(world)], capture_output=True, text=True, timeout=300)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "Valid." in answer.stdout, answer.stdout + answer.stderr
    assert "Error" not in answer.stderr.replace("Library error: libignition-tools-backward.so", ""), (
        answer.stderr
    )


def test_sdformat_refuses_a_broken_world(exported: Path, sdf_checker: list[str], tmp_path: Path) -> None:
    broken = tmp_path / "world.sdf"
    broken.write_text(exported.read_text().replace("<albedo_map>", "<nonsense><", 1))
    answer = subprocess.run([*sdf_checker, str(broken)], capture_output=True, text=True, timeout=300)
    assert answer.returncode != 0 or "Valid." not in answer.stdout


def test_every_referenced_file_lies_in_the_folder(world: Path) -> None:
    root = ElementTree.parse(world).getroot()
    names = {e.text or "" for tag in ("uri", "albedo_map", "emissive_map") for e in root.iter(tag)}
    assert len(names) > 50
    for name in names:
        assert not Path(name).is_absolute(), name
        assert "://" not in name, name
        assert (world.parent / name).is_file(), name
    read_map(world.parent / "map.yaml")
    ElementTree.parse(world.parent / "robot.urdf")


def test_the_shipped_world_is_small() -> None:
    assert sum(path.stat().st_size for path in SHIPPED.parent.rglob("*")) < 5e6


def test_the_meshes_look_like_the_simulator(scene: Scene, triangles: Triangles) -> None:
    poses = explore(scene, np.random.default_rng(3), 120)[::40]
    # Every third pixel of the simulator's image has the centre of one of the small image.
    camera = Camera(width=144, height=108)
    scores = []
    for pose, image in zip(poses, render(scene, poses, camera), strict=True):
        view = look(triangles, pose, camera.z, 48, 36, camera.hfov)
        assert np.isfinite(view.depth).all(), "one looks through a hole"
        near = view.depth < 2.5  # farther away the simulator shows averaged textures
        seen = image[1::3, 1::3][near].astype(float)
        right, *mirrored = (
            np.mean([np.corrcoef(color[:, k], seen[:, k])[0, 1] for k in range(3)])
            for color in (
                colors(triangles, replace(view, uv=view.uv * flip))[near]
                for flip in ((1, 1), (-1, 1), (1, -1))
            )
        )
        assert right > max(mirrored), "textures are mirrored"
        scores.append(right)
    assert np.mean(scores) > 0.8  # not 1: the simulator's image has light


def test_collision_boxes_are_the_obstacles_of_the_scene(scene: Scene, exported: Path) -> None:
    found = {}
    for collision in ElementTree.parse(exported).iterfind("world/model[static]/link/collision"):
        name = collision.get("name", "")
        if name.startswith("box_"):
            found[int(name[4:])] = numbers(collision.findtext("pose")) + numbers(
                collision.findtext("geometry/box/size")
            )
    assert sorted(found) == np.flatnonzero(scene.obstacles).tolist()
    for index, (x, y, z, roll, pitch, yaw, length, width, height) in found.items():
        expected = scene.boxes[index]
        assert roll == pitch == 0.0
        np.testing.assert_allclose((x, y, length, width, yaw), expected[:5], atol=1e-4)
        np.testing.assert_allclose((z - height / 2, z + height / 2), expected[5:], atol=1e-4)


def test_the_map_is_occupied_where_gazebo_has_something_to_hit(world: Path) -> None:
    grid = read_map(world.parent / "map.yaml")
    occupied = grid.image[::-1] == 0
    rows, columns = np.indices(occupied.shape)
    x = grid.origin[0] + (columns + 0.5) * grid.resolution
    y = grid.origin[1] + (rows + 0.5) * grid.resolution
    distance = np.full(occupied.shape, np.inf)
    for collision in ElementTree.parse(world).iterfind("world/model[static]/link/collision"):
        if collision.get("name", "").startswith("box_"):
            cx, cy, _, _, _, yaw = numbers(collision.findtext("pose"))
            length, width, _ = numbers(collision.findtext("geometry/box/size"))
            c, s = math.cos(yaw), math.sin(yaw)
            along, across = c * (x - cx) + s * (y - cy), c * (y - cy) - s * (x - cx)
            outside = np.maximum(abs(along) - length / 2, 0.0), np.maximum(abs(across) - width / 2, 0.0)
            distance = np.minimum(distance, np.hypot(*outside))
    assert occupied[distance == 0.0].all()
    assert not occupied[distance > grid.resolution].any()
    assert 0.02 < occupied.mean() < 0.6


def test_the_robot_stands_free_on_the_map(world: Path) -> None:
    x, y = numbers(robot_model(world).findtext("pose"))[:2]
    grid = read_map(world.parent / "map.yaml")
    free = (grid.image[::-1] > 250).astype(np.uint8)
    column, row = int((x - grid.origin[0]) / grid.resolution), int((y - grid.origin[1]) / grid.resolution)
    assert cv2.distanceTransform(free, cv2.DIST_L2, 5)[row, column] * grid.resolution > 0.4


def test_start_pose_is_reachable(scene: Scene) -> None:
    x, y, _ = start_pose(scene)
    assert scene.free(x, y, 0.4)
    assert scene.reachable[int((y + 0.3) / 0.1), int((x + 0.3) / 0.1)]


def test_the_camera_is_that_of_the_simulator(world: Path) -> None:
    sensor = ElementTree.parse(world).find("world/model/link/sensor[@type='camera']")
    assert sensor is not None
    camera = Camera()
    assert numbers(sensor.findtext("pose")) == [camera.x, camera.y, camera.z, 0, camera.pitch, camera.yaw]
    assert float(sensor.findtext("camera/horizontal_fov", "")) == pytest.approx(camera.hfov, abs=1e-5)
    width, height = (int(sensor.findtext(f"camera/image/{side}", "")) for side in ("width", "height"))
    assert width / height == camera.width / camera.height


def test_the_world_holds_the_robot_of_the_package(world: Path) -> None:
    robot, shipped = robot_model(world), ElementTree.parse(ROBOT_DIR / "model.sdf").getroot()[0]
    for model in (robot, shipped):
        model.remove(model.find("pose"))  # type: ignore[arg-type]
    assert ElementTree.canonicalize(ElementTree.tostring(robot), strip_text=True) == ElementTree.canonicalize(
        ElementTree.tostring(shipped), strip_text=True
    )
    assert (world.parent / "robot.urdf").read_bytes() == (ROBOT_DIR / "robot.urdf").read_bytes()


def test_urdf_and_sdf_put_the_sensors_in_the_same_places(world: Path) -> None:
    robot = ElementTree.parse(world.parent / "robot.urdf").getroot()
    joints = {j.find("child").get("link"): j for j in robot.iter("joint")}  # type: ignore[union-attr]
    sdf = ElementTree.parse(world).getroot()

    def origin(link: str) -> tuple[list[float], list[float]]:
        place = joints[link].find("origin")
        assert place is not None
        return numbers(place.get("xyz")), numbers(place.get("rpy"))

    for kind, frame in (("camera", "camera_link"), ("gpu_lidar", "lidar_link")):
        sensor = sdf.find(f"world/model/link/sensor[@type='{kind}']")
        assert sensor is not None
        assert [*itertools.chain(*origin(frame))] == numbers(sensor.findtext("pose"))
    # The frames named in the messages exist, and the optical one looks forward (REP 103).
    assert sdf.findtext(".//optical_frame_id") in joints
    assert sdf.findtext(".//gz_frame_id") in joints
    xyz, (roll, pitch, yaw) = origin("camera_optical_frame")
    assert xyz == [0, 0, 0]
    assert pitch == 0
    assert (roll, yaw) == pytest.approx((-math.pi / 2, -math.pi / 2), abs=1e-5)
    assert {link.get("name") for link in robot.iter("link")} == {*joints, "base_link"}


def test_kinaema_world_writes_the_same_world_again(exported: Path, tmp_path: Path) -> None:
    out, result = tmp_path / "again", tmp_path / "world.json"
    command = [sys.executable, "-m", "kinaema_ros.cli", "world", "--seed", str(SEED), "--out", str(out)]
    run = subprocess.run([*command, "--json", str(result)], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert str(out / "world.sdf") in run.stdout
    values = json.loads(result.read_text())
    assert values["seed"] == SEED
    assert Path(values["world"]).is_file()
    assert Path(values["map"]).is_file()
    files = sorted(p.relative_to(exported.parent) for p in exported.parent.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(out) for p in out.rglob("*") if p.is_file())
    for name in files:
        assert (exported.parent / name).read_bytes() == (out / name).read_bytes(), name


def test_kinaema_world_says_what_is_wrong_with_its_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    command = [sys.executable, "-m", "kinaema_ros.cli", "world", "--out"]
    run = subprocess.run([*command, str(tmp_path / "file")], capture_output=True, text=True, timeout=60)
    assert run.returncode == 2
    assert "is a file, not a folder" in run.stderr
