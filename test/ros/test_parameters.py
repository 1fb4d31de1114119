"""A dataclass of settings as ROS parameters, on a node in this process."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import rclpy
from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions

from kinaema_ros.nodes.parameters_page import page
from kinaema_ros.nodes.support.parameters import READ_ONLY, ParameterError, declare, group
from kinaema_ros.settings import check, setting

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Limits:
    low: float = setting(1.0, "Less than high (m)", low=0.0, high=10.0)
    high: float = setting(2.0, "More than low (m)", low=0.0, high=10.0)
    policy: str = setting("hold", "What then", choices=("hold", "reset"))

    def __post_init__(self) -> None:
        check(self)
        if not self.low < self.high:
            raise ValueError(f"low is {self.low}, must be less than high")


@dataclass(frozen=True)
class Config:
    rate: int = setting(5, "How often", low=1, high=9)
    name: str = setting("", "Whose", when=READ_ONLY)
    limits: Limits = group(Limits(low=0.5))
    fixed: Limits = group(Limits(), when=READ_ONLY)


class Subject:
    """A node with these parameters, and every configuration that it was given."""

    def __init__(self, context: rclpy.Context, *given: str, refuse: Callable[[], bool] = lambda: False):
        arguments = [word for parameter in given for word in ("-p", parameter)]
        self.node = Node(
            "subject",
            context=context,
            cli_args=["--ros-args", *arguments] if given else None,
            automatically_declare_parameters_from_overrides=True,
        )
        # rclpy asks the callback that was added last first, so this one can refuse what the other allowed.
        self.node.add_on_set_parameters_callback(
            lambda _: SetParametersResult(successful=not refuse(), reason="not today")
        )
        self.applied: list[Config] = []
        self.config = declare(self.node, Config, self.applied.append)

    def set(self, **values: object) -> SetParametersResult:
        changes = [Parameter(name.replace("__", "."), value=value) for name, value in values.items()]
        return self.node.set_parameters_atomically(changes)


@pytest.fixture(scope="module")
def context() -> Iterator[rclpy.Context]:
    context = rclpy.Context()
    rclpy.init(args=[], context=context, signal_handler_options=SignalHandlerOptions.NO)
    yield context
    context.try_shutdown()


@pytest.fixture
def start(context: rclpy.Context) -> Iterator[Callable[..., Subject]]:
    started: list[Subject] = []

    def start(*given: str, **options: Callable[[], bool]) -> Subject:
        started.append(Subject(context, *given, **options))
        return started[-1]

    yield start
    for subject in started:
        subject.node.destroy_node()


def test_values_from_outside_replace_the_defaults(start: Callable[..., Subject]) -> None:
    assert start().config == Config()
    subject = start("rate:=7", "limits.high:=3.5", "fixed.low:=0.25", "use_sim_time:=false")
    assert subject.config == Config(7, "", Limits(0.5, 3.5), Limits(0.25, 2.0))
    assert subject.applied == []


def test_parameters_are_described_with_their_range(start: Callable[..., Subject]) -> None:
    node = start("limits.high:=3.5").node
    high = node.describe_parameter("limits.high")
    assert (high.description, high.read_only) == ("More than low (m) (changeable at any time)", False)
    assert (high.floating_point_range[0].from_value, high.floating_point_range[0].to_value) == (0.0, 10.0)
    assert node.describe_parameter("rate").integer_range[0].to_value == 9
    assert node.describe_parameter("limits.policy").additional_constraints == "one of hold, reset"
    assert node.describe_parameter("fixed.low").read_only
    assert node.describe_parameter("name").read_only


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("limits.hihg:=3.0", ("'limits.hihg' is not known", "fixed.high", "limits.high", "rate")),
        ("high:=3.0", ("'high' is not known", "limits.high")),
        ("rate:=10", ("'rate' is 10", "in [1, 9]")),
        ("rate:=1.5", ("'rate'", "int")),
        ("rate:=true", ("'rate'", "int")),
        ("limits.high:=3", ("'limits.high'", "float", "5.0, not 5")),
        ("limits.high:=.nan", ("'limits.high' is nan", "in [0.0, 10.0]")),
        ("limits.policy:=panic", ("'limits.policy' is 'panic'", "one of hold, reset")),
        ("limits.high:=0.25", ("limits.low is 0.5", "less than high")),
    ],
)
def test_what_is_not_allowed_is_refused_at_start(
    start: Callable[..., Subject], given: str, said: tuple[str, ...]
) -> None:
    with pytest.raises(ParameterError) as error:
        start(given)
    assert [words for words in said if words not in str(error.value)] == []


def test_changes_are_applied_once_they_are_set(start: Callable[..., Subject]) -> None:
    subject = start()
    assert subject.set(rate=2, limits__low=4.0, limits__high=5.0).successful
    assert subject.applied == [Config(2, "", Limits(4.0, 5.0))]
    assert subject.set(use_sim_time=False).successful
    assert len(subject.applied) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"limits__high": 11.0},
        {"limits__high": math.nan},
        {"limits__high": 0.25},
        {"limits__high": 3},
        {"limits__policy": "panic"},
        {"limits__high": None},
        {"fixed__low": 0.5},
        {"name": "mine"},
    ],
)
def test_of_several_changes_all_or_none_are_set(
    start: Callable[..., Subject], wrong: dict[str, object]
) -> None:
    subject = start()
    result = subject.set(rate=2, **wrong)
    assert not result.successful
    assert result.reason
    assert subject.applied == []
    assert subject.node.get_parameter("rate").value == 5


def test_what_another_callback_refuses_is_not_applied(start: Callable[..., Subject]) -> None:
    late: list[str] = []
    subject = start(refuse=lambda: bool(late))
    late.append("now")
    assert not subject.set(rate=2).successful
    assert subject.applied == []
    late.clear()
    assert subject.set(limits__high=4.0).successful
    assert subject.applied == [Config(5, "", Limits(0.5, 4.0))]


def test_the_page_of_parameters_is_what_the_code_declares() -> None:
    how = "write it anew: python -m kinaema_ros.nodes.parameters_page > docs/parameters.md"
    assert (ROOT / "docs" / "parameters.md").read_text() == page(), how
