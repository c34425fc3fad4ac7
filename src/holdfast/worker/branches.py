"""What the event loop tells of the code of an attempt: which asyncio task was started by which, by the loop's task
factory, and what time limits it sets, by its ``call_at`` and ``call_later``, if it lets those be replaced."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from holdfast.context import running
from holdfast.worker.durable import Operations
from holdfast.worker.limits import is_limit


def follow(loop: asyncio.AbstractEventLoop) -> Callable[[], None]:
    """Let the attempts on this loop hear of the tasks that they start. Returns what ends it."""
    before = loop.get_task_factory()

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
        make: Any = before or make_task
        task = make(loop, coroutine, **options)
        attempt = running.get()
        if attempt is not None and attempt.root is not None:
            parent = asyncio.current_task(loop)
            if parent is attempt.root or attempt.opened is not None:
                cast("Operations", attempt.durable).born(parent, task)
        return task

    loop.set_task_factory(factory)
    restore_timers = follow_timers(loop)

    def restore() -> None:
        restore_timers()
        if loop.get_task_factory() is factory:
            loop.set_task_factory(before)

    return restore


def follow_timers(loop: asyncio.AbstractEventLoop) -> Callable[[], None]:
    """Let the attempts on this loop have their time limits themselves. Returns what ends it."""
    before_at, before_later = loop.call_at, loop.call_later

    def call_at(when: float, callback: Callable[..., object], *args: Any, context: Any = None) -> asyncio.TimerHandle:
        limit = limit_of_attempt(loop, when, callback, args, context) if is_limit(callback) else None
        return limit or before_at(when, callback, *args, context=context)

    def call_later(
        delay: float, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        limit = limit_of_attempt(loop, loop.time() + delay, callback, args, context) if is_limit(callback) else None
        return limit or before_later(delay, callback, *args, context=context)

    def replace(at: Any, later: Any) -> None:
        loop.call_at, loop.call_later = at, later  # type: ignore[method-assign]

    try:
        replace(call_at, call_later)
    except AttributeError:  # a loop that does not let itself be changed: limits do not end durable waits there
        return lambda: None
    return lambda: replace(before_at, before_later) if loop.call_at is call_at else None


def limit_of_attempt(
    loop: asyncio.AbstractEventLoop, when: float, callback: Callable[..., object], args: tuple[Any, ...], context: Any
) -> asyncio.TimerHandle | None:
    attempt = running.get()
    if attempt is None or attempt.root is None:
        return None
    task = asyncio.current_task(loop)
    if task is not attempt.root and attempt.opened is None:
        return None
    return cast("Operations", attempt.durable).limit(task, when, callback, args, context)


def make_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
    return asyncio.Task(coroutine, loop=loop, **options)
