"""An agent of Mem-Nav without ROS: the navigator's PhotoDrive on the simulated robot, and the memory that it asks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from kinaema_ros import geometry
from kinaema_ros.baselines.methods import Method, NetworkMethod
from kinaema_ros.comparison import Comparison, Verdict
from kinaema_ros.correction import CorrectionLimits, SmoothCorrection
from kinaema_ros.estimate import Alternative, Estimate, Pose, as_pose
from kinaema_ros.evaluation.memnav.episodes import Episode
from kinaema_ros.geometry import Array
from kinaema_ros.keyframes import KeyframeSelector
from kinaema_ros.model.answer import MAX_ALTERNATIVES, Answer
from kinaema_ros.model.kind import memory_T_odom
from kinaema_ros.navigation.errors import NavigationError, NoAnswer, NotSeen
from kinaema_ros.navigation.photo_drive import LOOK_PERIOD, Check, DriveLimits, PhotoDrive
from kinaema_ros.sim import PathFollower
from kinaema_ros.sim.simulated_robot import IMAGE_HZ, STEP_HZ, SimulatedRobot

# As simulator_node and navigator_node have them.
STEPS_PER_IMAGE, STEPS_PER_LOOK = STEP_HZ // IMAGE_HZ, round(LOOK_PERIOD * STEP_HZ)
# Of a method that says nothing of its certainty: a seen place is up to 1 m and 40 degrees from the nearest frame.
TYPICAL_STD = (0.5, math.radians(15.0))


class Agent:
    """One robot on its way to one photo, the GoalRobot of its PhotoDrive; time passes in ``advance``.

    Its odometry goes on from ``odom_T_start`` (3,), and goals are sent in that frame. ask: the answer about the photo.
    compare: the photo against what the camera sees from a pose (3,) on the map, given that by odometry too.
    memory_T_odom: (3,) what localises it from the start on, where it is known where it is on the map; None: odometry alone.
    """

    def __init__(
        self,
        episode: Episode,
        robot: SimulatedRobot,
        odom_T_start: Array,
        ask: Callable[[], Estimate],
        limits: DriveLimits,
        compare: Callable[[Array, Array], Comparison] | None = None,
        memory_T_odom: Callable[[], Array] | None = None,
    ):
        self.episode, self.robot = episode, robot
        self._odom_T_start = odom_T_start
        self._follower: PathFollower | None = None
        self._keyframes = KeyframeSelector()
        self._keyframes.used(0, odom_T_start)  # the exploration's last frame
        self.travelled, self._steps = 0.0, 0  # metres by odometry, steps of the simulation
        self.map_T_base = robot.snapshot().map_T_base
        self.odom_T_base = odom_T_start
        self._memory_T_odom, self._correction = memory_T_odom, SmoothCorrection()
        if memory_T_odom is not None:
            memory_T_base = geometry.compose(memory_T_odom(), odom_T_start)
            self._map_T_memory = geometry.compose(self.map_T_base, geometry.inverse(memory_T_base))
        episode.path.append(self.map_T_base)
        self._ask_memory, self._compare = ask, compare
        self._looks = PhotoDrive(self, now=lambda: robot.snapshot().seconds).run(limits)

    def advance(self) -> bool:
        """Drives on; True at the next keyframe, False once the episode has ended."""
        while True:
            if self._steps % STEPS_PER_LOOK == 0 and not self._look():
                self._finish()
                return False
            self._step()
            if self._steps % STEPS_PER_IMAGE == 0:
                self.episode.path.append(self.map_T_base)
                stamp = self._steps * (1_000_000_000 // STEP_HZ)
                if self._keyframes.select(stamp, self.odom_T_base):
                    return True

    def _look(self) -> bool:
        try:
            next(self._looks)
        except StopIteration:
            self.episode.arrived = True
        except NotSeen:
            self.episode.refused = True
        except NavigationError as error:
            self.episode.message = str(error)
        else:
            return True
        return False

    def _step(self) -> None:
        if self._memory_T_odom is not None:
            self._localise(self._memory_T_odom())
        now = self.robot.step(1.0 / STEP_HZ)
        self.episode.length += math.hypot(*(now.map_T_base[:2] - self.map_T_base[:2]))
        odom_T_base = geometry.compose(self._odom_T_start, now.odom_T_base)
        self.travelled += math.hypot(*(odom_T_base[:2] - self.odom_T_base[:2]))
        self.map_T_base, self.odom_T_base = now.map_T_base, odom_T_base
        self._steps += 1

    def _localise(self, memory_T_odom: Array) -> None:
        """Brings the robot's localisation nearer to what the memory says, as memory_node's TF does."""
        memory_T_odom = self._correction.follow(
            CorrectionLimits(), memory_T_odom, self.odom_T_base, 1.0 / STEP_HZ
        )
        memory_T_base = geometry.compose(memory_T_odom, self.odom_T_base)
        self.robot.localise(geometry.compose(self._map_T_memory, memory_T_base))

    def _finish(self) -> None:
        self.episode.path.append(self.map_T_base)
        self.episode.collisions += self.robot.collisions

    @property
    def pose(self) -> Array:
        """Where the robot is, by its odometry."""
        return self.odom_T_base

    def ask(self, check: Check) -> Estimate:
        """The answer about the photo; the episode keeps count."""
        answer = self._ask_memory()
        if math.isnan(self.episode.seen):
            self.episode.seen = answer.seen
        self.episode.queries += 1
        return answer

    def compare(self, check: Check) -> Comparison:
        """The photo against the view from here."""
        if self._compare is None:
            raise NoAnswer("nobody compares")
        comparison = self._compare(self.map_T_base, self.odom_T_base)
        metres = math.hypot(*(self.map_T_base[:2] - self.episode.goal[:2]))
        self.episode.verdicts.append((comparison.verdict, metres))
        return comparison

    def send(self, pose: ArrayLike, check: Check) -> None:
        """Plans a path to a pose (3,) in the odometry's frame and follows it. Raises NavigationError without one."""
        start_T_goal = geometry.between(self._odom_T_start, pose)
        base_T_goal = geometry.between(self.odom_T_base, pose)
        self.episode.believed_goals.append(geometry.compose(self.map_T_base, base_T_goal))
        self._follower = self.robot.go_to(geometry.compose(self.robot.map_T_odom(), start_T_goal))
        if self._follower is None:
            raise NavigationError("no path leads there on the map")

    def arrived(self) -> bool:
        """Whether the path's end is reached. Raises NavigationError if the robot is stuck."""
        assert self._follower is not None
        if self._follower.stuck:
            raise NavigationError("the robot makes no progress")
        return self._follower.done


