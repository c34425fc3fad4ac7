"""Steps: a function is called, and what comes of it is recorded.

    call ─► done, or failed for good ─► recorded: every replay is told the same
        └─► failed, and to be tried again ─► recorded, and waited for like a sleep

What a step returns passes through JSON the first time, too, and what it raises is ``StepFailed`` the first time, too:
code that works now works after a crash.
"""

from __future__ import annotations

import asyncio
import inspect
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, cast, get_args, get_origin

from holdfast import codec
from holdfast.annotations import annotations_of
from holdfast.codec import AnyCodec, Codec, codec_for
from holdfast.durable import StepOptions, in_step
from holdfast.duration import format_ms
from holdfast.errors import AbortRun, AttemptLost, NotDurable, NotSerializable, RetryAfter, StepFailed, TooLarge
from holdfast.model import RunError
from holdfast.records import Entry, NewEntry
from holdfast.sizes import check_size, size_of
from holdfast.worker.journal import Asked
from holdfast.worker.settle import Late, in_thread, is_async

if TYPE_CHECKING:
    from holdfast.worker.durable import Operations

# What is not a failure of the step itself.
PASSED_ON: Final = (AbortRun, RetryAfter, NotDurable, NotSerializable, TooLarge, AttemptLost)

Call = Callable[[], Any]


async def carry(ops: Operations, asked: Asked, call: Call, options: StepOptions, output: Codec[Any]) -> Any:
    """What the step has returned, or returns now."""
    entry, tries = asked.entry, asked.entry.tries if asked.entry else 0
    while True:
        if entry is not None:
            entry = await ops.outcome(asked)
            if entry.state == "done":
                return output.load(entry.result or "null")
            if entry.state == "failed":
                ops.journal.fail(asked)
                raise step_failed(options.name, entry)
        tries += 1
        entry = (await ops.write(await tried(ops, asked, call, options, output, tries))).entry


async def tried(
    ops: Operations, asked: Asked, call: Call, options: StepOptions, output: Codec[Any], tries: int
) -> NewEntry:
    """One try: the entry to be written about it."""
    token, began = in_step.set(options.name), time.monotonic()
    try:
        with ops.turns.in_step():
            await ops.limits.ended()
            value = await call()
        text = output.dump(value)
        check_size(size_of(text), ops.host.home.output_limit, what="What the step returned", limit="output_limit")
        entry = ops.entry(asked, result=text, tries=tries)
    except PASSED_ON:
        raise
    except Exception as error:
        wants = tries < options.retry.max_attempts and options.retry.wants(error)
        delay = options.retry.delay_ms(tries, random.random) if wants else None
        state = "failed" if delay is None else "open"
        entry = ops.entry(asked, state=state, tries=tries, delay_ms=delay, error=described(ops, error))
    finally:
        in_step.reset(token)
    if not ops.host.settings.still:
        entry.took_ms = int((time.monotonic() - began) * 1000)  # at most, or it began before what was written before it
    return entry


def described(ops: Operations, error: BaseException) -> str:
    """What a step raised, as it is stored: with the names of its class and of those above it."""
    stored = codec.decode(RunError.of(error).text())
    stored["kinds"] = [f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__[:-1]]
    return ops.live.lines.hushed_json(codec.encode(stored))


async def called(fn: Callable[..., Any], args: tuple[Any, ...], options: StepOptions) -> Any:
    """Call the function of a step: an ``async def`` here, a ``def`` in a thread, and what that gives to await, as a
    lambda does, here. A thread that is late goes on, and what it comes to changes nothing."""
    seconds = None if options.timeout_ms is None else options.timeout_ms / 1000
    limit = asyncio.timeout(seconds)
    try:
        here = is_coroutine_function(fn)
        value = fn(*args) if here else await in_thread(fn, *args, seconds=seconds)
        if not (here or inspect.iscoroutine(value)):
            return value
        async with limit:
            return await value
    except (Late, TimeoutError) as error:
        if not (limit.expired() or isinstance(error, Late)):
            raise
        raise TimeoutError(f"it took longer than its timeout ({format_ms(options.timeout_ms or 0)})") from error


@lru_cache(maxsize=10_000)
def output_codec(fn: Callable[..., Any]) -> Codec[Any]:
    """The codec of what a step returns, by its annotation."""
    try:
        annotation = annotations_of(getattr(fn, "func", fn)).get("return", Any)
    except Exception:
        return AnyCodec()
    if get_origin(annotation) in (Coroutine, Awaitable):  # a def that gives something to await
        annotation = get_args(annotation)[-1]
    return codec_for(annotation, role="output of the step")


def is_coroutine_function(fn: Any) -> bool:
    """Whether calling it, or what a partial of it calls, gives something to await."""
    while hasattr(fn, "func"):
        fn = fn.func
    return is_async(fn)


def step_failed(name: str, entry: Entry) -> StepFailed:
    stored = cast("dict[str, Any]", codec.decode(entry.error or "{}"))
    error = RunError(stored.get("type", "Error"), stored.get("message", ""), stored.get("traceback", ""))
    return StepFailed(name, error, stored.get("kinds", ()))
