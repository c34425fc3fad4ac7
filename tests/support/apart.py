"""The app of the tests of runs in processes of their own: tasks that leave evidence of where they ran, and some that
take their process down, in every way that there is."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import ctypes
import logging
import logging.handlers
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

from holdfast import AbortRun, AsyncContext, Context, Failure, Holdfast, Machine, OutOfMemory, Retry
from tests.support import ledger

app = Holdfast()
log = logging.getLogger("tests.apart")
SMALL = Machine(cpu=1, memory="250MB")
MB = 1024 * 1024


@app.task(isolation="process")
def here(n: int) -> tuple[int, int]:
    return n, os.getpid()


@app.task(isolation="process")
def group(n: int) -> tuple[bool, bool]:
    """Whether it leads its group, and whether it is in the session of the process that it was forked from."""
    return os.getpid() == os.getpgid(0), os.getsid(0) == os.getsid(os.getppid())


@app.task(isolation="process")
async def says(n: int, ctx: AsyncContext) -> int:
    print("printed", n)
    log.info("logged %d", n)
    ctx.metadata["n"] = n
    ctx.stream("words").write("hello")
    return os.getpid()


@app.task
async def beside(n: int) -> int:
    """A neighbour in the worker's own process."""
    ledger.note("began", n)
    await ledger.until(ledger.is_open)
    return os.getpid()


@app.task(isolation="process")
async def stays(n: int) -> None:
    """As long as the gate is shut."""
    ledger.note("stays", os.getpid())
    await ledger.until(ledger.is_open)


@app.task(isolation="process")
async def waits(n: int, ctx: AsyncContext) -> list[int]:
    first = await ctx.step(os.getpid, name="first")
    await ctx.sleep("50ms")
    (child, _), token = await ctx.trigger_and_wait(here, n), await ctx.token(int, timeout="1h")
    ledger.note("token", token.id)
    answer = await ctx.wait_for(token)
    return [first, child, answer, os.getpid()]


@app.task(isolation="process")
def waits_in_a_thread(n: int, ctx: Context) -> list[Any]:
    first = ctx.step(os.getpid, name="first")
    ctx.sleep("50ms")
    child, _ = ctx.trigger_and_wait(here, n)
    return [first, child, os.getpid(), here.trigger(n).id]


@app.task(isolation="process")
def dies(how: str) -> None:
    print("last words", file=sys.stderr)
    os.write(2, b"from below\n")
    match how:
        case "segfault":
            ctypes.string_at(0)
        case "exit":
            os._exit(7)
        case _:
            os.kill(os.getpid(), getattr(signal, how))
            time.sleep(60)


@dies.on_failure
def heard(failure: Failure[str]) -> None:
    ledger.note("failure", failure.run.id, failure.run.status, failure.error.type, os.getpid())


@app.task(isolation="process", max_crashes=1)
def dies_again(n: int) -> None:
    os._exit(1)


@dies_again.on_failure
def dies_there_too(failure: Failure[int]) -> None:
    ledger.note("failure", failure.run.id, failure.run.status)
    os._exit(9)


@app.task(machine=SMALL, max_crashes=2, retry=Retry(delays=["10ms"]))
def falls(how: str) -> None:
    if how in ("crash", "there too"):
        os._exit(7)
    kept = []
    while True:
        kept.append(b"x" * MB)


@falls.catch_error
def decides(failure: Failure[str]) -> AbortRun | None:
    ledger.note("asked", failure.run.id, failure.error.type)
    return AbortRun("enough") if failure.payload == "abort" else None


@falls.on_error
def hears(failure: Failure[str]) -> None:
    print("a hook has heard of it")
    ledger.note("error", failure.run.id, failure.error.type, failure.run.status, failure.retry_in is not None)
    if failure.payload == "there too":
        os._exit(9)


@falls.on_failure
def hears_of_the_end(failure: Failure[str]) -> None:
    ledger.note("failure", failure.run.id, failure.run.status)


@app.task(isolation="process")
def dies_once(n: int, ctx: Context) -> int:
    if not ledger.lines(ledger.folder(), "death"):
        ledger.note("death", n)
        os._exit(1)
    return ctx.attempt.number


