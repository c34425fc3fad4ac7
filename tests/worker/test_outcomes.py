"""Whatever a task does, its run ends and says why, and the worker goes on."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from pydantic import BaseModel

from holdfast import AbortRun, AsyncContext, Context, Retry
from holdfast.records import NewRun
from tests.support.inside import Inside

AT_ONCE = Retry(max_attempts=2, min_delay=0, max_delay=0, jitter=False)
HUGE = int("9" * 100)


@pytest.fixture
async def going_on(inside: Inside) -> AsyncIterator[Inside]:
    """A worker of which a plain run is asked in the end: whatever happened before, it must still be there."""

    @inside.app.task
    def still_there(n: int) -> int:
        return n + 1

    yield inside
    assert all(not task.done() for task in inside.workers.values())
    assert (await inside.run(still_there, 1)).output == 2
    assert all(worker.hold.running == 0 and not worker.hold.held for worker in inside.workers)


class Sulky(Exception):
    """It does not want to be asked."""

    def __str__(self) -> str:
        raise RuntimeError("no text for you")

    __repr__ = __str__


class Wild(Exception):
    """Asking it for its text ends the interpreter."""

    def __str__(self) -> str:
        sys.exit(3)


def raising(make: Callable[[], BaseException]) -> tuple[Any, Any]:
    """A task of either colour that raises this."""

    async def later(n: int) -> None:
        raise make()

    def now(n: int) -> None:
        raise make()

    return later, now


@pytest.mark.parametrize("colour", [0, 1], ids=["async", "def"])
@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: ValueError("bad"), "ValueError"),
        (Sulky, "Sulky"),
        (Wild, "Wild"),
        (lambda: SystemExit(3), "SystemExit"),
        (KeyboardInterrupt, "KeyboardInterrupt"),
        (asyncio.CancelledError, "CancelledError"),
        (GeneratorExit, "GeneratorExit"),
        (lambda: StopIteration(1), "StopIteration"),
        (lambda: BaseExceptionGroup("several", [SystemExit(1), ValueError("x")]), "BaseExceptionGroup"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_whatever_is_raised_fails_the_run(
    going_on: Inside, make: Callable[[], BaseException], kind: str, colour: int
) -> None:
    """Broken by letting a future carry what a thread raised: the runs of StopIteration and GeneratorExit hung for ever.
    And by catching Exception only where the text of an error is asked for: the worker ended with Wild."""
    task = going_on.app.task(id="raises", retry=Retry(max_attempts=1))(raising(make)[colour])
    going_on.start()
    run = await going_on.run(task, 1)
    assert (run.status, run.attempts) == ("failed", 1)
    if kind == "StopIteration" and colour == 0:
        kind = "RuntimeError"  # what Python makes of it in a coroutine
    assert run.error.type.rpartition(".")[2] == kind


async def test_sys_exit_is_no_exception_to_retry(going_on: Inside) -> None:
    @going_on.app.task(retry=AT_ONCE)
    def leaves(n: int) -> None:
        sys.exit(n)

    going_on.start()
    run = await going_on.run(leaves, 3)
    assert (run.status, run.attempts, run.error.type) == ("failed", 1, "SystemExit")


async def test_a_task_that_cancels_itself_has_failed(going_on: Inside) -> None:
    @going_on.app.task(retry=AT_ONCE)
    async def suicidal(n: int) -> None:
        current = asyncio.current_task()
        assert current is not None
        current.cancel()
        await asyncio.sleep(10)

    going_on.start()
    run = await going_on.run(suicidal, 1)
    assert (run.status, run.error.type.rpartition(".")[2]) == ("failed", "CancelledError")


async def test_a_task_that_cancels_itself_and_returns_has_completed(going_on: Inside) -> None:
    @going_on.app.task
    async def hasty(n: int) -> int:
        current = asyncio.current_task()
        assert current is not None
        current.cancel()
        return n

    going_on.start()
    assert (await going_on.run(hasty, 1)).output == 1


class Odd:
    """Not JSON, and not willing to say what it is."""

    def __repr__(self) -> str:
        raise RuntimeError("no text for you")


def itself() -> list[Any]:
    inner: list[Any] = []
    inner.append(inner)
    return inner


def deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(5_000):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("make", "kind", "says"),
    [
        (lambda: float("nan"), "NotSerializable", "nan"),
        (lambda: {"rate": float("-inf")}, "NotSerializable", "inf"),
        (Odd, "NotSerializable", "Odd"),
        (threading.Lock, "NotSerializable", "lock"),
        (itself, "NotSerializable", ""),
        (deep, "NotSerializable", ""),
        (lambda: "x" * 50_000_000, "TooLarge", "50000002 bytes"),
    ],
    ids=["nan", "infinity", "odd", "lock", "itself", "deep", "50 MB"],
)
async def test_an_output_that_cannot_be_kept_fails_the_run(
    going_on: Inside, make: Callable[[], Any], kind: str, says: str
) -> None:
    """Once, for another attempt would do no better. Broken by letting NaN through in the encoder, and by not checking
    the size."""

    @going_on.app.task(retry=AT_ONCE)
    async def unkeepable(n: int) -> Any:
        return make()

    going_on.start()
    run = await going_on.run(unkeepable, 1, timeout=30)
    assert (run.status, run.attempts) == ("failed", 1)
    assert run.error.type.rpartition(".")[2] == kind
    assert says in run.error.message


class User(BaseModel):
    id: int
    email: str


async def test_a_payload_that_does_not_fit_fails_the_run_and_not_the_worker(going_on: Inside) -> None:
    """As when somebody triggers by name, from SQL, or with the model of last year."""

    @going_on.app.task(retry=AT_ONCE)
    async def welcome(user: User) -> str:
        return user.email

    going_on.start()
    for text in ('{"id":"seven"}', "not json at all", '{"id":1,"email":"a@example.com"', "[" * 5000 + "]" * 5000):
        made = NewRun(id=f"{abs(hash(text)):026d}"[:26], task="welcome", queue=welcome.queue.name, payload=text)
        await asyncio.wrap_future(going_on.store.gather(_trigger, made))
        run = await going_on.ended(welcome.handle(made.id))
        assert (run.status, run.attempts, run.error.type.rpartition(".")[2]) == ("failed", 1, "PayloadInvalid")


def _trigger(tx: Any, runs: list[NewRun]) -> Any:
    from holdfast.engine.trigger import trigger

    return trigger(tx, runs)


STRANGE = {
    "nul": "a\x00b",
    "lone surrogate": "a\ud800b",
    "both halves apart": "\udc00\ud800",
    "huge": HUGE,
    "line separators": "\u2028\u2029\x85",
    "astral": "\U0001f40b",
    "not a character": "\uffff\ufffe",
    "control": "".join(map(chr, range(32))) + "\x7f",
}


@pytest.mark.parametrize("size", [1, 9000], ids=["small", "big"])
async def test_strange_values_come_back_as_they_were(going_on: Inside, size: int) -> None:
    """In payload, output, metadata, and whichever of them is too big for a row. Broken by encoding with the escapes
    left out."""

    @going_on.app.task
    async def echo(value: dict[str, Any], ctx: AsyncContext) -> Any:
        ctx.metadata.update(value)
        return value

    going_on.start()
    value = STRANGE | {"padding": "é" * size}
    run = await going_on.run(echo, value)
    assert run.output == value
    assert dict(run.metadata) == value
    assert run.payload == value


async def test_strange_words_in_errors_and_logs_are_kept(going_on: Inside) -> None:
    """In the message, and where nobody expects them: the logger's name, the level's name. Broken by handing a logger's
    name to the database as it is: the worker died of a surrogate, and the run of a NUL."""
    import logging

    text = "\x00 \ud800 \udfff é"
    logging.addLevelName(25, f"ODD{text}")

    @going_on.app.task(retry=Retry(max_attempts=1))
    def complains(n: int) -> None:
        logging.getLogger(f"odd{text}").warning("a message: %s", text)
        logging.getLogger().log(25, "at a level")
        print(f"printed {text}")
        raise ValueError(text)

    going_on.start()
    try:
        run = await going_on.run(complains, 1)
    finally:
        logging.addLevelName(25, "Level 25")
    assert (run.status, run.error.message) == ("failed", text)
    messages = [line.message for line in run.logs]
    assert messages[:3] == [f"a message: {text}", "at a level", f"printed {text}"]
    assert run.logs[0].logger.startswith("odd")


async def test_an_error_that_says_too_much_is_cut(going_on: Inside) -> None:
    @going_on.app.task(retry=Retry(max_attempts=1))
    async def talks(n: int) -> None:
        raise ValueError("x" * 5_000_000)

    going_on.start()
    run = await going_on.run(talks, 1)
    assert run.status == "failed"
    assert len(run.error.message) < 100_000


async def test_metadata_that_was_spoilt_in_place_does_not_spoil_the_run(going_on: Inside) -> None:
    @going_on.app.task
    async def spoils(n: int, ctx: AsyncContext) -> int:
        ctx.metadata["list"] = []
        ctx.metadata["list"].append(float("nan"))
        return n

    going_on.start()
    run = await going_on.run(spoils, 1)
    assert (run.status, run.output) == ("completed", 1)
    assert "metadata is not kept" in run.logs[-1].message


async def test_options_that_cannot_be_read_end_the_run_and_not_the_worker(going_on: Inside) -> None:
    """A record that cannot be read is a failure of the system's. Broken by reading it in the round: the worker process
    ended, was replaced, and claimed the run again."""

    @going_on.app.task
    async def plain(n: int) -> int:
        return n

    going_on.start()
    handles = [await plain.atrigger(0)]
    await going_on.ended(handles[0])
    made = NewRun(id="0" * 26, task="plain", queue=plain.queue.name, payload="1", options='{"max_duration_ms": ')
    await asyncio.wrap_future(going_on.store.gather(_trigger, made))
    run = await going_on.ended(plain.handle(made.id))
    assert run.status == "system_failure"
    assert "cannot be read" in run.error.message


async def test_a_big_payload_that_is_gone_is_not_taken_for_none(going_on: Inside) -> None:
    """Broken by answering "null" for a payload that is not there: the task ran without it."""

    @going_on.app.task
    async def reads(text: Any) -> str:
        return f"got {text}"

    handle = await reads.atrigger("x" * 20_000)
    table = "holdfast.blob" if going_on.store.kind == "postgres" else "holdfast_blob"
    await going_on.store.run(lambda tx: tx.script(f"DELETE FROM {table}"))
    going_on.start()
    run = await going_on.ended(handle)
    assert run.status == "system_failure"
    assert "payload" in run.error.message


async def test_the_context_tells_the_facts(going_on: Inside) -> None:
    @going_on.app.task
    def facts(n: int, ctx: Context) -> dict[str, Any]:
        return {"tags": ctx.run.tags, "number": ctx.attempt.number, "queue": ctx.queue, "key": ctx.run.concurrency_key}

    going_on.start()
    run = await going_on.run(facts, 1, tags=["a"], concurrency_key="k")
    assert run.output == {"tags": ["a"], "number": 1, "queue": facts.queue.name, "key": "k"}


async def test_abort_is_not_retried(going_on: Inside) -> None:
    @going_on.app.task(retry=AT_ONCE)
    async def gives_up(n: int) -> None:
        raise AbortRun("nobody approved")

    going_on.start()
    run = await going_on.run(gives_up, 1)
    assert (run.status, run.attempts, run.error.message) == ("failed", 1, "nobody approved")


async def test_threads_that_a_task_leaves_behind_do_no_harm(going_on: Inside) -> None:
    """They may write on after the end of the run; what they write is kept by nobody."""
    release = threading.Event()
    written = threading.Event()

    @going_on.app.task
    async def leaves_a_thread(n: int) -> int:
        def late() -> None:
            release.wait(30)
            print("too late")
            written.set()

        asyncio.get_running_loop().run_in_executor(None, late)
        return n

    going_on.start()
    run = await going_on.run(leaves_a_thread, 1)
    release.set()
    await asyncio.to_thread(written.wait, 30)
    assert run.output == 1
    assert json.dumps([line.message for line in run.logs]) == "[]"
    assert os.getpid()
