"""Which asyncio task was started by which, within an attempt: told by the event loop's task factory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from holdfast.context import running
from holdfast.worker.durable import Operations


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

    def restore() -> None:
        if loop.get_task_factory() is factory:
            loop.set_task_factory(before)

    return restore


def make_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
    return asyncio.Task(coroutine, loop=loop, **options)
