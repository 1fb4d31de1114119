"""Nav2's goals and photos in the simulator while odometry drifts: localised by the memory, and by odometry alone.

    python benchmarks/without_a_map.py --buildings 3 [--odom-noise 0.03,0.4] [--json FILE]

The real nodes, with the simulator's navigate_to_pose. In each building the robot is driven by cmd_vel along a walk, as by hand; then it
drives to poses of the walk, given in the frame that began where the robot did, one after the other, and to photos of some. Reached
means: Nav2 says success (of a photo the navigator) and the robot is within 1 m. The simulated Nav2 sees obstacles where they are
(`sees_obstacles`), as by a costmap that sensors fill; where the goal lies, it has from the localisation.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from action_msgs.msg import GoalStatus
from nav2_msgs.action import NavigateToPose

from kinaema_ros import geometry
from kinaema_ros.evaluation.memnav.through_nodes import Walk
from kinaema_ros.geometry import Array
from kinaema_ros.metrics import SUCCESS_DISTANCE
from kinaema_ros.nodes.client.client import KinaemaClient
from kinaema_ros.nodes.client.joystick import DemoRobot
from kinaema_ros.nodes.client.processes import NodeProcesses, own_domain
from kinaema_ros.nodes.support import messages
from kinaema_ros.nodes.support.spinning import SpinningNode, action_client
from kinaema_ros.nodes.support.waiting import wait_for, wait_until
from kinaema_ros.reporting import progress, table, write_json
from kinaema_ros.sim import Camera, Scene, SceneConfig, explore, generate_scene, render

FRAMES, GOALS, PHOTOS = 120, 12, 4  # poses of the walk, and in a building
MIN_WAY = 3.0  # metres from one goal to the next
FIRST_SEED = 9_100_000
TEXTURES = 2**31 + 17  # never trained on
KINDS = ("first goals", "later goals", "photos")
WAYS = {"memory": "tf", "odometry": "odometry"}
TIMEOUT = 300.0  # seconds of wall time


@dataclass
class Drive:
    """What became of a goal: metres are the robot's from it."""

    building: int
    localised_by: str
    to: str  # one of KINDS
    succeeded: bool
    metres: float
    message: str = field(default="")

    @property
    def reached(self) -> bool:
        """That it is there, and says so."""
        return self.succeeded and self.metres <= SUCCESS_DISTANCE


def nodes_of(building: int, localised_by: str, noise: tuple[float, float]) -> dict[str, list[str]]:
    """Their parameters."""
    memory = localised_by == "memory"
    simulator = [
        f"world:={FIRST_SEED + building}",
        f"texture_seed:={TEXTURES}",
        f"odometry_noise.fraction:={noise[0]}",
        f"odometry_noise.degrees:={noise[1]}",
        f"localization:={WAYS[localised_by]}",
        "sees_obstacles:=true",
        "image_hz:=2.5",
        "publish_clock:=true",
        "real_time_factor:=0.0",
        "lockstep:=true",
    ]
    nodes = {
        "simulator_node": simulator,
        "memory_node": ["publish_tf:=true"] if memory else [],
        "navigator_node": ["query_timeout:=60.0", "nav2_timeout:=60.0"],
    }
    return {name: [*parameters, "use_sim_time:=true"] for name, parameters in nodes.items()}


def goals_of(walk: Array, number: int, rng: np.random.Generator) -> list[Array]:
    """Poses of the walk, each some way from the one before."""
    goals, here = [], walk[-1]
    for _ in range(number):
        far = walk[np.hypot(*(walk - here)[:, :2].T) >= MIN_WAY]
        here = far[rng.integers(len(far))]
        goals.append(here)
    return goals


def drive_in(building: int, localised_by: str, noise: tuple[float, float], logs: Path) -> list[Drive]:
    """All goals of a building, and then its photos."""
    scene: Scene = generate_scene(FIRST_SEED + building, SceneConfig(texture_seed=TEXTURES))
    walk = explore(scene, np.random.default_rng(0), FRAMES)
    goals = goals_of(walk, GOALS + PHOTOS, np.random.default_rng(building))
    scene_T_map = walk[0] if localised_by == "memory" else np.zeros(3)
    drives = []
    with ExitStack() as stack:
        stack.enter_context(own_domain())
        processes = stack.enter_context(NodeProcesses(logs, nodes_of(building, localised_by, noise)))
        robot = stack.enter_context(DemoRobot(lambda _, pose: None, processes.check, scene_T_map))
        robot.wait_until_ready()
        ros = SpinningNode("kinaema_goals")
        stack.callback(ros.close)
        nav2 = action_client(ros.node, NavigateToPose, "navigate_to_pose")
        wait_until(nav2.server_is_ready, TIMEOUT)
        kinaema = stack.enter_context(KinaemaClient())
        way = Walk(walk)
        while not way.done:
            robot.drive(way.command, 1.0, lambda: None)
        for number, goal in enumerate(goals):
            photo = number >= GOALS
            if photo:
                arrival = kinaema.go_to(render(scene, goal[None], Camera(320, 240))[0])
                succeeded, message = arrival.reached, arrival.message
            else:
                wanted = messages.pose_stamped(
                    geometry.between(scene_T_map, goal), "map", messages.time_msg(0)
                )
                handle = wait_for(nav2.send_goal_async(NavigateToPose.Goal(pose=wanted)), TIMEOUT)
                answer = wait_for(handle.get_result_async(), TIMEOUT)
                succeeded = answer.status == GoalStatus.STATUS_SUCCEEDED
                message = getattr(answer.result, "error_msg", "")
            metres = float(np.hypot(*(robot.pose - goal)[:2]))
            kind = KINDS[2 if photo else number >= GOALS // 2]
            drives.append(Drive(building, localised_by, kind, succeeded, metres, message))
    return drives


def rows_of(drives: list[Drive]) -> list[tuple[str, ...]]:
    """One for each way of localising, and goals and photos."""
    rows = []
    for by in WAYS:
        for kind in KINDS:
            of = [drive for drive in drives if (drive.localised_by, drive.to) == (by, kind)]
            reached = sum(drive.reached for drive in of)
            metres = np.array([drive.metres for drive in of])
            rows.append((
                by, kind, f"{reached} of {len(of)}",
                f"{np.median(metres):.2f} m", f"{np.percentile(metres, 90):.2f} m",
                str(sum(not drive.succeeded for drive in of)),
            ))  # fmt: skip
    return rows


def main() -> None:
    """Drives, and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--buildings", type=int, default=3)
    parser.add_argument(
        "--odom-noise", default="0.03,0.4", help="fraction and degrees, as of kinaema evaluate"
    )
    parser.add_argument("--logs", type=Path, help="folder of the nodes' logs")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    fraction, degrees = map(float, arguments.odom_noise.split(","))
    logs = arguments.logs or Path(tempfile.mkdtemp(prefix="kinaema-without-a-map-"))
    runs = [(building, by) for building in range(arguments.buildings) for by in WAYS]
    drives: list[Drive] = []
    for building, by in progress(runs, desc="driving", unit="run"):
        drives += drive_in(building, by, (fraction, degrees), logs / f"{building}-{by}")
        if arguments.json:
            write_json(arguments.json, [asdict(drive) for drive in drives])
    print(table(rows_of(drives), ("localised by", "to", "reached", "median off", "90 % off", "failed")))


if __name__ == "__main__":
    main()
