"""The app of the tests with processes: tasks that leave evidence of what they did, and some that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import logging
import os
import random
import subprocess
import time
from typing import Any, TypedDict

from holdfast import AsyncContext, Context, Holdfast, Queue, Retry
from tests.support import ledger

app = Holdfast()
log = logging.getLogger("tests.jobs")


class Doze(TypedDict):
    """Which one, and for how long."""

    n: int
    seconds: float


@app.task(retry=Retry(max_attempts=3, min_delay="20ms", max_delay="50ms"))
async def work(doze: Doze, ctx: AsyncContext) -> int:
    """Takes its time, and never twice at once; every tenth fails the first time."""
    n = doze["n"]
    ledger.note("began", n, os.getpid(), time.monotonic())
    lock = in_a_slot(f"run-{n}", 1)
    if lock is None:
        ledger.note("crowd", n, os.getpid())
        raise RuntimeError("somebody else is at it")
    await asyncio.sleep(doze["seconds"])
    if n % 10 == 7 and ctx.attempt.number == 1:
        lock.close()
        raise ValueError("the first attempt fails")
    ledger.note("ended", n, os.getpid(), time.monotonic())
    lock.close()
    return n


@app.task(retry=Retry(max_attempts=1), max_crashes=1000)
async def fan(branches: int, ctx: AsyncContext) -> list[list[str]]:
    """Branches of two steps, each of random length. A step's result is the line that it leaves."""

    async def step(name: str, *given: str) -> str:
        await asyncio.sleep(random.random() * 0.6)
        said = f"{os.getpid()}-{time.monotonic_ns()}"
        ledger.note("fan", name, said, *given)
        return said

    async def branch(k: int) -> list[str]:
        await asyncio.sleep(random.random() * 0.05)
        first = await ctx.step(step, f"{k}-first")
        return [first, await ctx.step(step, f"{k}-second", first)]

    return list(await asyncio.gather(*(branch(k) for k in range(branches))))


@app.task
async def gated(n: int, ctx: AsyncContext) -> int:
    """Goes on when the gate is open; says so in its log and its metadata, and triggers another run."""
    ledger.note("began", n, os.getpid(), ctx.attempt.number)
    await ledger.until(ledger.is_open)
    ledger.note("passed", n, os.getpid())
    ctx.metadata["pid"] = os.getpid()
    log.info("passed in %d", os.getpid())
    try:
        await leaf.atrigger(n)
    except BaseException as error:
        ledger.note("refused", n, os.getpid(), type(error).__name__)
        raise
    ledger.note("ended", n, os.getpid())
    return os.getpid()


@app.task
def gated_def(n: int, ctx: Context) -> int:
    """The same in a thread, which nothing interrupts."""
    ledger.note("began", n, os.getpid(), ctx.attempt.number)
    while not ledger.is_open():
        time.sleep(0.01)
    ledger.note("passed", n, os.getpid())
    ctx.metadata["pid"] = os.getpid()
    log.info("passed in %d", os.getpid())
    try:
        leaf.trigger(n)
    except BaseException as error:
        ledger.note("refused", n, os.getpid(), type(error).__name__)
        raise
    ledger.note("ended", n, os.getpid())
    return os.getpid()


@app.task
async def speaks(n: int, ctx: AsyncContext) -> int:
    """Says words, stands at the gate, says more."""
    words = ctx.stream("words")
    for number in range(n):
        words.write(f"{number} of {os.getpid()}")
    ctx.metadata.increment("begun")
    await ledger.until(ledger.is_open)
    words.write("the end")
    return os.getpid()


@app.task
async def leaf(n: int) -> int:
    ledger.note("leaf", n, os.getpid())
    return n


@app.task
async def tidy(n: int, ctx: AsyncContext) -> int:
    """Waits at the gate, and notes how it is interrupted."""
    ledger.note("began", n, os.getpid(), ctx.attempt.number)
    try:
        await ledger.until(ledger.is_open)
    except asyncio.CancelledError:
        ledger.note("interrupted", n, os.getpid())
        raise
    ledger.note("ended", n, os.getpid())
    return ctx.attempt.number


@app.task
async def bomb(n: int) -> int:
    """Number 0 takes its process down; the others wait at the gate."""
    return await fuse(n)


@app.task(max_crashes=1)
async def short_fuse(n: int) -> int:
    """One death of its own is enough."""
    return await fuse(n)


