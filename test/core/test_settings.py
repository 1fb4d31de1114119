"""Settings that are declared once: what a field takes, and what is said of the rest."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields

import pytest

from kinaema_ros.settings import allowed, check, setting


@dataclass(frozen=True)
class Limits:
    step: float = setting(1.0, "Longest step (m)", low=0.5, high=2.0)
    count: int = setting(3, "How many", low=0, high=9)
    policy: str = setting("hold", "What then", choices=("hold", "reset"), when="never")
    name: str = setting("", "Anything")

    def __post_init__(self) -> None:
        check(self)


def test_a_setting_has_its_default_and_says_what_it_is_for() -> None:
    assert Limits() == Limits(1.0, 3, "hold", "")
    assert Limits.step == 1.0
    assert [field.metadata["description"] for field in fields(Limits)][:2] == ["Longest step (m)", "How many"]
    assert [allowed(field) for field in fields(Limits)] == [
        "in [0.5, 2.0]",
        "in [0, 9]",
        "one of hold, reset",
        "",
    ]
    assert fields(Limits)[2].metadata["when"] == "never"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"step": 2.1}, "step is 2.1, must be in [0.5, 2.0]"),
        ({"step": math.nan}, "step is nan, must be in [0.5, 2.0]"),
        ({"step": -math.inf}, "step is -inf, must be in [0.5, 2.0]"),
        ({"count": 10}, "count is 10, must be in [0, 9]"),
        ({"policy": "panic"}, "policy is 'panic', must be one of hold, reset"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused_with_its_name_and_what_is(wrong: dict, said: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        Limits(**wrong)


def test_the_ends_of_a_range_belong_to_it() -> None:
    assert (Limits(step=0.5).step, Limits(step=2.0).step) == (0.5, 2.0)
