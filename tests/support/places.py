"""A task with something in every place where hooks, middleware and providers can stand, one of which misbehaves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Annotated, Any

from holdfast import Depends, Holdfast, Retry
from holdfast.events import Event

WAY_IN = ["init", "on_start", "on_attempt_start"]
AROUND = ["middleware in", "opening", "opening for the worker", "middleware out"]
CLOSING = ["closing"]
WAY_OUT = ["catch_error", "on_success", "on_error", "on_failure", "on_cancel", "on_complete", "cleanup"]
EVERYWHERE = [*WAY_IN, *AROUND, *CLOSING, *WAY_OUT]


class Boom(Exception):
    """What is raised."""


class Places:
    """``misbehave`` is called in one ``place``. Who gets there leaves a trail, and what hangs is let go at the end."""

    def __init__(self, app: Holdfast, place: str, manner: str, *, colour: str = "async", body: str = "async") -> None:
        self.app, self.place, self.manner, self.colour, self.body = app, place, manner, colour, body
        self.trail: list[str] = []
        self.reached = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self.gate = threading.Event()
        self.task = self.define()

    # what misbehaves

    async def there(self, place: str) -> None:
        self.trail.append(place)
        if place == self.place:
            self.reached.set()
            await self.misbehave()

    async def misbehave(self) -> None:
        if self.manner == "raises":
            raise Boom
        if self.manner == "cancels itself":
            current = asyncio.current_task()
            assert current is not None
            current.cancel()
        await asyncio.sleep(3600)

    def there_now(self, place: str) -> None:
        self.trail.append(place)
        if place == self.place:
            self.loop.call_soon_threadsafe(self.reached.set)
            if self.manner == "raises":
                raise Boom
            self.gate.wait(30)

    # what stands everywhere

    def define(self) -> Any:
        opening, opening_for_worker = self.providers()
        needs = Annotated[str, Depends(opening_for_worker, scope="worker")]
        given = Annotated[str, Depends(opening)]

        async def later(n: int, *, b: needs, a: given) -> str:  # type: ignore[valid-type]
            return await self.carry_out(n)

        def now(n: int, *, b: needs, a: given) -> str:  # type: ignore[valid-type]
            if self.fails():
                raise ValueError("the task itself")
            self.trail.append("body")
            return "done"

        for fn in (later, now):
            fn.__annotations__.update(b=needs, a=given)
        task: Any = self.app.task(id="everywhere", retry=Retry(max_attempts=1))(later if self.body == "async" else now)
        for kind in [*WAY_IN, *WAY_OUT]:
            getattr(task, kind)(self.hook(kind))
        task.middleware(self.middleware())
        return task

    def fails(self) -> bool:
        return self.place in ("catch_error", "on_error", "on_failure")

    async def carry_out(self, n: int) -> str:
        self.trail.append("body")
        if self.fails():
            raise ValueError("the task itself")
        if self.place == "on_cancel":
            self.reached.set()
            await asyncio.sleep(3600)
        return "done"

    def hook(self, kind: str) -> Callable[[Event[Any]], Any]:
        async def later(event: Event[Any]) -> None:
            await self.there(kind)

        def now(event: Event[Any]) -> None:
            self.there_now(kind)

        return later if self.colour == "async" else now

    def middleware(self) -> Callable[..., Any]:
        async def later(event: Event[Any], call_next: Callable[[], Awaitable[Any]]) -> Any:
            await self.there("middleware in")
            try:
                await call_next()
            finally:
                self.trail.append("middleware left")
            await self.there("middleware out")

        def now(event: Event[Any], call_next: Callable[[], Any]) -> None:
            self.there_now("middleware in")
            try:
                call_next()
            finally:
                self.trail.append("middleware left")
            self.there_now("middleware out")

        return later if self.colour == "async" else now

    def providers(self) -> tuple[Callable[..., Any], Callable[..., Any]]:
        async def later() -> AsyncIterator[str]:
            self.trail.append("opened")
            await self.there("opening")
            try:
                yield "value"
            finally:
                self.trail.append("closed")
                await self.there("closing")

        def now() -> Iterator[str]:
            self.trail.append("opened")
            self.there_now("opening")
            try:
                yield "value"
            finally:
                self.trail.append("closed")
                self.there_now("closing")

        async def worker_later() -> AsyncIterator[str]:
            await self.there("opening for the worker")
            yield "value"

        def worker_now() -> Iterator[str]:
            self.there_now("opening for the worker")
            yield "value"

        return (later, worker_later) if self.colour == "async" else (now, worker_now)