class RobotMemory:
    """What one robot remembers on its way to one photo."""

    def __init__(self, method: Method, state: Any, photo: Any, odometry: Array):
        """``photo``: an observation of ``method``'s encoder; odometry (3,) at the last update."""
        self._method, self._state, self._photo, self._odometry = method, state, photo, odometry

    def ask(self) -> Estimate:
        """What the memory says of the photo, in the odometry's frame."""
        best, *others = self._answers()
        alternatives = tuple(Alternative(*self._place(other)) for other in others[:MAX_ALTERNATIVES])
        pose, covariance, confidence = self._place(best)
        return Estimate(pose, covariance, best.seen, confidence, alternatives)

    def compare(self, observation: Any, odometry: Array) -> Comparison:
        """The photo against a view from ``odometry`` (3,)."""
        return Comparison(Verdict.UNDECIDED, "this method does not compare views")

    def update(self, observation: Any, odometry: Array) -> None:
        """Fold a frame into the memory."""
        self._state = self._method.update(self._state, observation, torch.from_numpy(odometry))
        self._odometry = odometry

    def _answers(self) -> list[Answer]:
        return [self._method.query(self._state, self._photo, same_camera=True)]

    def _place(self, answer: Answer) -> tuple[Pose, Array, float]:
        """Pose and covariance in the odometry's frame, and confidence."""
        robot_T_photo = answer.pose.cpu().numpy()
        position, yaw = TYPICAL_STD
        covariance = (
            np.diag([position**2, position**2, yaw**2])
            if answer.covariance is None
            else answer.covariance.cpu().numpy()
        )
        return (
            as_pose(geometry.compose(self._odometry, robot_T_photo)),
            geometry.rotate_covariance(covariance, self._odometry[2]),
            answer.confidence,
        )

    def memory_T_odom(self) -> Array:
        """(3,) where the odometry lies in the memory's frame."""
        return memory_T_odom(self._state)


class ComparingMemory(RobotMemory):
    """The shipped memory, that also names alternatives, and says on arrival whether the camera sees the photo's place."""

    _method: NetworkMethod

    def compare(self, observation: Any, odometry: Array) -> Comparison:
        """As ``SpatialMemory.compare``, in the odometry's frame."""
        seen = self._method.compare(self._state, observation, torch.from_numpy(odometry), self._photo)
        return seen.seen_from(odometry)

    def _answers(self) -> list[Answer]:
        return self._method.answers(self._state, self._photo)
