"""`kinaema demo`: simulator, memory and navigator as processes, a tour, and photos to drive to."""

from __future__ import annotations

import logging
import math
import time
import webbrowser
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from kinaema_ros import reporting
from kinaema_ros.demo.film import FPS, HEIGHT, WIDTH, frames, timeline
from kinaema_ros.demo.photos import PhotoSpots
from kinaema_ros.demo.picture import write_picture
from kinaema_ros.demo.record import CAMERA, EXPLORE_SECONDS, DemoRecord, Visit
from kinaema_ros.demo.video import write_video
from kinaema_ros.estimate import Estimate, as_pose
from kinaema_ros.nodes.client.client import Feedback, KinaemaClient
from kinaema_ros.nodes.client.joystick import DemoRobot
from kinaema_ros.nodes.client.processes import SPEED, NodeProcesses, own_domain
from kinaema_ros.sim import SceneConfig, generate_scene, render
from kinaema_ros.sim.tour import Tour, path_length

log = logging.getLogger(__name__)

WATCHED_SPEED = 3.0  # the robot's seconds a second, where people watch it on a page
_BAR = "{desc}  [{elapsed}]"


def perform(world: int, goals: int, folder: Path, device: str, checkpoint: Path | None) -> DemoRecord:
    """Drive the robot through building ``world``, then to as many photos as ``goals``; returns what happened.

    The photos and the nodes' logs go into ``folder``. ``checkpoint``: of memory_node, None for the network that
    ships with the package. Raises KinaemaError if a node fails.
    """
    log.info(
        "A robot is driven through a building it has never seen, for %g minutes of its time; "
        "it keeps no image and no map.\nThen it is shown %s, and drives to where each was taken.\n",
        EXPLORE_SECONDS / 60,
        _photos(goals),
    )
    record, rng = _new_record(world, goals), np.random.default_rng(world)
    with ExitStack() as stack:
        robot, _ = _start(stack, record, folder, _nodes(world, device, checkpoint))
        kinaema = stack.enter_context(KinaemaClient())
        _explore(record, robot, rng)
        spots = PhotoSpots(record.scene, record.path(record.began, record.explored), rng)
        for number in range(1, goals + 1):
            true = spots.next(robot.pose.tolist(), [visit.true for visit in record.visits])
            _visit(record, robot, kinaema, true, folder / f"photo_{number}.png")
    return record


def serve(
    world: int, photos: int, folder: Path, device: str, checkpoint: Path | None, port: int, browse: bool
) -> None:
    """Let the robot explore the building ``world`` while ``kinaema web``'s page shows it; then it waits for people.

    Photos of places to send it to go into ``folder``. browse: open the page in this machine's browser. Never returns;
    Ctrl-C ends it. Raises KinaemaError if a node fails.
    """
    record, rng = _new_record(world, photos), np.random.default_rng(world)
    nodes = _nodes(world, device, checkpoint, speed=WATCHED_SPEED)
    nodes["web_node"] = ["use_sim_time:=true", f"port:={port}"]
    with ExitStack() as stack:
        robot, processes = _start(stack, record, folder, nodes)
        page = f"http://127.0.0.1:{port}/"
        log.info("the robot's page: %s", page)
        if browse:
            webbrowser.open(page)
        _explore(record, robot, rng)
        spots = PhotoSpots(record.scene, record.path(record.began, record.explored), rng)
        taken: list[NDArray[np.float64]] = []
        for number in range(1, photos + 1):
            taken.append(spots.next(robot.pose.tolist(), taken))
            _write_photo(folder / f"photo_{number}.png", render(record.scene, taken[-1][None], CAMERA)[0])
        log.info("choose one of %s/photo_*.png on the page, or tap a place; Ctrl-C ends the robot", folder)
        while True:
            processes.check()
            time.sleep(0.5)


def _new_record(world: int, goals: int) -> DemoRecord:
    return DemoRecord(generate_scene(world, SceneConfig(texture_seed=_texture_seed(world))), goals)


def _start(
    stack: ExitStack, record: DemoRecord, folder: Path, nodes: dict[str, list[str]]
) -> tuple[DemoRobot, NodeProcesses]:
    """The nodes in a ROS domain of their own, and who drives the robot; they end with the stack."""
    folder.mkdir(parents=True, exist_ok=True)
    domain = stack.enter_context(own_domain())
    *first, last = nodes
    log.info("starting %s and %s (ROS_DOMAIN_ID=%d)", ", ".join(first), last, domain)
    processes = stack.enter_context(NodeProcesses(folder / "log", nodes))
    robot = stack.enter_context(
        DemoRobot(lambda seconds, pose: record.track.append((seconds, pose)), processes.check)
    )
    robot.wait_until_ready()
    return robot, processes


