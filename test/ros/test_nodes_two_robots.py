"""Robots as they really are, two at once in one ROS domain: other frames, clocks, cameras and photos.

/ant: its camera stands off-centre, high, turned and tilted; where, it learns from TF. Its goals go out in the map.
/bee: its camera's place is given by parameters, the photos are a phone's. Its goals go out in the base frame.
Each has a namespace, a clock and a TF tree of its own, as Nav2's bring-up gives it, and frames with its name.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from chain_support import WORLD, SimulatedRobot, start_nodes, stop_nodes
from ros_support import DISCOVERY, tf2_where_it_is_missing

from kinaema_ros import geometry
from kinaema_ros.camera import Mount, photo_hfov
from kinaema_ros.nodes.client.client import Arrival, KinaemaClient
from kinaema_ros.sim import Camera, generate_scene, render

CAMERAS = {
    "ant": ("camera.x:=0.15", "camera.y:=-0.05", "camera.z:=0.75", "camera.yaw:=1.2", "camera.pitch:=0.12"),
    "bee": ("camera.x:=-0.1", "camera.y:=0.08", "camera.yaw:=-0.5", "camera.pitch:=-0.1"),
}
MOUNTS = {"ant": Mount(x=0.15, y=-0.05, yaw=1.2), "bee": Mount(x=-0.1, y=0.08, yaw=-0.5)}
STOPS_SHOWN = {"ant": 1, "bee": 2}
PHONE_HFOV = math.radians(80.0)  # across its longer side


@pytest.fixture(scope="module")
def robots() -> Iterator[dict[str, SimulatedRobot]]:
    nodes = []
    with pytest.MonkeyPatch.context() as patch:
        tf2_where_it_is_missing(patch)
        for name, memory, goal_frame in (
            ("ant", ("camera_mount:=tf",), "map"),
            ("bee", (*CAMERAS["bee"], f"query_hfov_deg:={math.degrees(PHONE_HFOV)}"), "base"),
        ):
            own = ("/tf:=tf", "/tf_static:=tf_static", "/clock:=clock", f"__ns:=/{name}")
            frames = (f"odom_frame:={name}/odom", f"base_frame:={name}/base_link")
            nodes += start_nodes(
                (*CAMERAS[name], *frames),
                memory,
                (f"goal_frame:={goal_frame}",),
                [word for rule in own for word in ("-r", rule)],
            )
    robots = {name: SimulatedRobot(f"/{name}") for name in CAMERAS}
    yield robots
    for robot in robots.values():
        robot.close()
    stop_nodes(nodes)


def upright(pose: np.ndarray, long_side: float) -> np.ndarray:
    """A photo (H, W, 3) that a phone took upright, held at ``pose``."""
    width, height = 240, 320
    camera = Camera(width, height, photo_hfov(width, height, long_side), z=0.6)
    return render(generate_scene(WORLD), pose[None], camera)[0]


def assert_there(name: str, place: np.ndarray, pose: np.ndarray) -> None:
    """Within a metre and 30 degrees."""
    error = geometry.between(place, pose)
    assert np.hypot(error[0], error[1]) < 1.0, f"{name}: {error}"
    assert abs(np.degrees(error[2])) < 30.0, f"{name}: {error}"


def go(name: str, photo: np.ndarray) -> Arrival:
    with KinaemaClient(f"/{name}") as kinaema:
        return kinaema.go_to(photo, timeout=DISCOVERY)


def test_two_unlike_robots_return_to_their_photos_side_by_side(robots: dict[str, SimulatedRobot]) -> None:
    with ThreadPoolExecutor(len(robots)) as both:
        for robot in robots.values():
            robot.remembering()
        photos = dict(zip(robots, both.map(SimulatedRobot.look_around, robots.values()), strict=True))
        # A photo by the robot's camera is of where the robot was, one by a phone of where the phone was: here
        # where the robots' cameras were.
        held = {name: MOUNTS[name].camera_pose(photos[name][stop][0]) for name, stop in STOPS_SHOWN.items()}
        places = {"ant": photos["ant"][1][0], "bee": held["bee"]}
        shown = {"ant": photos["ant"][1][1], "bee": upright(held["bee"], PHONE_HFOV)}
        with KinaemaClient("/ant") as kinaema:
            # Without query_hfov_deg, a photo of another shape sees as far across its longer side as we do.
            photo = upright(held["ant"], math.radians(90.0))
            assert_there("ant", held["ant"], kinaema.query(photo, "map", DISCOVERY).pose)
            photo = upright(held["ant"], PHONE_HFOV)
            answer = kinaema.query(photo, "map", DISCOVERY, hfov_deg=math.degrees(PHONE_HFOV))
            assert_there("ant", held["ant"], answer.pose)
        arrivals = dict(zip(robots, both.map(go, robots, [shown[name] for name in robots]), strict=True))
    for name, arrival in arrivals.items():
        assert arrival.reached, arrival.message
        assert_there(name, places[name], robots[name].truth)
    assert {name: arrival.frame_id for name, arrival in arrivals.items()} == {
        "ant": "map",
        "bee": "bee/odom",
    }
