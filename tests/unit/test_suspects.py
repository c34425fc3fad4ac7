"""Which suspects a worker asks for: what must be alone first, and nothing beside that."""

from __future__ import annotations

import pytest

from holdfast.worker import suspects as module
from holdfast.worker.suspects import NONE, Suspects, Wish


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    moment = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: moment[0])
    return moment


def wishes(suspects: Suspects, room: int, *answers: int) -> list[Wish]:
    """What is asked for, when so many come for each wish."""
    asked = []
    for got in answers:
        asked.append(suspects.wish(room))
        suspects.learn(asked[-1], got)
    return asked


def test_the_kinds_are_asked_for_in_turn_and_then_there_is_a_pause(now: list[float]) -> None:
    suspects = Suspects()
    assert wishes(suspects, 32, 0, 0, 0) == [Wish(1, 1), Wish(10, 10), Wish(1_000, 32)]
    assert suspects.wish(32) == NONE
    now[0] += module.PAUSE_SECONDS
    assert suspects.wish(32) == Wish(1, 1)


def test_nothing_is_taken_beside_one_that_must_be_alone() -> None:
    suspects = Suspects()
    suspects.add("a", 1)
    assert suspects.wish(32) == NONE
    suspects.discard("a")
    assert suspects.wish(32) == Wish(1, 1)


def test_one_that_must_be_alone_is_not_taken_beside_others() -> None:
    suspects = Suspects()
    suspects.add("a", 1_000)
    assert suspects.wish(32) == Wish(10, 10)


def test_of_ten_at_a_time_no_more_than_ten_are_held() -> None:
    suspects = Suspects()
    for n in range(7):
        suspects.add(f"r{n}", 10)
    assert suspects.wish(32) == Wish(10, 3)
    for n in range(7, 10):
        suspects.add(f"r{n}", 10)
    assert suspects.wish(32) == Wish(1_000, 32)


def test_without_room_nothing_is_asked_for_and_nothing_is_learned() -> None:
    suspects = Suspects()
    assert wishes(suspects, 0, 0, 0, 0) == [NONE] * 3
    assert suspects.wish(5) == Wish(1, 1)


def test_what_brings_something_is_asked_for_again() -> None:
    suspects = Suspects()
    assert wishes(suspects, 32, 0, 4, 0) == [Wish(1, 1), Wish(10, 10), Wish(10, 10)]
    assert suspects.wish(32) == Wish(1_000, 32)
