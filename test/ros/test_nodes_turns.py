"""Queries take turns, in one thread, and are refused as busy where theirs would come too late."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from kinaema_ros.errors import BadInput
from kinaema_ros.nodes.memory.turns import Turns


def test_work_of_many_threads_is_done_in_one_and_each_gets_its_own_result() -> None:
    turns = Turns(8)
    with ThreadPoolExecutor(8) as callers:
        done = list(callers.map(lambda n: turns.take(lambda: (n, threading.get_ident())), range(8)))
    assert [number for number, _ in done] == list(range(8))
    assert len({thread for _, thread in done}) == 1
    with pytest.raises(KeyError):
        turns.take(lambda: {}["a fault"])


@pytest.mark.parametrize(("places", "why"), [(1, "1 others wait already"), (2, "did not come within 0.05 s")])
def test_who_would_wait_too_long_is_refused_and_told_what_to_do(places: int, why: str) -> None:
    turns = Turns(places, patience=0.05)
    asked, go_on = threading.Event(), threading.Event()

    def slowly() -> str:
        asked.set()
        assert go_on.wait(10.0)
        return "answered"

    with ThreadPoolExecutor(1) as caller:
        first = caller.submit(turns.take, slowly)
        assert asked.wait(10.0)
        with pytest.raises(BadInput, match=f"{why}: ask again in a second") as refused:
            turns.take(lambda: "never")
        go_on.set()
        assert refused.value.reason == "query_busy"
        assert first.result() == "answered"  # however long it took, once it had begun
    assert turns.take(lambda: "again") == "again"
