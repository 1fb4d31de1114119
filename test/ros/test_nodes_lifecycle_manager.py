"""memory_node and navigator_node under a lifecycle manager, which plays nav2_lifecycle_manager: it wants bonds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from bond.msg import Status
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from ros_support import DISCOVERY, NodeProcess, Ros, wait_until

NODES = ("kinaema_memory", "kinaema_navigator")
BOND_TIMEOUT = 4.0  # Nav2's default; a bond must be formed within half of it
UP = (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE)
DOWN = (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP)


class Manager(Ros):
    """Changes states one node after the other, and waits for the bond of each that it has activated."""

    def __init__(self) -> None:
        super().__init__("lifecycle_manager_test")
        self.signs: list[Status] = []
        self.node.create_subscription(Status, "bond", self.signs.append, 100)

    def state(self, node: str) -> int:
        client = self.node.create_client(GetState, f"{node}/get_state")
        return self.call(client, GetState.Request()).current_state.id

    def change(self, node: str, transition: int) -> None:
        client = self.node.create_client(ChangeState, f"{node}/change_state")
        request = ChangeState.Request(transition=Transition(id=transition))
        assert self.call(client, request, DISCOVERY).success, (node, transition)

    def alive(self, node: str) -> list[str]:
        """The instances of a node's bond that are alive, by their last word."""
        last = {sign.instance_id: sign.active for sign in self.signs if sign.id == node}
        return [instance for instance, active in last.items() if active]

    def bring_up(self, nodes: Sequence[str]) -> None:
        for node in nodes:
            for transition in UP:
                self.change(node, transition)
            wait_until(lambda: len(self.alive(node)) == 1, BOND_TIMEOUT / 2, f"the bond of {node}")  # noqa: B023


@pytest.fixture
def manager() -> Iterator[Manager]:
    manager = Manager()
    yield manager
    manager.close()


def test_a_manager_brings_both_nodes_up_and_keeps_them_by_their_bonds(manager: Manager) -> None:
    nodes = [NodeProcess(f"{name}_node", "autostart:=false") for name in ("memory", "navigator")]
    try:
        manager.bring_up(NODES)
        assert [manager.state(node) for node in NODES] == [State.PRIMARY_STATE_ACTIVE] * 2
        before = len(manager.signs)
        wait_until(
            lambda: all(sum(s.id == n for s in manager.signs[before:]) > 2 for n in NODES), BOND_TIMEOUT
        )
        for node in NODES:
            for transition in DOWN:
                manager.change(node, transition)
            wait_until(lambda: manager.alive(node) == [], what="the bond to end on purpose")  # noqa: B023
        manager.bring_up(NODES)
    finally:
        ends = [(node.stop(), node.log) for node in nodes]
    assert [log for status, log in ends if status != 0 or "Traceback" in log] == []
    wait_until(lambda: not any(map(manager.alive, NODES)), what="the bonds to end with the nodes")


def test_the_bond_can_be_left_out(manager: Manager) -> None:
    node = NodeProcess("navigator_node", "autostart:=false", "bond:=false")
    try:
        for transition in UP:
            manager.change("kinaema_navigator", transition)
        assert manager.state("kinaema_navigator") == State.PRIMARY_STATE_ACTIVE
        names = dict(manager.node.get_publisher_names_and_types_by_node("kinaema_navigator", "/"))
        assert "/bond" not in names
        assert manager.signs == []
    finally:
        assert node.stop() == 0, node.log
