"""Where the robot is, where odometry does not tell: views are asked of the memory until enough of them agree.

After a restart odometry says nothing. After a lift that wheels do not notice it says what is wrong, and the next view
does not show what the views before it saw. Nor does a bare wall, or somebody in front of the camera: so odometry is
doubted, but views are written by it, until they agree that the robot is elsewhere. Then the memory is again what it was
before the doubt, but for the places that were named since: these are kept.
"""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import torch
from torch import Tensor

from kinaema_ros import geometry
from kinaema_ros.anchoring import Anchoring, View
from kinaema_ros.errors import NoSuchPlaceError
from kinaema_ros.geometry import Array
from kinaema_ros.model import place_poses
from kinaema_ros.model.cell import relocate
from kinaema_ros.model.kind import Memory, Network, memory_T_odom
from kinaema_ros.model.network import Kinaema
from kinaema_ros.model.se2 import between, compose
from kinaema_ros.model.token_memory import TokenMemory
from kinaema_ros.model.tokens import Tokens

PROVING = 40  # views that are asked after an anchor was found, to give it up if the world contradicts it; or in doubt
CONFIRMED = 3  # views that agree with odometry, and end a doubt
MOVED = 13  # of the newest views agree elsewhere: ten were seen to do so of shelves that look alike
ELSEWHERE, ELSEWHERE_TURN = (
    1.5,
    np.radians(30.0),
)  # metres, radians from where odometry may say that the robot is


class Seeking:
    """A memory, and what speaks for where in it the robot is."""

    def __init__(self, asked: TokenMemory, doubted: bool = False):
        """``asked``: holds nothing of this drive, or of the time since the doubt. ``doubted``: odometry counts until then."""
        self.asked, self.doubted = asked, doubted
        self.left = PROVING  # views; 0: the search is over
        # (3,) by name, of the places added since that lie where only odometry tells
        self._odom_T_place: dict[str, Tensor] = {}
        self._anchoring = Anchoring(asked.pose[asked.count > 0].cpu().numpy())

    @property
    def missing(self) -> str:
        """What is needed until views may be written, in words; "" where they may."""
        return "" if self.doubted or self._anchoring.memory_T_odom is not None else self._anchoring.missing

    def contradicts(self, memory: Memory) -> bool:
        """Whether ``memory``, written in doubt, has the robot where no view is, and views agree that it is elsewhere."""
        found = self._anchoring.memory_T_odom
        return self.doubted and found is not None and self._anchoring.agreeing(memory_T_odom(memory)) == 0

    def add_place(self, network: Kinaema, memory: TokenMemory, name: str) -> None:
        """``memory``, the present one, has a place of this name now: it is kept, however the search ends.

        Next to an embedding of before it stays there. Else it is next to what was seen since: where that lies, odometry says
        once it is known where odometry lies.
        """
        self._odom_T_place.pop(name, None)
        row = memory.places.row(name)
        if place_poses.is_of_before(network, memory, memory.places.embedding[row], self.asked):
            self.asked = place_poses.take_over(self.asked, memory.places, name)
        else:
            robot_T_place = between(memory.robot, place_poses.poses(memory)[row])
            self._odom_T_place[name] = compose(memory.odometry, robot_T_place)
            self.asked = place_poses.take_over(self.asked, memory.places.forgetting(row), name)

    def remove_place(self, name: str) -> None:
        """The present memory has no place of this name any more."""
        with suppress(NoSuchPlaceError):  # that of before may never have had it
            self.asked = place_poses.remove(self.asked, name)

    def look(
        self, network: Network, memory: TokenMemory, view: Tokens, odometry: Tensor, height: float
    ) -> TokenMemory:
        """Ask a view, unless it tells nothing new. Returns the memory to go on with: the present one, or the one asked.

        ``odometry`` and ``height`` as for ``Kinaema.update``.
        """
        anchoring, odom_T_view = self._anchoring, odometry.cpu().numpy()
        if not anchoring.wants(odom_T_view):
            return memory
        before = anchoring.memory_T_odom
        answer = network.locate(self.asked, view, height)[0]
        memory_T_view = geometry.compose(self.asked.robot.cpu().numpy(), answer.pose.cpu().numpy())
        anchoring.add(View(odom_T_view, memory_T_view, answer.recognised))
        found = anchoring.memory_T_odom
        if self.doubted:
            return self._doubt(memory, found, odometry)
        if found is None:
            self.left = PROVING
            return self.asked
        if before is None:
            return self._moved(found, odometry)
        self.left -= 1
        return memory

    def _doubt(self, memory: TokenMemory, found: Array | None, odometry: Tensor) -> TokenMemory:
        """Whether odometry was right, or the robot is elsewhere, or that is not known yet."""
        self.left -= 1
        believed = memory_T_odom(memory)
        agreeing = self._anchoring.agreeing(believed)
        if agreeing >= CONFIRMED or (found is not None and _near(believed, found, odometry.cpu().numpy())):
            self.left = 0
        elif found is not None and agreeing == 0 and self._anchoring.agreeing(found) >= MOVED:
            self.doubted, self.left = False, PROVING
            return self._moved(found, odometry)
        return memory

    def _moved(self, found: Array, odometry: Tensor) -> TokenMemory:
        memory_T_odom = torch.from_numpy(found).to(odometry)
        for name in self._odom_T_place.keys() & self.asked.places.rows().keys():
            self.asked = place_poses.move(self.asked, name, compose(memory_T_odom, self._odom_T_place[name]))
        memory_T_camera = geometry.compose(found, odometry.cpu().numpy())
        return relocate(self.asked, torch.from_numpy(memory_T_camera).to(odometry), odometry)


def _near(a_T_odom: Array, b_T_odom: Array, odom_T_view: Array) -> bool:
    step = geometry.compose(a_T_odom, odom_T_view) - geometry.compose(b_T_odom, odom_T_view)
    return bool(np.hypot(step[0], step[1]) < ELSEWHERE and abs(geometry.wrap_angle(step[2])) < ELSEWHERE_TURN)
