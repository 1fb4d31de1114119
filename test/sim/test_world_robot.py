"""The robot of exported worlds is written by hand: what it must have in common with the simulator's, it has."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest
from world_support import numbers

from kinaema_ros.sim import Camera
from kinaema_ros.sim.driving import ROBOT_RADIUS, PathFollower
from kinaema_ros.sim.export.sdf import ROBOT_DIR

ROBOT = ElementTree.parse(ROBOT_DIR / "model.sdf").getroot()[0]


def test_the_robot_is_as_large_and_as_fast_as_the_simulators() -> None:
    body = ROBOT.find("link/collision[@name='body_collision']")
    assert body is not None
    radius, length = (float(body.findtext(f"geometry/cylinder/{name}", "")) for name in ("radius", "length"))
    assert ROBOT_RADIUS - 0.03 <= radius <= ROBOT_RADIUS
    assert numbers(body.findtext("pose"))[2] + length / 2 == pytest.approx(Camera().z), (
        "stops what hits the camera"
    )
    mast = ROBOT.find("link/visual[@name='mast_visual']")
    assert mast is not None
    top = numbers(mast.findtext("pose"))[2] + float(mast.findtext("geometry/cylinder/length", "")) / 2
    assert top < Camera().z - 0.02, "the camera would see it"
    image = ROBOT.find("link/sensor[@type='camera']/camera/image")
    assert image is not None
    assert [image.findtext(side) for side in ("width", "height")] == ["320", "240"], "simulator_node's"
    drive = ROBOT.find("plugin[@filename='gz-sim-diff-drive-system']")
    assert drive is not None
    for name, limit in (
        ("linear_velocity", PathFollower.MAX_SPEED),
        ("angular_velocity", PathFollower.MAX_TURN),
        ("linear_acceleration", PathFollower.ACCELERATION),
    ):
        assert float(drive.findtext(f"max_{name}", "")) == limit, name
        assert float(drive.findtext(f"min_{name}", "")) == -limit, name


def test_the_wheels_are_what_odometry_takes_them_for() -> None:
    drive = ROBOT.find("plugin[@filename='gz-sim-diff-drive-system']")
    assert drive is not None
    y = {}
    for side in ("left", "right"):
        joint = ROBOT.find(f"joint[@name='{drive.findtext(f'{side}_joint')}']")
        assert joint is not None
        wheel = ROBOT.find(f"link[@name='{joint.findtext('child')}']")
        assert wheel is not None
        _, y[side], z, *_ = numbers(wheel.findtext("pose"))
        radius = float(wheel.findtext("collision/geometry/cylinder/radius", ""))
        assert float(drive.findtext("wheel_radius", "")) == radius == z, "it rolls on the floor"
    assert y["left"] - y["right"] == pytest.approx(float(drive.findtext("wheel_separation", "")))


def test_urdf_and_sdf_show_the_same_robot() -> None:
    def size(shape: ElementTree.Element) -> tuple[str, list[list[float]]]:
        """Of a shape whose measures are attributes (URDF) or children (SDF)."""
        found = {**shape.attrib, **{child.tag: child.text or "" for child in shape}}
        return shape.tag, [numbers(found[name]) for name in sorted(found)]

    in_sdf, in_urdf = {}, {}
    for link in ROBOT.iterfind("link"):
        at = numbers(link.findtext("pose", "0 0 0 0 0 0"))
        for visual in link.iterfind("visual"):
            # Sums of poses are right here: a link with a pose of its own has its parts at its origin.
            pose = np.add(at, numbers(visual.findtext("pose"))).tolist()
            name, color = visual.get("name", ""), numbers(visual.findtext("material/diffuse"))
            in_sdf[name.removesuffix("_visual")] = pose, size(visual.findall("geometry/*")[0]), color
    for visual in ElementTree.parse(ROBOT_DIR / "robot.urdf").iterfind("link/visual"):
        origin, color = visual.find("origin"), visual.find("material/color")
        assert origin is not None
        assert color is not None
        pose = numbers(origin.get("xyz")) + numbers(origin.get("rpy"))
        shape = visual.findall("geometry/*")[0]
        in_urdf[visual.get("name")] = pose, size(shape), numbers(color.get("rgba"))
    assert in_urdf == in_sdf
    assert len(in_sdf) == 8
