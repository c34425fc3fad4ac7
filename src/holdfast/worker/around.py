"""The middle of an attempt: middleware around providers around the task.

    through(0) → middleware → call_next() → through(1) → … → the task, with its providers open

Each layer is called in its own colour. What is ``async`` runs on the loop. Where everything from a layer inwards is a
``def``, it runs in one thread, so that thread-locals reach the task. A ``def`` middleware around something ``async``
has a thread of its own, which waits for the loop.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
from collections.abc import Callable
from functools import partial
from typing import Any

from holdfast.context import AsyncContext, Context
from holdfast.errors import HoldfastError
from holdfast.events import Event
from holdfast.worker.hooks import Step, Wrapping, in_full
from holdfast.worker.live import Live
from holdfast.worker.scopes import AttemptScope, ThreadScope, WorkerScope
from holdfast.worker.settle import Settled, adopt, came_of, in_thread, settle, settle_now


class Around:
    """Carries out one attempt through its middleware."""

    def __init__(self, live: Live, wrapping: Wrapping, payload: Any, event: Event[Any]) -> None:
        self.live, self.plan, self.payload, self.event = live, wrapping.plan, payload, event
        self.layers = wrapping.of("middleware")
        self.signature = live.task.signature
        self.worker: WorkerScope = live.host.scope
        self.known: dict[Any, Any] = {}

    async def carry(self) -> Any:
        """What the task returns, or a middleware instead of it. Raises what they raise."""
        if self.plan is not None:
            self.known = await self.worker.values(self.plan)
        return await self.through(0)

    async def through(self, index: int) -> Any:
        if not self.signature.is_async and not any(layer.is_async for layer in self.layers[index:]):
            return await self.in_its_thread(self.through_in_thread, index)
        if index == len(self.layers):
            return await self.call()
        layer = self.layers[index]
        if not layer.is_async:
            return await self.beside(layer, index)
        onward = AsyncNext(layer, partial(self.through, index + 1))
        return onward.replaced(await layer.hook(self.event, onward))

    def through_in_thread(self, index: int) -> Any:
        if index == len(self.layers):
            return self.call_in_thread()
        layer = self.layers[index]
        onward = Next(layer, partial(self.through_in_thread, index + 1))
        return onward.replaced(layer.hook(self.event, onward))

    async def beside(self, layer: Step, index: int) -> Any:
        """A ``def`` middleware around something ``async``: its ``call_next`` waits for an asyncio task."""
        bridge = Bridge(self.live.host.loop, partial(self.through, index + 1))
        onward = Next(layer, bridge)
        return onward.replaced(await in_thread(layer.hook, self.event, onward, canceled=bridge.cancel))

    async def in_its_thread(self, fn: Callable[..., Any], *args: Any) -> Any:
        context = contextvars.copy_context()
        loop, threads = self.live.host.loop, self.live.host.threads
        self.live.in_thread = True
        try:
            settled = await loop.run_in_executor(threads, lambda: context.run(settle_now, fn, *args))
        finally:
            self.live.left_thread()
        adopt(context)
        if self.live.reason in ("timed_out", "lost"):  # noted while nothing could be raised
            self.live.later(self.live.host.settings.grace_seconds, self.live.abandon)
            raise asyncio.CancelledError
        return settled.get()

    # the task

    async def call(self) -> Any:
        context = AsyncContext(self.live.attempt)
        self.live.attempt.root = asyncio.current_task()
        if self.plan is None:
            return await self.signature.call(self.payload, context)
        seconds = self.live.host.settings.hook_seconds
        scope = AttemptScope(self.plan, self.worker, self.live.attempt, self.complain)
        try:
            output = await self.signature.call(self.payload, context, **await scope.open(self.known))
        except BaseException as error:
            await scope.close(error, seconds)
            raise
        await scope.close(None, seconds)
        return output

    def call_in_thread(self) -> Any:
        context = Context(self.live.attempt)
        self.live.attempt.in_thread = True
        if self.plan is None:
            return self.signature.call(self.payload, context)
        scope = ThreadScope(self.plan, self.worker, self.live.attempt, self.complain)
        try:
            output = self.signature.call(self.payload, context, **scope.open(self.known))
        except BaseException as error:
            scope.close(error)
            raise
        scope.close(None)
        return output

    def complain(self, provider: str, error: BaseException) -> None:
        self.live.lines.add("ERROR", "holdfast", f"Closing the provider {provider} failed: {in_full(error)}")


class Next:
    """``call_next`` of one middleware, to be called once."""

    def __init__(self, layer: Step, go: Callable[[], Any]) -> None:
        self.layer, self.go = layer, go
        self.called = self.answered = False
        self.output: Any = None

    def __call__(self) -> Any:
        self.take()
        try:
            self.output = self.go()
        finally:
            self.answered = True
        return self.output

    def take(self) -> None:
        if self.called:
            raise HoldfastError(
                f"The middleware {self.layer.name} has called call_next() twice",
                do="Call it once; to have the task tried again, raise RetryAfter.",
            )
        self.called = True

    def replaced(self, returned: Any) -> Any:
        """The output, given what the middleware has returned."""
        if self.called and not self.answered:
            raise HoldfastError(
                f"The middleware {self.layer.name} did not wait for call_next()", do="Write await call_next()."
            )
        return self.output if returned is None else returned


class AsyncNext(Next):
    """The same for an ``async def`` middleware."""

    def __call__(self) -> Any:
        self.take()
        return self.onward()

    async def onward(self) -> Any:
        try:
            self.output = await self.go()
        finally:
            self.answered = True
        return self.output


class Bridge:
    """Carries a call from a middleware's thread to the loop, and its answer back."""

    def __init__(self, loop: asyncio.AbstractEventLoop, go: Callable[[], Any]) -> None:
        self.loop, self.go = loop, go
        self.task: asyncio.Task[Settled] | None = None
        self.canceled = False

    def __call__(self) -> Any:
        answer: concurrent.futures.Future[Settled] = concurrent.futures.Future()
        self.loop.call_soon_threadsafe(self.begin, answer)
        return answer.result().get()

    def begin(self, answer: concurrent.futures.Future[Settled]) -> None:
        if self.canceled:
            answer.set_result(Settled(None, asyncio.CancelledError()))
            return
        self.task = self.loop.create_task(settle(self.go))
        self.task.add_done_callback(lambda task: answer.set_result(came_of(task)))

    def cancel(self) -> None:
        self.canceled = True
        if self.task is not None:
            self.task.cancel()
