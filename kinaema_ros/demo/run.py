"""`kinaema demo`: simulator, memory and navigator as processes, a tour, and photos to drive to."""

from __future__ import annotations

import logging
import math
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

_BAR = "{desc}  [{elapsed}]"


def perform(world: int, goals: int, folder: Path, device: str, checkpoint: Path | None) -> DemoRecord:
    """Drive the robot through building ``world``, then to as many photos as ``goals``; returns what happened.

    The photos and the nodes' logs go into ``folder``. ``checkpoint``: of memory_node, None for the network that
    ships with the package. Raises KinaemaError if a node fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log.info(
        "A robot is driven through a building it has never seen, for %g minutes of its time; "
        "it keeps no image and no map.\nThen it is shown %s, and drives to where each was taken.\n",
        EXPLORE_SECONDS / 60,
        _photos(goals),
    )
    with ExitStack() as stack:
        scene = generate_scene(world, SceneConfig(texture_seed=_texture_seed(world)))
        record = DemoRecord(scene, goals)
        rng = np.random.default_rng(world)
        domain = stack.enter_context(own_domain())
        log.info("starting simulator_node, memory_node and navigator_node (ROS_DOMAIN_ID=%d)", domain)
        processes = stack.enter_context(NodeProcesses(folder / "log", _nodes(world, device, checkpoint)))
        robot = stack.enter_context(
            DemoRobot(lambda seconds, pose: record.track.append((seconds, pose)), processes.check)
        )
        robot.wait_until_ready()
        kinaema = stack.enter_context(KinaemaClient())
        _explore(record, robot, rng)
        spots = PhotoSpots(record.scene, record.path(record.began, record.explored), rng)
        for number in range(1, goals + 1):
            true = spots.next(robot.pose.tolist(), [visit.true for visit in record.visits])
            _visit(record, robot, kinaema, true, folder / f"photo_{number}.png")
    return record


def _texture_seed(world: int) -> int:
    """Training painted its buildings from pools below 2^31, whatever their seeds: these are new to the network."""
    return 2**31 + world % 2**31


def _nodes(world: int, device: str, checkpoint: Path | None) -> dict[str, list[str]]:
    """Their parameters."""
    simulator = [
        f"world:={world}",
        f"texture_seed:={_texture_seed(world)}",
        "publish_clock:=true",
        f"real_time_factor:={SPEED}",
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
    cv2.imwrite(str(photo), picture[..., ::-1])
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
