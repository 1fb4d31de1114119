"""Export of a scene as a world for Gazebo (gz sim Harmonic and later), with a robot and a map for Nav2."""

from __future__ import annotations

import shutil
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import cv2
import numpy as np

from kinaema_ros.sim.export.map import export_map
from kinaema_ros.sim.export.mesh import Look, Meshes, look_image, obj_text, scene_meshes
from kinaema_ros.sim.scene import GRID, Scene

ROBOT_DIR = Path(__file__).parent / "robot"  # the robot: model.sdf for Gazebo, robot.urdf for TF and RViz
# The renderer multiplies displayed values by the light, a graphics card linear ones.
GAMMA = 2.2
# Without shadows a room gets light from the lamps next door, too; so images are as bright as the renderer's.
LAMP_SHARE = 0.5
_SYSTEMS = (
    ("physics", "Physics"),
    ("sensors", "Sensors"),
    ("scene-broadcaster", "SceneBroadcaster"),
    ("user-commands", "UserCommands"),
)


def export_world(scene: Scene, folder: str | Path) -> Path:
    """Writes world.sdf, what it refers to, robot.urdf, map.yaml and map.pgm; returns the path of world.sdf.

    The folder is made if need be, and can be moved: all references are relative. The frames of the world, the
    map and the scene are the same.
    """
    folder = Path(folder)
    meshes = scene_meshes(scene)
    for name in ("meshes", "textures"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number, look in enumerate(meshes.looks):
        bgr = look_image(scene, look)[..., ::-1]
        if not cv2.imwrite(str(folder / _texture(number)), bgr, [cv2.IMWRITE_JPEG_QUALITY, 90]):
            raise OSError(f"{folder / _texture(number)} could not be written")
    for (kind, number), quads in meshes.quads.items():
        (folder / _mesh(kind, number)).write_text(obj_text(quads))
    shutil.copyfile(ROBOT_DIR / "robot.urdf", folder / "robot.urdf")
    export_map(scene, folder)
    path = folder / "world.sdf"
    world = _world(scene, meshes)
    ElementTree.indent(world)
    path.write_text('<?xml version="1.0"?>\n' + ElementTree.tostring(world, encoding="unicode") + "\n")
    return path


def start_pose(scene: Scene) -> tuple[float, float, float]:
    """x, y, yaw of the robot at the start: of the roomiest reachable places the one nearest to the middle."""
    best = np.where(scene.reachable, scene.clearance, -1.0)
    rows, columns = np.nonzero(best >= best.max() - 1e-6)
    x = scene.grid_origin[0] + (columns + 0.5) * GRID
    y = scene.grid_origin[1] + (rows + 0.5) * GRID
    k = int(np.argmin(np.hypot(x - scene.size[0] / 2, y - scene.size[1] / 2)))
    return float(x[k]), float(y[k]), 0.0


def _texture(number: int) -> str:
    return f"textures/look_{number}.jpg"


def _mesh(kind: str, number: int) -> str:
    return f"meshes/{kind}_{number}.obj"


def _world(scene: Scene, meshes: Meshes) -> Element:
    sdf = Element("sdf", version="1.9")
    world = _add(sdf, "world", name=f"kinaema_{scene.seed}")
    physics = _add(world, "physics", name="4ms", type="ignored")
    _add(physics, "max_step_size", 0.004)
    _add(physics, "real_time_factor", 1.0)
    for library, name in _SYSTEMS:
        plugin = _add(world, "plugin", filename=f"gz-sim-{library}-system", name=f"gz::sim::systems::{name}")
        if name == "Sensors":
            _add(plugin, "render_engine", "ogre2")
    _add_lights(world, scene)
    for kind in dict.fromkeys(kind for kind, _ in meshes.quads):
        _add_model(world, scene, meshes, kind)
    world.append(_robot(start_pose(scene)))
    return sdf


def _robot(pose: tuple[float, float, float]) -> Element:
    """The robot's <model>, standing at pose x, y, yaw (m, rad) of the world."""
    model = ElementTree.parse(ROBOT_DIR / "model.sdf").find("model")
    assert model is not None
    place = model.find("pose")
    assert place is not None
    place.text = "{:.4f} {:.4f} 0 0 0 {:.6f}".format(*pose)
    return model


def _add(parent: Element, tag: str, text: object = None, **attributes: str) -> Element:
    """A child element with text."""
    child = SubElement(parent, tag, attributes)
    if text is not None:
        child.text = str(text)
    return child


def _add_lights(world: Element, scene: Scene) -> None:
    """The rooms' mean light everywhere, and a lamp under each ceiling for what a room has more than that.

    Shadows are off, as in the renderer: those of so many lamps would cost most of the time.
    """
    ambient = float(np.mean(scene.lights[:, 2])) ** GAMMA
    settings = _add(world, "scene")
    _add(settings, "ambient", f"{ambient:.3f} {ambient:.3f} {ambient:.3f} 1")
    _add(settings, "background", "0.7 0.8 0.9 1")
    _add(settings, "shadows", "false")
    for room, light in enumerate(scene.lights):
        x, y, floor, strength, square = (float(v) for v in light[:5])
        color = np.array(light[5:8], float)
        lamp = _add(world, "light", name=f"lamp_{room}", type="point")
        _add(lamp, "pose", f"{x:.3f} {y:.3f} {scene.ceiling - 0.3:.3f} 0 0 0")
        _add(lamp, "cast_shadows", "false")
        # Colour values above 1 would be read as bytes: how bright the lamp is goes into the intensity.
        power = LAMP_SHARE * max((floor + strength) ** GAMMA - ambient, 0.0) * color.max()
        _add(lamp, "intensity", f"{power:.3f}")
        _add(lamp, "diffuse", "{:.3f} {:.3f} {:.3f} 1".format(*(color / color.max())))
        _add(lamp, "specular", "0 0 0 1")
        attenuation = _add(lamp, "attenuation")
        x0, y0, x1, y1 = scene.rooms[room]
        _add(attenuation, "range", f"{np.hypot(x1 - x0, y1 - y0) + 1.0:.2f}")
        _add(attenuation, "constant", 1.0)
        _add(attenuation, "linear", 0.0)
        _add(attenuation, "quadratic", f"{1.0 / square:.4f}")


def _add_model(world: Element, scene: Scene, meshes: Meshes, kind: str) -> None:
    """Everything of one kind as a static model: boxes to collide with, meshes to look at."""
    model = _add(world, "model", name=kind)
    _add(model, "static", "true")
    link = _add(model, "link", name="link")
    if kind == "floor":
        _add_box(link, "floor", (scene.size[0] / 2, scene.size[1] / 2, -0.5), (*scene.size, 1.0), 0.0)
    for index in np.flatnonzero(scene.obstacles):
        if scene.kinds[index] == kind:
            box = scene.box(int(index))
            _add_box(link, f"box_{index}", box.center, box.size, box.yaw)
    for (of_kind, number), look in ((key, meshes.looks[key[1]]) for key in meshes.quads):
        if of_kind == kind:
            visual = _add(link, "visual", name=f"look_{number}")
            mesh = _add(_add(visual, "geometry"), "mesh")
            _add(mesh, "uri", _mesh(kind, number))
            _add_material(visual, look, _texture(number))


def _add_box(
    link: Element, name: str, center: tuple[float, ...], size: tuple[float, ...], yaw: float
) -> None:
    collision = _add(link, "collision", name=name)
    _add(collision, "pose", "{:.4f} {:.4f} {:.4f} 0 0 {:.6f}".format(*center, yaw))
    _add(_add(_add(collision, "geometry"), "box"), "size", "{:.4f} {:.4f} {:.4f}".format(*size))


def _add_material(visual: Element, look: Look, texture: str) -> None:
    material = _add(visual, "material")
    lit, glow = (1.0 - look.emission) ** GAMMA, look.emission**GAMMA
    for tag in ("ambient", "diffuse"):
        _add(material, tag, f"{lit:.3f} {lit:.3f} {lit:.3f} 1")
    _add(material, "specular", "0 0 0 1")
    _add(material, "emissive", f"{glow:.3f} {glow:.3f} {glow:.3f} 1")
    metal = _add(_add(material, "pbr"), "metal")
    _add(metal, "albedo_map", texture)
    if look.emission > 0.0:
        _add(metal, "emissive_map", texture)
    _add(metal, "metalness", 0.0)
    _add(metal, "roughness", 1.0)
