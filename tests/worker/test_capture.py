"""What a run writes is kept with it: in order, whole, and with nobody else's."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from holdfast import AsyncContext, Retry
from holdfast.worker import capture
from tests.support.inside import Inside

log = logging.getLogger("tests.capture")


async def test_lines_come_in_order_with_level_and_attempt(inside: Inside) -> None:
    @inside.app.task(retry=Retry(max_attempts=2, min_delay=0, max_delay=0))
    async def says(n: int, ctx: AsyncContext) -> None:
        log.debug("below the level")
        log.info("one %s", "arg")
        print("two")
        log.warning("three")
        print("four", file=sys.stderr)
        if ctx.attempt.number == 1:
            raise ValueError("five")
        log.critical("six")

    inside.start()
    run = await inside.run(says, 1)
    written = [
        ("INFO", "tests.capture", "one arg"),
        ("INFO", "stdout", "two"),
        ("WARNING", "tests.capture", "three"),
        ("WARNING", "stderr", "four"),
    ]
    first = [(1, *line) for line in written] + [(1, "ERROR", "holdfast", "Attempt 1 failed: ValueError: five")]
    second = [(2, *line) for line in written] + [(2, "CRITICAL", "tests.capture", "six")]
    assert [(line.attempt, line.level, line.logger, line.message) for line in run.logs] == first + second
    assert [line.at for line in run.logs] == sorted(line.at for line in run.logs)


async def test_a_def_task_and_the_threads_it_starts_in_its_context_are_heard(inside: Inside) -> None:
    @inside.app.task
    def says(n: int) -> None:
        print("from the task")
        here = contextvars.copy_context()
        helper = threading.Thread(target=here.run, args=(print, "from its thread"))
        helper.start()
        helper.join()

    inside.start()
    run = await inside.run(says, 1)
    assert [line.message for line in run.logs] == ["from the task", "from its thread"]


async def test_threads_that_print_at_once_do_not_mix_their_lines(inside: Inside) -> None:
    """print() writes its text and its newline one after the other. Fails with keeping one unfinished line for all the
    threads of an attempt: lines were joined, split and lost."""
    together = threading.Barrier(8, timeout=30)

    def write(name: int) -> None:
        together.wait()
        for number in range(100):
            print("thread", name, "line", number, flush=True)

    @inside.app.task
    async def says(n: int) -> None:
        with ThreadPoolExecutor(8) as pool:
            jobs = [pool.submit(contextvars.copy_context().run, write, name) for name in range(8)]
            await asyncio.gather(*map(asyncio.wrap_future, jobs))

    inside.start()
    run = await inside.run(says, 1)
    heard = [line.message for line in run.logs]
    assert sorted(heard) == sorted(f"thread {name} line {number}" for name in range(8) for number in range(100))
    for name in range(8):
        mine = [message for message in heard if message.startswith(f"thread {name} ")]
        assert mine == [f"thread {name} line {number}" for number in range(100)]


async def test_what_has_no_end_of_line_is_kept_at_the_end(inside: Inside) -> None:
    """Fails with keeping one unfinished line for both streams: what stood on one came out on the other."""

    @inside.app.task
    async def says(n: int) -> None:
        print("a", end="")
        print("b", end="", file=sys.stderr)
        print("c\nd", end="")

    inside.start()
    run = await inside.run(says, 1)
    assert sorted((line.logger, line.message) for line in run.logs) == [
        ("stderr", "b"),
        ("stdout", "ac"),
        ("stdout", "d"),
    ]


async def test_a_line_without_end_is_not_kept_in_memory_without_end(inside: Inside) -> None:
    @inside.app.task
    async def dots(n: int) -> None:
        for _ in range(n):
            sys.stdout.write("." * 1000)

    inside.start()
    run = await inside.run(dots, 100)
    assert sum(line.message.count(".") for line in run.logs) == 100_000
    assert max(len(line.message) for line in run.logs) < 2 * capture.CHARACTERS


class Mute:
    """Its text cannot be had."""

    def __repr__(self) -> str:
        raise RuntimeError("no text")

    __str__ = __repr__


async def test_exceptions_are_kept_with_their_trace_and_bad_arguments_do_not_hurt(inside: Inside) -> None:
    """Fails with writing repr(record.msg): the line of log code raised in the task."""

    alone = logging.getLogger(f"tests.capture.alone-{inside.store.kind}")
    alone.propagate = False  # pytest's own handler raises for what cannot be formatted
    alone.addHandler(capture.CaptureHandler())

    @inside.app.task
    async def says(n: int) -> str:
        try:
            raise KeyError("why")
        except KeyError:
            alone.exception("it went wrong")
        alone.info("%d is no number", "x")
        alone.info("too many", 1)
        alone.info(Mute())
        alone.info("stack", stack_info=True)
        return "done"

    inside.start()
    run = await inside.run(says, 1)
    assert run.output == "done"
    messages = [line.message for line in run.logs]
    assert messages[0].startswith("it went wrong\nTraceback")
    assert "KeyError: 'why'" in messages[0]
    assert [("could not be formatted" in message) for message in messages[1:4]] == [True, True, True]
    assert messages[4].startswith("stack\nStack (most recent call last)")


async def test_twenty_thousand_lines_are_cut_and_say_so(inside: Inside) -> None:
    @inside.app.task
    async def floods(n: int) -> str:
        for number in range(n):
            print("line", number)
            if number % 500 == 0:
                await asyncio.sleep(0)
        return "done"

    inside.start()
    run = await inside.run(floods, 20_000, timeout=30)
    assert run.output == "done"
    assert len(run.logs) == capture.LINES
    assert [line.message for line in run.logs[:-1]] == [f"line {number}" for number in range(capture.LINES - 1)]
    assert "not kept" in run.logs[-1].message


async def test_a_few_huge_lines_are_cut_too(inside: Inside) -> None:
    @inside.app.task
    async def shouts(n: int) -> None:
        for _ in range(n):
            sys.stdout.write("x" * 100_000 + "\n")

    inside.start()
    run = await inside.run(shouts, 1000, timeout=30)
    assert sum(len(line.message) for line in run.logs) <= capture.ROOM + 100
    assert "100000 characters" in run.logs[0].message
    assert "not kept" in run.logs[-1].message


async def test_a_hundred_runs_at_once_hear_only_themselves(inside: Inside) -> None:
    """Fails with looking up the writer in a plain global instead of a context variable."""

    @inside.app.task
    async def interleaves(n: int) -> None:
        for number in range(5):
            print(f"{n} printed {number}")
            await asyncio.sleep(0.001)
            log.info("%d logged %d", n, number)
            await asyncio.gather(*(child(n, number) for _ in range(2)))

    async def child(n: int, number: int) -> None:
        await asyncio.sleep(0)
        print(f"{n} child {number}")

    inside.start(concurrency=100)
    batch = await interleaves.abatch_trigger(range(100))
    await batch.aresults(timeout=30)
    for n, handle in enumerate(batch.runs):
        messages = [line.message for line in (await handle.aretrieve()).logs]
        assert messages == [
            message
            for number in range(5)
            for message in (f"{n} printed {number}", f"{n} logged {number}", *[f"{n} child {number}"] * 2)
        ]


async def test_what_nobody_runs_goes_where_it_always_went(inside: Inside, capsys: pytest.CaptureFixture[str]) -> None:
    inside.start()
    print("to the terminal")
    assert "to the terminal" in capsys.readouterr().out


async def test_the_lines_of_a_running_attempt_can_be_read(inside: Inside, eventually_async: object) -> None:
    """Not only when it is over: within a second or so."""
    release = asyncio.Event()

    @inside.app.task
    async def lasts(n: int) -> None:
        print("on my way")
        await release.wait()

    inside.start()
    handle = await lasts.atrigger(1)

    async def heard() -> None:
        run = await handle.aretrieve()
        assert run.status == "executing"
        assert [line.message for line in run.logs] == ["on my way"]

    await eventually_async(heard)  # type: ignore[operator]
    release.set()
    assert (await inside.ended(handle)).status == "completed"
