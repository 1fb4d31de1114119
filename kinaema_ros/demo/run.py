"""`kinaema demo`: simulator, memory and navigator as processes, a tour, and photos to drive to."""

from __future__ import annotations

import argparse
import math
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
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
from kinaema_ros.demo.window import LiveWindow, has_screen
from kinaema_ros.estimate import Estimate, as_pose
from kinaema_ros.nodes.client.client import Feedback, KinaemaClient
from kinaema_ros.nodes.client.joystick import DemoRobot
from kinaema_ros.nodes.client.processes import NodeProcesses, own_domain
from kinaema_ros.sim import SceneConfig, generate_scene, render
from kinaema_ros.sim.tour import Tour, path_length

SPEED = 8.0  # the robot's seconds a second, where the machine keeps up
_BAR = "{desc}  [{elapsed}]"


def run(arguments: argparse.Namespace) -> int:
    """Returns 0 if enough photos were reached. Raises RuntimeError if a node fails."""
    arguments.out.mkdir(parents=True, exist_ok=True)
    print(
        f"A robot is driven through a building it has never seen, for {EXPLORE_SECONDS / 60:g} minutes of its time; "
        "it keeps no image and no map.\n"
        f"Then it is shown {_photos(arguments.goals)}, and drives to where each was taken.\n",
        flush=True,
    )
    started = time.monotonic()
    with _terminations_as_interrupts():
        record = _perform(arguments)
    print(f"\n{_table(record)}")
    summary = (
        f"{record.reached} of {record.goals} places reached within 1 m in "
        f"{time.monotonic() - started:.0f} s of the machine's time"
    )
    print(f"\n{summary}" + ("" if record.done else ": too few"), flush=True)
    _write(arguments, record, summary)
    return 0 if record.done else 1


def _perform(arguments: argparse.Namespace) -> DemoRecord:
    scene = generate_scene(arguments.world, SceneConfig(texture_seed=_texture_seed(arguments)))
    record = DemoRecord(scene, arguments.goals)
    rng = np.random.default_rng(arguments.world)
    with ExitStack() as stack:
        domain = stack.enter_context(own_domain())
        print(f"starting simulator_node, memory_node and navigator_node (ROS_DOMAIN_ID={domain})", flush=True)
        processes = stack.enter_context(NodeProcesses(arguments.out / "log", _nodes(arguments)))
        robot = stack.enter_context(
            DemoRobot(lambda seconds, pose: record.track.append((seconds, pose)), processes.check)
        )
        robot.wait_until_ready()
        if not arguments.headless and has_screen():
            stack.enter_context(LiveWindow(record, SPEED))
        kinaema = stack.enter_context(KinaemaClient())
        _explore(record, robot, rng)
        spots = PhotoSpots(record.scene, record.path(record.began, record.explored), rng)
        for number in range(1, arguments.goals + 1):
            true = spots.next(robot.pose.tolist(), [visit.true for visit in record.visits])
            photo = arguments.out / f"photo_{number}.png"
            _visit(record, robot, kinaema, true, photo)
    return record


def _texture_seed(arguments: argparse.Namespace) -> int:
    """Training painted its buildings from pools below 2^31, whatever their seeds: these are new to the network."""
    return 2**31 + arguments.world % 2**31


def _nodes(arguments: argparse.Namespace) -> dict[str, list[str]]:
    """Their parameters."""
    simulator = [
        f"world:={arguments.world}",
        f"texture_seed:={_texture_seed(arguments)}",
        "publish_clock:=true",
        f"real_time_factor:={SPEED}",
        "lockstep:=true",
        f"image_width:={CAMERA.width}",
        f"image_height:={CAMERA.height}",
    ]
    memory = [f"device:={arguments.device}"]
    if arguments.checkpoint:
        memory.append(f"checkpoint:={arguments.checkpoint.resolve()}")
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
    print(f"explored {driven:.0f} m; the memory has {record.state_bytes / 1000:.0f} kB", flush=True)


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
            visit.estimates.append((robot.seconds, Estimate(as_pose(pose), covariance, feedback.seen)))
            left = math.hypot(*(pose[:2] - robot.pose[:2]))
            line.set_description_str(
                f"photo {len(record.visits)} of {record.goals}: at ({pose[0]:.1f}, {pose[1]:.1f}) m, "
                f"{left:.1f} m away, seen before: {100 * feedback.seen:.0f} %"
            )

        arrival = kinaema.go_to(photo, on_feedback=on_feedback)
        visit.ended, visit.stopped = robot.seconds, robot.pose
        visit.arrived, visit.message = arrival.reached, arrival.message
    print(_outcome(len(record.visits), visit), flush=True)


def _photos(number: int) -> str:
    return "one photo" if number == 1 else f"{number} photos, one by one"


def _outcome(number: int, visit: Visit) -> str:
    if not visit.arrived:
        return f"photo {number}: {visit.message}"
    return f"photo {number}: stopped {visit.distance:.2f} m from where it was taken"


def _table(record: DemoRecord) -> str:
    rows = []
    for number, visit in enumerate(record.visits, 1):
        position, yaw = visit.errors
        rows.append(
            (
                str(number),
                "refused" if visit.first_estimate is None else _place(np.array(visit.first_estimate.pose)),
                _place(visit.true),
                reporting.number(position, 2, " m"),
                reporting.number(math.degrees(yaw), 0, "°"),
                reporting.number(visit.distance, 2, " m"),
                "yes" if visit.reached else "no",
                reporting.number(visit.seconds, 0, " s"),
            )
        )
    header = ("photo", "predicted from afar", "true", "error", "", "stopped at", "reached", "time")
    return reporting.table(rows, header)


def _place(pose: NDArray[np.float64]) -> str:
    return f"{pose[0]:.2f} m, {pose[1]:.2f} m, {math.degrees(pose[2]):.0f}°"


def _write(arguments: argparse.Namespace, record: DemoRecord, summary: str) -> None:
    picture, film = arguments.out / "demo.png", arguments.out / "demo.mp4"
    write_picture(picture, record)
    moments = timeline(record)
    shown = reporting.progress(frames(record, moments), total=len(moments), desc="film", unit="frame")
    remark = write_video(film, shown, WIDTH, HEIGHT, FPS)
    if arguments.json:
        goals = [visit.as_json() for visit in record.visits]
        result = {"world": arguments.world, "goals": goals, "reached": record.reached, "summary": summary}
        reporting.write_json(arguments.json, result)
    print(f"picture: {picture}\nfilm:    {film}" + (f" ({remark})" if remark else ""))


@contextmanager
def _terminations_as_interrupts() -> Iterator[None]:
    """SIGTERM and a closed terminal end the demo as Ctrl-C does: with its nodes."""
    before = {
        number: signal.signal(number, signal.default_int_handler)
        for number in (signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
