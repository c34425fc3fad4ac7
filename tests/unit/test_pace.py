"""How many runs a worker claims ahead of its slots."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from holdfast.worker import pace as module
from holdfast.worker.pace import AHEAD, ENOUGH, Pace


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    clock = [1000.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    return clock


def ends(pace: Pace, runs: int) -> None:
    for _ in range(runs):
        pace.count()


def test_a_worker_of_unknown_pace_claims_nothing_ahead(now: list[float]) -> None:
    assert Pace().ahead() == 0


def test_the_first_runs_tell_the_pace_without_waiting_for_the_next_look(now: list[float]) -> None:
    pace = Pace()
    now[0] += 60
    pace.begin()
    now[0] += 0.004
    ends(pace, ENOUGH - 1)
    assert pace.ahead() == 0
    pace.count()
    assert pace.ahead() == AHEAD


def test_runs_that_end_together_after_a_second_are_not_taken_to_be_quick(now: list[float]) -> None:
    """Fails with a pace that is counted from the first end."""
    pace = Pace()
    pace.begin()
    now[0] += 1
    ends(pace, 100)
    assert pace.ahead() == 10  # of 100 a second, within a tenth


def test_a_pace_is_forgotten_slowly(now: list[float]) -> None:
    pace = Pace()
    now[0] += 1
    ends(pace, 1000)
    assert pace.ahead() == 100
    now[0] += 1
    assert pace.ahead() == 70