@app.task(machine=SMALL, retry=Retry(max_attempts=1))
def hoards(n: int) -> None:
    kept = []
    while True:
        kept.append(b"x" * MB)


@app.task(machine=SMALL, retry=Retry(max_attempts=1))
def hoards_in_children(n: int) -> None:
    grow = f"kept = [b'x' * {MB} for _ in range(120)]; import time; time.sleep(600)"
    for _ in range(3):
        ledger.note("child", subprocess.Popen([sys.executable, "-c", grow]).pid)
    time.sleep(600)


@app.task(machine=SMALL, retry=Retry(out_of_memory="small-2x"))
def grows(n: int, ctx: Context) -> list[Any]:
    kept = [b"x" * MB for _ in range(n)]
    return [len(kept), ctx.attempt.number, ctx.machine and ctx.machine.name]


@app.task(isolation="process", retry=Retry(max_attempts=1))
def gives_up(how: str) -> None:
    raise MemoryError if how == "MemoryError" else OutOfMemory("it is too large to be read at once")


def family() -> None:
    """Children that ignore SIGTERM, in sessions of their own, with children in turn; one has lost its parent."""
    for _ in range(2):
        if os.fork() == 0:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if os.fork() == 0 and os.fork() != 0:
                os._exit(0)
            ledger.note("family", os.getpid())
            while True:
                time.sleep(600)


@app.task(isolation="process")
def parent(n: int) -> None:
    family()
    ledger.note("family", os.getpid())
    try:
        time.sleep(600)
    finally:
        ledger.note("finally", n)


@app.task(isolation="process")
async def async_parent(n: int) -> None:
    family()
    ledger.note("family", os.getpid())
    try:
        await asyncio.sleep(600)
    finally:
        ledger.note("finally", n)


@app.task(isolation="process")
async def doubled(n: int) -> int:
    """Forgets that who forks is two from then on."""
    if os.fork() == 0:
        return -1
    await asyncio.sleep(0.2)
    return n


@app.task(isolation="process")
def considerate(n: int) -> None:
    """Has a child that ends when it is told to, and waits for that."""
    child = subprocess.Popen(["sleep", "600"])
    ledger.note("began", n)
    try:
        time.sleep(600)
    finally:
        ledger.note("child", child.wait())


@app.task(isolation="process", max_duration="300ms")
def slow(n: int) -> None:
    ledger.note("began", n)
    try:
        time.sleep(600)
    finally:
        ledger.note("finally", n)


@app.task(isolation="process")
def durable(n: int, ctx: Context) -> None:
    """Is interrupted once it has recorded something, in what is not durable."""
    ctx.step(lambda: n, name="first")
    ledger.note("began", n)
    try:
        time.sleep(600)
    finally:
        ledger.note("finally", n)


@app.task(isolation="process")
def asks_in_threads(n: int, ctx: Context) -> list[int]:
    """Its threads ask for what its process does not have yet, all at once."""
    together = threading.Barrier(n)

    def write(number: int) -> None:
        together.wait(30)
        ctx.metadata.increment("count", number)

    threads = [threading.Thread(target=contextvars.copy_context().run, args=(write, each)) for each in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [ctx.step(lambda: n, name="first")]


@app.task(isolation="process")
def logs_elsewhere(n: int) -> None:
    """Has a handler that keeps what it is told until it is flushed."""
    log = logging.getLogger("elsewhere")
    log.addHandler(logging.handlers.MemoryHandler(100, target=Noting()))
    log.warning("said")


class Noting(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        ledger.note("logged", record.getMessage())


@app.task(isolation="process")
def stubborn(n: int) -> None:
    ledger.note("began", os.getpid())
    while True:
        with contextlib.suppress(BaseException):
            time.sleep(600)


@app.task(machine="micro")
def uses(n: int, ctx: Context) -> list[Any]:
    kept, until = b"x" * (n * MB), time.process_time() + 0.1
    while time.process_time() < until:
        pass
    used = ctx.usage()
    return [len(kept) // MB, ctx.machine and ctx.machine.name, used.cpu_seconds, used.wall_seconds, used.peak_memory]
