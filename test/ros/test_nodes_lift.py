"""A robot of the simulator that somebody lifts by metres: the memory finds it again, and keeps what it knew."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from chain_support import WALK, WORLD, SimulatedRobot, start_nodes, stop_nodes
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from ros_support import DISCOVERY, counts, wait_until

from kinaema_interfaces.msg import MemoryStatus
from kinaema_interfaces.srv import AddPlace, SaveMemory
from kinaema_ros import SpatialMemory, geometry
from kinaema_ros.evaluation.memnav.through_nodes import Walk
from kinaema_ros.metrics import pose_errors
from kinaema_ros.model.token_memory import TokenMemory
from kinaema_ros.nodes.client.client import KinaemaClient
from kinaema_ros.nodes.client.joystick import DemoRobot
from kinaema_ros.paths import default_checkpoint
from kinaema_ros.sim import Camera, generate_scene, render

DRIVEN = 60  # poses of the walk


class Lifted:
    """A robot that has driven a walk, and what its memory says and saves."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.ros = SimulatedRobot(drives=False)
        self.ros.remembering()
        self.robot = DemoRobot(lambda seconds, pose: None, lambda: None)
        self.robot.wait_until_ready()
        self._save = self.ros.node.create_client(SaveMemory, "kinaema_memory/save")
        self._name = self.ros.node.create_client(AddPlace, "kinaema_memory/add_place")
        self._set = self.ros.node.create_client(SetParameters, "kinaema_simulator/set_parameters")
        self.drive(WALK[:DRIVEN], lambda: False)

    @property
    def status(self) -> MemoryStatus:
        return self.ros.last["kinaema_memory/status"]

    def drive(self, poses: np.ndarray, until: Callable[[], bool]) -> None:
        """Along poses, to their end or until something holds."""
        walk = Walk(poses)
        while not (walk.done or until()):
            self.robot.drive(walk.command, 0.2, lambda: None)
        self.robot.drive(
            lambda pose, dt: (0.0, 0.0), 1.0, lambda: None
        )  # until it stands and all images are in

    def saved(self, name: str) -> TokenMemory:
        answer = self.ros.call(self._save, SaveMemory.Request(name=name))
        assert answer.success, answer.message
        memory = SpatialMemory.from_checkpoint(default_checkpoint())
        memory.load(self.folder / f"{name}.safetensors")
        return memory._state

    def name_here(self, name: str) -> AddPlace.Response:
        return self.ros.call(self._name, AddPlace.Request(name=name))

    def lift(self, pose: np.ndarray, odometry: str) -> None:
        wanted = Parameter("lift_odometry", value=odometry).to_parameter_msg()
        answer = self.ros.call(self._set, SetParameters.Request(parameters=[wanted]))
        assert answer.results[0].successful, answer.results[0].reason
        self.robot.lift(pose)

    def finder(self, reason: str) -> Callable[[], bool]:
        """Says whether from now on something was noticed for this reason, and a view written since."""
        before = self.status
        noticed = counts(before).get(reason, 0)
        return lambda: (
            counts(self.status).get(reason, 0) > noticed and self.status.num_updates > before.num_updates
        )

    def close(self) -> None:
        self.robot.__exit__(None, None, None)
        self.ros.close()


@pytest.fixture(scope="module")
def lifted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lifted]:
    folder = tmp_path_factory.mktemp("kinaema")
    nodes = start_nodes(memory=[f"memory_dir:={folder}"])
    lifted = None
    try:
        lifted = Lifted(folder)
        yield lifted
    finally:
        if lifted is not None:
            lifted.close()
        stop_nodes(nodes)


@pytest.mark.parametrize(
    ("odometry", "reason"),
    [("unaware", "lift_noticed"), ("jump", "odometry_jump"), ("reset", "odometry_reset")],
)
def test_a_lifted_robot_is_found_again_and_nothing_wrong_was_written(
    lifted: Lifted, odometry: str, reason: str
) -> None:
    before = lifted.saved("before")
    far = np.hypot(*(WALK[: DRIVEN - 25] - lifted.robot.pose)[:, :2].T)
    there = int(far.argmax())
    assert far[there] > 3.0
    found = lifted.finder(reason)
    lifted.lift(WALK[there], odometry)
    lifted.drive(
        WALK[there : there + 25], lambda: bool(np.hypot(*(lifted.robot.pose - WALK[there])[:2]) > 0.3)
    )
    named, place = lifted.name_here("table"), lifted.robot.pose
    here = int(np.hypot(*(WALK[there : there + 25] - place)[:, :2].T).argmin())
    lifted.drive(WALK[there + here : there + 25], found)
    assert found()
    wait_until(lambda: lifted.status.state == MemoryStatus.RUNNING)
    after = lifted.saved("after")

    old = (before.count > 0).numpy()
    assert len(after.count) == len(before.count)
    moved, turned = pose_errors(after.pose.numpy()[old], before.pose.numpy()[old])
    assert moved.max() < 0.1
    assert turned.max() < math.radians(2.0)
    view = geometry.between(WALK[0], lifted.robot.pose)
    written = (after.count > 0).numpy() & ~old
    assert 1 <= written.sum() <= 6  # on the way from where it was found to where it stands
    error, turn = pose_errors(after.pose.numpy()[written], view)
    assert error.max() < 1.0
    asked = WALK[there]
    photo = render(generate_scene(WORLD), asked[None], Camera(320, 240))[0]
    with KinaemaClient() as kinaema:
        answer = kinaema.query(photo, timeout=DISCOVERY)
        table = kinaema.query(place="table", timeout=DISCOVERY) if named.success else None
    if table is None:  # refused while it was looked for
        assert odometry != "unaware"
        assert "agreeing views; turn or drive on" in named.message
    else:
        assert pose_errors(table.pose, geometry.between(lifted.robot.pose, place))[0] < 0.5
    error, turn = pose_errors(answer.pose, geometry.between(lifted.robot.pose, asked))
    assert error < 0.5
    assert turn < math.radians(6.0)
