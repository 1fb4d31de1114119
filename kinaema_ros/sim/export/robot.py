"""The robot that drives in exported worlds: SDF for Gazebo, URDF for TF and RViz, from one description.

A round base with two driven wheels and two casters, a mast with the camera where the renderer's camera is
(above the centre of the base), and a lidar below it. The origin of base_link lies on the floor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from kinaema_ros.sim.render import Camera

NAME = "kinaema_robot"
BASE_FRAME, LIDAR_FRAME, CAMERA_FRAME = "base_link", "lidar_link", "camera_optical_frame"
# The renderer's default field of view and height, with simulator_node's image size.
CAMERA = Camera(width=320, height=240)
RADIUS = 0.18
WHEEL_RADIUS, WHEEL_WIDTH, WHEEL_SEPARATION = 0.05, 0.03, 0.28
LIDAR_HEIGHT = 0.25
LIDAR_RANGE = (0.22, 12.0)  # from beyond the robot's own mast
MAX_SPEED, MAX_TURN = 0.5, 1.5
DARK, LIGHT, BLUE = (0.15, 0.15, 0.17), (0.8, 0.8, 0.82), (0.1, 0.3, 0.7)
# Optical axes (z forward, x right, y down) in the base's: roll and yaw of REP 103.
_OPTICAL = f"{-math.pi / 2:.6f} 0 {-math.pi / 2:.6f}"


@dataclass(frozen=True)
class Solid:
    """A rigid part: cylinder (radius, length), sphere (radius) or box (x, y, z), centre in base_link; kg."""

    name: str
    shape: str
    size: tuple[float, ...]
    center: tuple[float, float, float]
    roll: float = 0.0
    mass: float = 0.1
    color: tuple[float, float, float] = DARK

    @property
    def pose(self) -> str:
        """x y z roll pitch yaw."""
        return "{:g} {:g} {:g} {:.6f} 0 0".format(*self.center, self.roll)

    @property
    def inertia(self) -> tuple[float, float, float]:
        """Ixx, Iyy, Izz of the solid about its centre, in its own axes (kg m^2)."""
        if self.shape == "sphere":
            i = 0.4 * self.mass * self.size[0] ** 2
            return i, i, i
        if self.shape == "cylinder":
            r, h = self.size
            side = self.mass * (3 * r * r + h * h) / 12
            return side, side, self.mass * r * r / 2
        x, y, z = (s * s for s in self.size)
        return self.mass * (y + z) / 12, self.mass * (x + z) / 12, self.mass * (x + y) / 12


def _solids() -> tuple[list[Solid], list[Solid]]:
    """What is fixed to the base, base first, and the two wheels."""
    mast = CAMERA.z - 0.04  # ends below the camera, which must not see it
    reach = RADIUS - 0.04
    fixed = [
        Solid("chassis", "cylinder", (RADIUS, 0.14), (0, 0, 0.11), mass=6.0, color=BLUE),
        Solid("mast", "cylinder", (0.015, mast - 0.18), (-0.1, 0, 0.18 + (mast - 0.18) / 2), mass=0.3),
        Solid("arm", "box", (0.1, 0.02, 0.01), (-0.05, 0, mast)),
        Solid("lidar", "cylinder", (0.04, 0.06), (0, 0, LIDAR_HEIGHT - 0.03)),
        Solid("front_caster", "sphere", (0.02,), (reach, 0, 0.02), color=LIGHT),
        Solid("rear_caster", "sphere", (0.02,), (-reach, 0, 0.02), color=LIGHT),
    ]
    wheels = [
        Solid(
            f"{side}_wheel",
            "cylinder",
            (WHEEL_RADIUS, WHEEL_WIDTH),
            (0, sign * WHEEL_SEPARATION / 2, WHEEL_RADIUS),
            math.pi / 2,
            0.4,
        )
        for side, sign in (("left", 1), ("right", -1))
    ]
    return fixed, wheels


def add(parent: Element, tag: str, text: object = None, **attributes: str) -> Element:
    """A child element with text."""
    child = SubElement(parent, tag, attributes)
    if text is not None:
        child.text = str(text)
    return child


def document(root: Element) -> str:
    """An XML file of the element."""
    ElementTree.indent(root)
    return '<?xml version="1.0"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


# -- SDF ---------------------------------------------------------------------------------------------------


def robot_sdf(pose: tuple[float, float, float]) -> Element:
    """The <model> of the robot standing at pose x, y, yaw (m, rad) of the world."""
    model = Element("model", name=NAME)
    add(model, "pose", "{:.4f} {:.4f} 0 0 0 {:.6f}".format(*pose))
    fixed, wheels = _solids()
    base = add(model, "link", name=BASE_FRAME)
    _add_inertial(base, fixed[0], fixed[0].pose, sum(s.mass for s in fixed))
    for solid in fixed:
        _add_visual(base, solid, solid.pose)
    # One cylinder up to the camera: what stops the camera stops the robot.
    body = Solid("body", "cylinder", (RADIUS, CAMERA.z - 0.04), (0, 0, 0.04 + (CAMERA.z - 0.04) / 2))
    _add_collision(base, body, body.pose)
    for caster in fixed[-2:]:
        friction = add(add(_add_collision(base, caster, caster.pose), "surface"), "friction")
        ode = add(friction, "ode")
        add(ode, "mu", 0.0)
        add(ode, "mu2", 0.0)
    _add_camera(base)
    _add_lidar(base)
    for wheel in wheels:
        link = add(model, "link", name=f"{wheel.name}_link")
        add(link, "pose", wheel.pose)
        _add_inertial(link, wheel, "0 0 0 0 0 0", wheel.mass)
        _add_visual(link, wheel, "0 0 0 0 0 0")
        _add_collision(link, wheel, "0 0 0 0 0 0")
        joint = add(model, "joint", name=f"{wheel.name}_joint", type="revolute")
        add(joint, "parent", BASE_FRAME)
        add(joint, "child", f"{wheel.name}_link")
        axis = add(joint, "axis")
        add(axis, "xyz", "0 1 0", expressed_in="__model__")
        limit = add(axis, "limit")
        add(limit, "lower", "-1e16")
        add(limit, "upper", "1e16")
    _add_drive(model)
    return model


def _add_drive(model: Element) -> None:
    """Wheels and wheel odometry, and the truth beside it."""
    drive = add(model, "plugin", filename="gz-sim-diff-drive-system", name="gz::sim::systems::DiffDrive")
    for tag, value in {
        "left_joint": "left_wheel_joint",
        "right_joint": "right_wheel_joint",
        "wheel_separation": WHEEL_SEPARATION,
        "wheel_radius": WHEEL_RADIUS,
        "max_linear_velocity": MAX_SPEED,
        "min_linear_velocity": -MAX_SPEED,
        "max_angular_velocity": MAX_TURN,
        "min_angular_velocity": -MAX_TURN,
        "max_linear_acceleration": 1.0,
        "min_linear_acceleration": -1.0,
        "max_angular_acceleration": 3.0,
        "min_angular_acceleration": -3.0,
        "odom_publish_frequency": 50,
        "topic": "cmd_vel",
        "odom_topic": "odom",
        "tf_topic": "tf",
        "frame_id": "odom",
        "child_frame_id": BASE_FRAME,
    }.items():
        add(drive, tag, value)
    truth = add(
        model,
        "plugin",
        filename="gz-sim-odometry-publisher-system",
        name="gz::sim::systems::OdometryPublisher",
    )
    for tag, value in {
        "odom_publish_frequency": 50,
        "odom_topic": "ground_truth/odom",
        "tf_topic": "ground_truth/tf",  # not bridged: a second parent of base_link
        "odom_frame": "map",
        "robot_base_frame": BASE_FRAME,
        "dimensions": 2,
    }.items():
        add(truth, tag, value)


def _add_camera(link: Element) -> None:
    sensor = add(link, "sensor", name="camera", type="camera")
    add(sensor, "pose", f"{CAMERA.x:g} {CAMERA.y:g} {CAMERA.z:g} 0 {CAMERA.pitch:g} {CAMERA.yaw:g}")
    add(sensor, "update_rate", 10)
    add(sensor, "topic", "camera/image")
    settings = add(sensor, "camera", name="camera")
    add(settings, "camera_info_topic", "camera/camera_info")
    add(settings, "optical_frame_id", CAMERA_FRAME)
    add(settings, "horizontal_fov", f"{CAMERA.hfov:.6f}")
    image = add(settings, "image")
    add(image, "width", CAMERA.width)
    add(image, "height", CAMERA.height)
    add(image, "format", "R8G8B8")
    clip = add(settings, "clip")
    add(clip, "near", 0.05)
    add(clip, "far", 50)


def _add_lidar(link: Element) -> None:
    sensor = add(link, "sensor", name="lidar", type="gpu_lidar")
    add(sensor, "pose", f"0 0 {LIDAR_HEIGHT:g} 0 0 0")
    add(sensor, "update_rate", 10)
    add(sensor, "topic", "scan")
    add(sensor, "gz_frame_id", LIDAR_FRAME)
    lidar = add(sensor, "lidar")
    horizontal = add(add(lidar, "scan"), "horizontal")
    add(horizontal, "samples", 360)
    add(horizontal, "min_angle", f"{-math.pi:.6f}")
    add(horizontal, "max_angle", f"{math.pi * 179 / 180:.6f}")
    reach = add(lidar, "range")
    add(reach, "min", LIDAR_RANGE[0])
    add(reach, "max", LIDAR_RANGE[1])


def _add_inertial(link: Element, solid: Solid, pose: str, mass: float) -> None:
    inertial = add(link, "inertial")
    add(inertial, "pose", pose)
    add(inertial, "mass", f"{mass:g}")
    inertia = add(inertial, "inertia")
    for axis, value in zip(("ixx", "iyy", "izz"), solid.inertia, strict=True):
        add(inertia, axis, f"{value * mass / solid.mass:.6g}")


def _add_visual(link: Element, solid: Solid, pose: str) -> None:
    visual = add(link, "visual", name=f"{solid.name}_visual")
    add(visual, "pose", pose)
    _add_geometry(visual, solid)
    material = add(visual, "material")
    for tag in ("ambient", "diffuse"):
        add(material, tag, "{:g} {:g} {:g} 1".format(*solid.color))


def _add_collision(link: Element, solid: Solid, pose: str) -> Element:
    collision = add(link, "collision", name=f"{solid.name}_collision")
    add(collision, "pose", pose)
    _add_geometry(collision, solid)
    return collision


def _add_geometry(parent: Element, solid: Solid) -> None:
    shape = add(add(parent, "geometry"), solid.shape)
    if solid.shape == "box":
        add(shape, "size", "{:g} {:g} {:g}".format(*solid.size))
        return
    for tag, value in zip(("radius", "length"), solid.size, strict=False):
        add(shape, tag, f"{value:g}")


# -- URDF --------------------------------------------------------------------------------------------------


def robot_urdf() -> str:
    """Frames and looks of the robot, for robot_state_publisher; wheels do not turn, nothing here moves."""
    robot = Element("robot", name=NAME)
    base = add(robot, "link", name=BASE_FRAME)
    for solid in sum(_solids(), []):
        visual = add(base, "visual", name=solid.name)
        add(visual, "origin", xyz="{:g} {:g} {:g}".format(*solid.center), rpy=f"{solid.roll:.6f} 0 0")
        geometry = add(visual, "geometry")
        if solid.shape == "box":
            add(geometry, "box", size="{:g} {:g} {:g}".format(*solid.size))
        else:
            names = zip(("radius", "length"), solid.size, strict=False)
            add(geometry, solid.shape, **{name: f"{value:g}" for name, value in names})
        material = add(visual, "material", name=f"{solid.name}_color")
        add(material, "color", rgba="{:g} {:g} {:g} 1".format(*solid.color))
    _add_frame(robot, "lidar", LIDAR_FRAME, BASE_FRAME, f"0 0 {LIDAR_HEIGHT:g}", "0 0 0")
    _add_frame(
        robot,
        "camera",
        "camera_link",
        BASE_FRAME,
        f"{CAMERA.x:g} {CAMERA.y:g} {CAMERA.z:g}",
        f"0 {CAMERA.pitch:g} {CAMERA.yaw:g}",
    )
    _add_frame(robot, "camera_optical", CAMERA_FRAME, "camera_link", "0 0 0", _OPTICAL)
    return document(robot)


def _add_frame(robot: Element, name: str, child: str, parent: str, xyz: str, rpy: str) -> None:
    add(robot, "link", name=child)
    joint = add(robot, "joint", name=f"{name}_joint", type="fixed")
    add(joint, "parent", link=parent)
    add(joint, "child", link=child)
    add(joint, "origin", xyz=xyz, rpy=rpy)