def _write_photo(path: Path, picture: NDArray[np.uint8]) -> None:
    cv2.imwrite(str(path), picture[..., ::-1])


def _texture_seed(world: int) -> int:
    """Training painted its buildings from pools below 2^31, whatever their seeds: these are new to the network."""
    return 2**31 + world % 2**31


def _nodes(world: int, device: str, checkpoint: Path | None, speed: float = SPEED) -> dict[str, list[str]]:
    """Their parameters."""
    simulator = [
        f"world:={world}",
        f"texture_seed:={_texture_seed(world)}",
        "publish_clock:=true",
        f"real_time_factor:={speed}",
        "lockstep:=true",
        f"camera.width:={CAMERA.width}",
        f"camera.height:={CAMERA.height}",
    ]
    memory = [f"device:={device}"]
    if checkpoint:
        memory.append(f"checkpoint:={checkpoint.resolve()}")
    nodes = {"simulator_node": simulator, "memory_node": memory, "navigator_node": []}
    return {name: [*parameters, "use_sim_time:=true"] for name, parameters in nodes.items()}


def _explore(record: DemoRecord, robot: DemoRobot, rng: np.random.Generator) -> None:
    record.began = robot.seconds
    total = round(EXPLORE_SECONDS)
    with tqdm(total=total, desc="exploring", unit=" s", disable=None, leave=False) as bar:

        def show() -> None:
            bar.update(min(total, int(robot.seconds - record.began)) - bar.n)

        robot.drive(Tour(record.scene, rng).command, EXPLORE_SECONDS, show)
        show()
    record.explored = robot.seconds
    record.state_bytes = robot.state_bytes
    driven = path_length(record.path(record.began, record.explored)[:, :2])
    log.info("explored %.0f m; the memory has %.0f kB", driven, record.state_bytes / 1000)


def _visit(
    record: DemoRecord, robot: DemoRobot, kinaema: KinaemaClient, true: NDArray[np.float64], photo: Path
) -> None:
    """Shows the robot a photo taken at ``true``, and watches it go there."""
    picture = render(record.scene, true[None], CAMERA)[0]
    _write_photo(photo, picture)
    visit = Visit(picture, true, robot.seconds)
    record.visits.append(visit)
    with tqdm(bar_format=_BAR, disable=None, leave=False) as line:
        line.set_description_str(f"photo {len(record.visits)} of {record.goals}: where is this?")

        def on_feedback(feedback: Feedback) -> None:
            pose, covariance = robot.on_map(feedback.goal, feedback.covariance)
            visit.estimates.append(
                (robot.seconds, Estimate(as_pose(pose), covariance, feedback.seen, feedback.confidence))
            )
            left = math.hypot(*(pose[:2] - robot.pose[:2]))
            line.set_description_str(
                f"photo {len(record.visits)} of {record.goals}: at ({pose[0]:.1f}, {pose[1]:.1f}) m, "
                f"{left:.1f} m away, {100 * feedback.confidence:.0f} % sure"
            )

        arrival = kinaema.go_to(photo, on_feedback=on_feedback)
        visit.ended, visit.stopped = robot.seconds, robot.pose
        visit.arrived, visit.message = arrival.reached, arrival.message
    log.info(_outcome(len(record.visits), visit))


def _photos(number: int) -> str:
    return "one photo" if number == 1 else f"{number} photos, one by one"


def _outcome(number: int, visit: Visit) -> str:
    if not visit.arrived:
        return f"photo {number}: {visit.message}"
    return f"photo {number}: stopped {visit.distance:.2f} m from where it was taken"


def write_pictures(folder: Path, record: DemoRecord) -> None:
    """Write demo.png and demo.mp4 into the folder."""
    picture, film = folder / "demo.png", folder / "demo.mp4"
    write_picture(picture, record)
    moments = timeline(record)
    shown = reporting.progress(frames(record, moments), total=len(moments), desc="film", unit="frame")
    write_video(film, shown, WIDTH, HEIGHT, FPS)
    log.info("picture: %s\nfilm:    %s", picture, film)
