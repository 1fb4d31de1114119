"""The repository's architecture and what it declares: imports, dependencies, versions, interfaces."""

from __future__ import annotations

import ast
import re
import sys
import xml.etree.ElementTree as xml
from pathlib import Path

import pytest

import kinaema_ros

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "kinaema_ros"
# Where a module's name is not its package's.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "yaml": "PyYAML",
}


def imports(path: Path) -> set[str]:
    """Full names of the modules that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return found


def imports_below(folder: Path) -> set[str]:
    return {name for path in folder.rglob("*.py") for name in imports(path)}


def top(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def ros_packages() -> set[str]:
    """What the ROS dependencies of package.xml are called, in Python too."""
    names = {
        node.text or "" for node in xml.parse(ROOT / "package.xml").iter() if node.tag.endswith("depend")
    }
    return {name for name in names if not name.startswith("python3-")}


def pinned(*files: str) -> set[str]:
    lines = "\n".join((ROOT / f"requirements/{name}.txt").read_text() for name in files).splitlines()
    return {re.split(r"[=<>]", line)[0] for line in lines if line and line[0] != "#"}


def test_every_import_is_declared():
    ours = {"kinaema_ros", *sys.stdlib_module_names}
    used = top(imports_below(PACKAGE)) - ours - ros_packages()
    declared = pinned("runtime", "tools", "train", "web")
    assert {DISTRIBUTIONS.get(name, name) for name in used} <= declared
    used = top(imports_below(ROOT / "launch")) - ours
    assert used <= ros_packages()


def test_everything_installed_has_its_version_pinned():
    for name in ("runtime", "tools", "train", "web", "test", "ros", "constraints"):
        for line in (ROOT / f"requirements/{name}.txt").read_text().splitlines():
            assert not line or line.startswith("#") or re.match(r"[\w.-]+==[\w.]+(; .*)?$", line), line


def test_both_packages_have_one_version():
    ours = xml.parse(ROOT / "package.xml").findtext("version")
    interfaces = xml.parse(ROOT / "kinaema_interfaces/package.xml").findtext("version")
    assert ours == interfaces
    assert kinaema_ros.__version__ == ours
    assert f"version: {ours}" in (ROOT / "CITATION.cff").read_text()


def test_every_dependency_is_accounted_for_on_aarch64():
    table = (ROOT / "docs/small-machines.md").read_text().partition("\n## Threads")[0].lower()
    for name in pinned("runtime", "tools", "train", "web"):
        assert {"torch": "pytorch", "av": "pyav"}.get(name, name.partition("-")[0].lower()) in table, name


def test_rosdep_needs_no_pip():
    """Ubuntu and Debian refuse packages of pip beside apt's (PEP 668), and rosdep stops there."""
    keys = {node.text or "" for node in xml.parse(ROOT / "package.xml").iter() if node.tag.endswith("depend")}
    assert not [key for key in keys if key.endswith("-pip")]


def test_colcon_leaves_the_stand_in_alone():
    assert (ROOT / "stand_ins/COLCON_IGNORE").is_file()


