"""One line when the database goes away, one a minute while it is, one when it is back, for all duties of a process."""

from __future__ import annotations

import pytest

from holdfast.errors import DatabaseFull, DatabaseUnavailable
from holdfast.loops import Loop
from holdfast.outage import Outage
from holdfast.storage.base import RowBusy


class Watch:
    """The monotonic clock, as the test says."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    watch = Watch()
    monkeypatch.setattr("holdfast.outage.time.monotonic", watch)
    return watch


GONE = DatabaseUnavailable("PostgreSQL does not answer", seen="port 5432", do="Check that it runs.")


def test_an_outage_of_minutes_is_a_few_lines(watch: Watch, caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage()
    for _ in range(300):  # two and a half minutes, seen by three duties
        for who in ("worker", "sweep", "scheduler"):
            outage.away(who, GONE)
        watch.now += 0.5
    for who in ("worker", "sweep", "scheduler", "worker"):
        outage.back(who)
    assert caplog.messages == [
        "The database is away, and what needs it waits. PostgreSQL does not answer (port 5432). Check that it runs.",
        "The database has been away for 1m. PostgreSQL does not answer (port 5432). Check that it runs.",
        "The database has been away for 2m. PostgreSQL does not answer (port 5432). Check that it runs.",
        "The database is back, after 2m 30s.",
    ]


def test_it_is_back_when_all_duties_have_found_it(watch: Watch, caplog: pytest.LogCaptureFixture) -> None:
    """A full disk lets those go on that only read."""
    outage = Outage()
    for _ in range(20):
        outage.away("worker", DatabaseFull("The disk is full"))
        outage.back("scheduler")
        watch.now += 0.5
    assert len(caplog.messages) == 1
    outage.back("worker")
    assert caplog.messages[1:] == ["The database is back, after 10s."]


def test_a_duty_that_is_gone_is_not_waited_for(watch: Watch, caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage()
    outage.away("hooks", GONE)
    watch.now += 29
    outage.back("worker")
    assert len(caplog.messages) == 1
    watch.now += 2
    outage.back("worker")
    assert len(caplog.messages) == 2


def test_a_second_outage_is_told_again(watch: Watch, caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage()
    for _ in range(2):
        outage.away("worker", GONE)
        outage.back("worker")
    assert [each[:18] for each in caplog.messages] == ["The database is aw", "The database is ba"] * 2


def test_a_loop_that_seldom_turns_tries_again_soon(watch: Watch, caplog: pytest.LogCaptureFixture) -> None:
    errors: list[Exception] = [GONE, RowBusy(), ValueError("bad")]

    def duty() -> None:
        if errors:
            raise errors.pop(0)

    loop = Loop("retention", duty, 60.0, Outage())
    assert loop.turn() == 2.0
    assert loop.turn() is None  # somebody's lock is no outage
    assert caplog.messages[0].startswith("The database is away")
    assert caplog.messages[1].startswith("retention failed and will be tried again: Another transaction that is still")
    loop.complained_at = 0.0
    loop.turn()
    loop.turn()
    assert caplog.messages[-1] == "The database is back, after 0 ms."