async def fuse(n: int) -> int:
    ledger.note("began", n, os.getpid())
    if n == 0:
        await ledger.until(lambda: len(ledger.lines(ledger.folder(), "began")) >= 100)  # all are held by then
        os.kill(os.getpid(), 9)
    await ledger.until(ledger.is_open)
    ledger.note("ended", n, os.getpid())
    return n


@app.task
async def stubborn(n: int) -> None:
    """What is told to stop and does not."""
    ledger.note("began", n, os.getpid())
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)


@app.task
async def threaded(n: int) -> None:
    """Awaits a thread that goes on for long."""
    ledger.note("began", n, os.getpid())
    await asyncio.to_thread(time.sleep, 60)


@app.task
async def blocker(seconds: float) -> str:
    """What nobody should do: it keeps the event loop for itself."""
    ledger.note("began", "blocker", os.getpid())
    time.sleep(seconds)  # noqa: ASYNC251
    ledger.note("ended", "blocker", os.getpid())
    return "done"


@app.task
def deaf(n: int) -> None:
    """Holds the interpreter: nothing else in its process runs, no thread and no handler of a signal."""
    ledger.note("began", n, os.getpid())
    ctypes.PyDLL(None).sleep(600)


kept: list[bytes] = []


@app.task
def hoard(n: int) -> int:
    """Keeps so many megabytes."""
    kept.append(b"x" * (n * 1024 * 1024))
    return os.getpid()


@app.task
def parent(n: int) -> None:
    """Starts a process that leaves its session, and goes on for as long as the gate is shut."""
    far = subprocess.Popen(["sleep", "600"], start_new_session=True)
    ledger.note("began", n, os.getpid(), far.pid)
    while not ledger.is_open():
        time.sleep(0.01)


@app.task
def orphans(n: int) -> None:
    """Starts processes whose parent ends before them."""
    end = f"(sleep 0.1; echo orphan >> {ledger.folder()}/ledger) &"
    for _ in range(n):
        subprocess.run(["sh", "-c", end], check=True)


@app.task
async def trip(n: int, ctx: AsyncContext) -> int:
    """A step, a wait, a child."""
    await ctx.step(ledger.note, "step", n)
    await ctx.sleep("200ms")
    return await ctx.trigger_and_wait(leaf, n)


@app.task
def nap(seconds: float) -> float:
    """Sleeps in a thread, where nothing can wake it."""
    time.sleep(seconds)
    return seconds


@app.task(machine="small-2x")
async def sized(n: int) -> int:
    """Asks for one vCPU and 1 GB, and waits at the gate."""
    ledger.note("began", n, os.getpid())
    await ledger.until(ledger.is_open)
    return n


def in_a_slot(place: str, slots: int) -> Any:
    """Take one of so many locks, which the kernel drops when the process dies; None if there is none left."""
    for slot in range(slots):
        file = open(ledger.folder() / f"{place}.{slot}", "w")  # noqa: SIM115
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
        else:
            return file
    return None


async def guarded(place: str, slots: int, n: int) -> int:
    lock = in_a_slot(place, slots)
    if lock is None:
        ledger.note("crowd", place, n)
    await asyncio.sleep(0.03)
    if lock is not None:
        lock.close()
    ledger.note("ended", n, os.getpid())
    return n


@app.task(queue=Queue("narrow", concurrency_limit=3))
async def narrow(n: int) -> int:
    """Never more than three at once."""
    return await guarded("narrow", 3, n)


@app.task(queue=Queue("keyed", concurrency_limit=5, concurrency_limit_per_key=3))
async def keyed(n: int, ctx: AsyncContext) -> int:
    """Never more than five at once, and never more than three of one key."""
    lock = in_a_slot("keyed", 5)
    if lock is None:
        ledger.note("crowd", "keyed", n)
    try:
        return await guarded(f"key-{ctx.run.concurrency_key}", 3, n)
    finally:
        if lock is not None:
            lock.close()


RATE = 20


@app.task(queue=Queue("rated", rate_limit=f"{RATE}/s"), retry=Retry(max_attempts=3, min_delay="20ms"))
async def rated(n: int) -> int:
    """Notes when it began, on the clock that all processes of a machine share."""
    ledger.note("rated", n, time.monotonic())
    await asyncio.sleep(0.3)
    ledger.note("ended", n, os.getpid(), time.monotonic())
    return n
