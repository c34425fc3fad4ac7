"""A hook, middleware or provider that raises, hangs or is cancelled, in each place where it can stand: the outcome that
docs/hooks.md says, and what was opened is closed, and cleanup runs.

What the database is makes no difference here, so these tests use SQLite only.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast import Event, Retry
from holdfast.model import Run
from tests.support.inside import Inside
from tests.support.places import AROUND, CLOSING, EVERYWHERE, WAY_IN, WAY_OUT, Places

Place = Callable[..., Places]
LIMIT = {"hook_seconds": 0.3, "grace_seconds": 0.3}
TIME = "400ms"


@pytest.fixture
async def inside(tmp_path: Path) -> AsyncIterator[Inside]:
    here = Inside(f"sqlite:///{tmp_path}/holdfast.db")
    yield here
    await here.close()


@pytest.fixture
async def placed(inside: Inside) -> AsyncIterator[Place]:
    made: list[Places] = []

    def place(place: str, manner: str, **colours: str) -> Places:
        made.append(Places(inside.app, place, manner, **colours))
        inside.start(**LIMIT)
        return made[-1]

    yield place
    for each in made:
        each.gate.set()


async def run(inside: Inside, places: Places, *, cancel: bool = False, **options: Any) -> Run[Any]:
    handle = await places.task.atrigger(1, **options)
    if cancel or places.place == "on_cancel":
        await asyncio.wait_for(places.reached.wait(), 30)
        if places.place == "on_cancel":
            places.reached.clear()
        await canceled(inside, handle)
    return await inside.ended(handle)


async def canceled(inside: Inside, handle: Any) -> None:
    """Cancel a run, and have its worker look for orders now and not within a second."""
    await handle.acancel()
    for worker in inside.workers:
        worker.orders_at = 0.0
        worker.changed.set()


def patient(inside: Inside, **seconds: float) -> None:
    """Other limits than the usual ones of these tests; the worker has not begun yet."""
    for worker in inside.workers:
        worker.settings = worker.settings._replace(**seconds)


def cleaned_up(places: Places) -> bool:
    """What was opened is closed, the middleware was left, and cleanup was called."""
    trail = places.trail
    closed = trail.count("opened") == trail.count("closed") or places.place == "opening"
    left = "middleware left" in trail or "opened" not in trail
    return closed and left and trail[-1] == "cleanup"


def said(run: Run[Any]) -> str:
    return "\n".join(line.message for line in run.logs)


def status_without(place: str) -> str:
    """What the run comes to if nobody misbehaves there."""
    if place == "on_cancel":
        return "canceled"
    return "failed" if place in ("catch_error", "on_error", "on_failure") else "completed"


COLOURS = [("async", "async"), ("def", "async"), ("def", "def")]
by_colour = pytest.mark.parametrize(("colour", "body"), COLOURS, ids=["async", "def", "def in a def task"])


@by_colour
@pytest.mark.parametrize("place", [*WAY_IN, *AROUND])
async def test_raising_before_the_task_is_through_is_the_attempts_error(
    inside: Inside, placed: Place, place: str, colour: str, body: str
) -> None:
    places = placed(place, "raises", colour=colour, body=body)
    ended = await run(inside, places)
    assert (ended.status, ended.error.type.rpartition(".")[2]) == ("failed", "Boom")
    assert {"catch_error", "on_error", "on_failure", "on_complete"} <= set(places.trail)
    assert ("body" in places.trail) is (place == "middleware out")
    assert cleaned_up(places)


@by_colour
@pytest.mark.parametrize("place", [*CLOSING, *WAY_OUT])
async def test_raising_after_it_changes_nothing_and_is_written_down(
    inside: Inside, placed: Place, place: str, colour: str, body: str
) -> None:
    if place == "on_cancel" and body == "def":
        pytest.skip("a def task is not interrupted")
    places = placed(place, "raises", colour=colour, body=body)
    ended = await run(inside, places)
    assert ended.status == status_without(place)
    assert "Boom" in said(ended)
    assert "places.py" in said(ended)  # with its traceback
    assert "on_complete" in places.trail
    assert cleaned_up(places)


@pytest.mark.parametrize("colour", ["async", "def"])
@pytest.mark.parametrize("place", WAY_IN)
async def test_a_hook_that_hangs_on_the_way_in_fails_the_attempt(
    inside: Inside, placed: Place, place: str, colour: str
) -> None:
    places = placed(place, "hangs", colour=colour)
    ended = await run(inside, places)
    assert (ended.status, ended.error.type.rpartition(".")[2]) == ("failed", "HookTimedOut")
    assert f"{place} hook" in ended.error.message
    assert cleaned_up(places)


@pytest.mark.parametrize("colour", ["async", "def"])
@pytest.mark.parametrize("place", [*WAY_OUT, *CLOSING])
async def test_what_hangs_on_the_way_out_is_left_after_a_while(
    inside: Inside, placed: Place, place: str, colour: str
) -> None:
    places = placed(place, "hangs", colour=colour)
    ended = await run(inside, places)
    assert ended.status == status_without(place)
    assert "longer than 0.3 s" in said(ended) or "TimeoutError" in said(ended)
    assert cleaned_up(places)


@pytest.mark.parametrize("colour", ["async", "def"])
@pytest.mark.parametrize("place", [*WAY_IN, *AROUND])
async def test_max_duration_covers_all_of_the_attempt(inside: Inside, placed: Place, place: str, colour: str) -> None:
    """A def that hangs is given up after the grace; nobody waits for it."""
    places = placed(place, "hangs", colour=colour)
    patient(inside, hook_seconds=300)
    ended = await run(inside, places, max_duration=TIME)
    assert (ended.status, ended.error.type) == ("timed_out", "RunTimedOut")
    assert {"on_error", "on_failure", "on_complete"} <= set(places.trail)
    assert "catch_error" not in places.trail
    assert places.trail[-1] == "cleanup"
    assert colour == "def" or cleaned_up(places)


@pytest.mark.parametrize("place", [*WAY_IN, *AROUND])
async def test_what_cancels_itself_before_the_task_is_through_fails_the_attempt(
    inside: Inside, placed: Place, place: str
) -> None:
    places = placed(place, "cancels itself")
    ended = await run(inside, places)
    assert (ended.status, ended.error.type.rpartition(".")[2]) == ("failed", "CancelledError")
    assert cleaned_up(places)


@pytest.mark.parametrize("place", [*CLOSING, *WAY_OUT])
async def test_what_cancels_itself_after_it_changes_nothing(inside: Inside, placed: Place, place: str) -> None:
    places = placed(place, "cancels itself")
    ended = await run(inside, places)
    assert ended.status == status_without(place)
    assert "CancelledError" in said(ended)
    assert cleaned_up(places)


@pytest.mark.parametrize("place", [*WAY_IN, *AROUND])
async def test_a_run_that_is_canceled_while_something_is_at_work(inside: Inside, placed: Place, place: str) -> None:
    places = placed(place, "hangs")
    patient(inside, hook_seconds=300)
    ended = await run(inside, places, cancel=True)
    assert ended.status == "canceled"
    assert {"on_cancel", "on_complete"} <= set(places.trail)
    assert not {"catch_error", "on_error", "on_failure"} & set(places.trail)
    assert cleaned_up(places)


@pytest.mark.parametrize("place", [*CLOSING, *WAY_OUT])
async def test_a_cancel_comes_too_late_when_the_task_is_through(inside: Inside, placed: Place, place: str) -> None:
    places = placed(place, "hangs")
    patient(inside, hook_seconds=0.6)
    ended = await run(inside, places, cancel=True)
    assert ended.status == status_without(place)
    assert cleaned_up(places)


@pytest.mark.parametrize("place", EVERYWHERE)
async def test_a_worker_that_drains_waits_for_nothing_for_ever(inside: Inside, placed: Place, place: str) -> None:
    """What is through is reported, what is not goes back in line, and in either case it is cleaned up."""
    places = placed(place, "hangs")
    (worker,) = inside.workers
    patient(inside, hook_seconds=300, drain_seconds=0.2, grace_seconds=300)
    handle = await places.task.atrigger(1)
    await asyncio.wait_for(places.reached.wait(), 30)
    if place == "on_cancel":
        places.reached.clear()
        await canceled(inside, handle)
        await asyncio.wait_for(places.reached.wait(), 30)
    await inside.drained(worker)
    left = await handle.aretrieve()
    through = place in [*CLOSING, *WAY_OUT]
    assert left.status == (status_without(place) if through else "pending_version")
    assert cleaned_up(places)


@pytest.mark.parametrize("kind", [*WAY_IN, *WAY_OUT])
@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), StopIteration(1)])
async def test_no_exception_of_a_hook_takes_the_worker_along(inside: Inside, kind: str, error: BaseException) -> None:
    """Fails with awaiting hooks in asyncio tasks of their own that let SystemExit through: it ended the loop."""

    async def later(event: Event[Any]) -> None:
        raise error

    def now(event: Event[Any]) -> None:
        raise error

    @inside.app.task(retry=Retry(max_attempts=1))
    async def work(n: int) -> None:
        if kind in ("catch_error", "on_error", "on_failure"):
            raise ValueError

    @inside.app.task
    async def still_there(n: int) -> int:
        return n + 1

    getattr(work, kind)(later)
    getattr(work, kind)(now)
    inside.start()
    assert (await inside.run(work, 1)).finished
    assert (await inside.run(still_there, 1)).output == 2
    (worker,) = inside.workers
    assert worker.hold.running == 0
    assert not worker.hold.held