def test_the_interfaces_are_those_of_the_contract():
    action = pytest.importorskip("kinaema_interfaces.action").NavigateToImage
    service = pytest.importorskip("kinaema_interfaces.srv").QueryPose
    assert service.Request.get_fields_and_field_types() == {
        "image": "sensor_msgs/Image",
        "compressed_image": "sensor_msgs/CompressedImage",
        "place": "string",
        "hfov_deg": "float",
        "frame_id": "string",
    }
    assert service.Response.get_fields_and_field_types() == {
        "success": "boolean",
        "message": "string",
        "pose": "geometry_msgs/PoseWithCovarianceStamped",
        "seen": "float",
        "confidence": "float",
        "alternatives": "sequence<geometry_msgs/PoseWithCovariance>",
        "alternative_confidences": "sequence<float>",
        "num_updates": "uint64",
    }
    for name, more in (("SaveMemory", {}), ("LoadMemory", {"localize": "boolean"})):
        files = getattr(pytest.importorskip("kinaema_interfaces.srv"), name)
        assert files.Request.get_fields_and_field_types() == {"name": "string", **more}
        assert files.Response.get_fields_and_field_types() == {"success": "boolean", "message": "string"}
    services = pytest.importorskip("kinaema_interfaces.srv")
    assert services.AddPlace.Request.get_fields_and_field_types() == {
        "name": "string",
        "image": "sensor_msgs/Image",
        "compressed_image": "sensor_msgs/CompressedImage",
        "pose": "geometry_msgs/PoseStamped",
        "hfov_deg": "float",
    }
    assert services.ListPlaces.Response.get_fields_and_field_types() == {
        "success": "boolean",
        "message": "string",
        "header": "std_msgs/Header",
        "places": "sequence<kinaema_interfaces/Place>",
    }
    assert action.Goal.get_fields_and_field_types() == {
        "image": "sensor_msgs/Image",
        "compressed_image": "sensor_msgs/CompressedImage",
        "place": "string",
        "hfov_deg": "float",
        "min_seen": "float",
        "min_confidence": "float",
        "position_tolerance": "float",
        "yaw_tolerance": "float",
        "behavior_tree": "string",
    }
    assert action.Result.get_fields_and_field_types() == {
        "error_code": "uint16",
        "error_msg": "string",
        "final_goal": "geometry_msgs/PoseStamped",
        "num_queries": "uint16",
        "places_tried": "sequence<geometry_msgs/PoseStamped>",
    }


def test_every_failure_has_an_error_code_of_its_own():
    result = pytest.importorskip("kinaema_interfaces.action").NavigateToImage.Result
    text = (ROOT / "kinaema_interfaces/action/NavigateToImage.action").read_text()
    codes = [getattr(result, name) for name in re.findall(r"^uint16 ([A-Z0-9_]+)=", text, re.MULTILINE)]
    assert len(codes) == len(set(codes)) > 10
    assert all(code < 9000 for code in codes), "9000 and up are Nav2's"


def test_what_the_tests_import_is_declared():
    declared = {node.text for node in xml.parse(ROOT / "package.xml").iter() if node.tag.endswith("depend")}
    keys = {
        "PIL": "pil",
        "cv2": "opencv",
    }  # of rosdep
    pip_only = {"playwright", "rosbags", "safetensors", "schemathesis"}  # requirements/underlay.txt
    ours = {
        "kinaema_ros",
        *sys.stdlib_module_names,
        *pip_only,
        *(path.stem for path in (ROOT / "test").rglob("*.py")),
    }
    for name in top(imports_below(ROOT / "test")) - ours:
        assert declared & {name, f"python3-{keys.get(name, name)}"}, name


def test_the_readme_quotes_messages_and_parameters_that_exist():
    readme = (ROOT / "README.md").read_text()
    parameters = re.findall(r"^\| `([\w.]+)` \|", (ROOT / "docs/parameters.md").read_text(), re.MULTILINE)
    assert len(parameters) > 50
    groups = "|".join({name.partition(".")[0] for name in parameters if "." in name})
    nested = re.findall(rf"`((?:{groups})\.\w+)[:`]", readme)
    assert len(nested) >= 9
    assert set(nested) <= set(parameters)
    table = readme.partition("## When something goes wrong")[2].partition("\n## ")[0]
    code = "\n".join(path.read_text() for path in (ROOT / "kinaema_ros").rglob("*.py"))
    code += (ROOT / "kinaema_interfaces/msg/MemoryStatus.msg").read_text()
    rows = [row.strip("|").split("|") for row in table.splitlines() if row.startswith("| ")][1:]
    assert len(rows) == 16
    for seen, remedy in rows:
        quoted = re.findall(r"`([^`]+)`", seen)
        assert quoted, seen
        for message in quoted:
            assert message in code or message.replace("image_", "{kind}_", 1) in code, message
        for name in re.findall(r"`([a-z_.]+)[:`]", remedy):
            assert name in parameters if "." in name else name in code, name
