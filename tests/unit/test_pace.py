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


def ends(pace: Pace, runs: int, seconds: float = 0.0001) -> None:
    for _ in range(runs):
        pace.count(seconds)


def test_a_worker_of_unknown_pace_claims_nothing_ahead(now: list[float]) -> None:
    assert Pace(100).ahead() == 0


def test_the_first_runs_tell_the_pace_without_waiting_for_the_next_look(now: list[float]) -> None:
    pace = Pace(100)
    now[0] += 60
    pace.begin()
    now[0] += 0.004
    ends(pace, ENOUGH - 1)
    assert pace.ahead() == 0
    ends(pace, 1)
    assert pace.ahead() == AHEAD


def test_a_pace_that_was_slow_is_corrected_as_soon(now: list[float]) -> None:
    """Fails with a first look that only comes when nothing is known: the pace of a run that waited stayed in force."""
    pace = Pace(100)
    now[0] += 0.1
    ends(pace, 1, 0.1)
    assert pace.ahead() <= 1
    now[0] += 0.004
    ends(pace, ENOUGH)
    assert pace.ahead() == AHEAD


@pytest.mark.parametrize("late", [0.0, 0.001, 0.5, 0.999])
def test_runs_that_end_together_after_a_second_are_not_taken_to_be_quick(now: list[float], late: float) -> None:
    """Whenever the last look was. Fails with a pace that is counted from the first end, or from that look."""
    pace = Pace(100)
    now[0] += late
    assert pace.ahead() == 0
    now[0] += 1 - late
    ends(pace, 100, 1.0)
    assert pace.ahead() == 10  # of 100 a second, within a tenth


def test_a_pace_is_forgotten_slowly(now: list[float]) -> None:
    pace = Pace(100)
    now[0] += 1
    ends(pace, 1000)
    assert pace.ahead() == 100
    now[0] += 1
    assert pace.ahead() == 70


@pytest.mark.parametrize(("asleep", "ahead"), [(0.9, 100), (1.1, 0)])
def test_what_was_just_before_a_sleep_tells_the_pace(now: list[float], asleep: float, ahead: int) -> None:
    """A run that waits for others has them claimed as fast as the last ones; a worker that was idle begins anew."""
    pace = Pace(100)
    now[0] += 1
    ends(pace, 1000)
    assert pace.ahead() == 100
    now[0] += asleep
    pace.begin()
    assert pace.ahead() == ahead
