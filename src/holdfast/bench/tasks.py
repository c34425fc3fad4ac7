"""The tasks that are measured. They do nothing, so that what is left is Holdfast's own share.

Workers import this module; the name of the measurement reaches them through the environment, so that two measurements
in one database do not meet, and each can be erased without a trace.
"""

from __future__ import annotations

import os
import time
from typing import NamedTuple

from holdfast.app import Holdfast
from holdfast.context import AsyncContext
from holdfast.task import AsyncTask

VARIABLE = "HOLDFAST_BENCH"


class Measured(NamedTuple):
    """An app and its tasks: one whose runs are only made, one whose runs are carried out, one that tells when it was
    started, on the monotonic clock that all processes of a machine share, in nanoseconds, and one that waits for so
    many children, and tells how many seconds it has waited."""

    app: Holdfast
    sink: AsyncTask[int, int, [int]]
    noop: AsyncTask[int, int, [int]]
    clock: AsyncTask[int, int, [int]]
    parent: AsyncTask[int, float, [int, AsyncContext]]
    child: AsyncTask[int, int, [int]]


def measured(name: str) -> Measured:
    """The tasks under this name."""
    app = Holdfast()

    @app.task(id=f"{name}.sink")
    async def sink(number: int) -> int:
        return number

    @app.task(id=f"{name}.noop")
    async def noop(number: int) -> int:
        return number

    @app.task(id=f"{name}.clock")
    async def clock(number: int) -> int:
        return time.monotonic_ns()

    @app.task(id=f"{name}.child")
    async def child(number: int) -> int:
        return number

    @app.task(id=f"{name}.parent")
    async def parent(count: int, ctx: AsyncContext) -> float:
        began = time.perf_counter()
        await ctx.batch_trigger_and_wait(child, range(count))
        return time.perf_counter() - began

    return Measured(app, sink, noop, clock, parent, child)


app = measured(os.environ.get(VARIABLE, "bench")).app
