"""Providers at work: opened when somebody asks, closed in reverse order when their scope ends, whatever ended it.

    WorkerScope     values that live as long as the worker; one that could not be opened is tried again next time
    AttemptScope    values of one attempt of an ``async def`` task, on its event loop
    ThreadScope     values of one attempt of a ``def`` task, in its thread

What a provider raises while it opens is the attempt's error. It is shown what the attempt raised, at its ``yield``,
and cannot undo that; what it raises while it closes is logged. A ``def`` provider of an ``async def`` task runs in a
thread.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any

from holdfast.context import AsyncContext, Attempt, Context
from holdfast.depends import Plan, Provider
from holdfast.worker.settle import Settled, came_of, finished, in_thread, settle

log = logging.getLogger("holdfast")

Complain = Callable[[str, BaseException], None]


class WorkerScope:
    """The values of one worker. ``overrides`` are given instead of what these providers would give."""

    def __init__(self, overrides: Mapping[Any, Any]) -> None:
        self.overrides = overrides
        self.context = contextvars.copy_context()
        self.keepers: dict[Any, Keeper] = {}

    async def values(self, plan: Plan) -> dict[Any, Any]:
        """What the attempt needs of this scope. Raises what a provider raises."""
        wanted = self.wanted(plan) if self.overrides else plan.worker
        return {provider.key: await self.value(provider) for provider in wanted}

    async def value(self, provider: Provider) -> Any:
        keeper = self.keepers.get(provider.key)
        if keeper is None or keeper.failed():
            self.keepers.pop(provider.key, None)  # to the end of the line: it is closed before what it needs
            keeper = self.keepers[provider.key] = Keeper(provider, self)
        return (await asyncio.shield(keeper.ready)).get()

    def replaced(self, provider: Provider) -> bool:
        return provider.key[1] in self.overrides

    def wanted(self, plan: Plan) -> list[Provider]:
        """The providers of this scope that are needed although others are replaced."""
        found: dict[Any, Provider] = {}

        def visit(provider: Provider) -> None:
            if not self.replaced(provider):
                for _, need in provider.needs:
                    visit(need)
                if provider.scope == "worker":
                    found[provider.key] = provider

        for _, provider in plan.parameters:
            visit(provider)
        return list(found.values())

    async def close(self, seconds: float) -> None:
        """Close everything, in reverse order, each within so many seconds."""
        for keeper in reversed(self.keepers.values()):
            await keeper.close(seconds)
        self.keepers.clear()


class Keeper:
    """Opens one provider and closes it in the same asyncio task, as cancel scopes and task groups need it."""

    def __init__(self, provider: Provider, scope: WorkerScope) -> None:
        loop = asyncio.get_running_loop()
        self.provider, self.scope = provider, scope
        self.ready: asyncio.Future[Settled] = loop.create_future()
        self.leave = asyncio.Event()
        self.task = loop.create_task(settle(self.keep), context=scope.context.copy(), name=f"provider {provider.name}")

    def failed(self) -> bool:
        return self.ready.done() and self.ready.result().error is not None

    async def keep(self) -> None:
        opened = Opened(self.provider, log_closing)
        came = await settle(self.open, opened)
        self.ready.set_result(came)
        try:
            if came.error is None:
                await self.leave.wait()
        finally:
            await opened.close(None)

    async def open(self, opened: Opened) -> Any:
        arguments = {name: await self.argument(need) for name, need in self.provider.needs}
        return await opened.open(arguments)

    async def argument(self, need: Provider) -> Any:
        return self.scope.overrides[need.key[1]] if self.scope.replaced(need) else await self.scope.value(need)

    async def close(self, seconds: float) -> None:
        self.leave.set()
        if not self.ready.done():
            self.task.cancel()
        await asyncio.wait({self.task}, timeout=seconds)
        if not self.task.done():
            self.task.cancel()
            log.error("the provider %s did not close within %g s and was cancelled", self.provider.name, seconds)
        elif (error := came_of(self.task).error) is not None:
            log_closing(self.provider.name, error)


class AttemptScope:
    """The values of one attempt on the event loop."""

    def __init__(self, plan: Plan, worker: WorkerScope, attempt: Attempt, complain: Complain) -> None:
        self.plan, self.worker, self.attempt, self.complain = plan, worker, attempt, complain
        self.known: dict[Any, Any] = {}
        self.opened: list[Opened] = []

    async def open(self, known: dict[Any, Any]) -> dict[str, Any]:
        """What goes to the task, by parameter; ``known`` are the values of the worker's scope."""
        self.known = known
        return {name: await self.value(provider) for name, provider in self.plan.parameters}

    async def value(self, provider: Provider) -> Any:
        if self.worker.replaced(provider):
            return self.worker.overrides[provider.key[1]]
        if provider.key not in self.known:
            arguments = {name: await self.value(need) for name, need in provider.needs}
            if provider.context is not None:
                arguments[provider.context] = (AsyncContext if provider.is_async else Context)(self.attempt)
            opened = Opened(provider, self.complain)
            self.opened.append(opened)
            self.known[provider.key] = await opened.open(arguments)
        return self.known[provider.key]

    async def close(self, error: BaseException | None, seconds: float) -> None:
        """Close everything, in reverse order, each within so many seconds. Raises nothing."""
        for opened in reversed(self.opened):
            await opened.close(error, seconds)


class Opened:
    """A provider that was opened, or is just being opened, on the event loop."""

    def __init__(self, provider: Provider, complain: Complain) -> None:
        self.provider, self.complain = provider, complain
        self.manager: Any = None

    async def open(self, arguments: Mapping[str, Any]) -> Any:
        provider = self.provider
        match provider.kind:
            case "async":
                return await provider.fn(**arguments)
            case "async generator":
                self.manager = asynccontextmanager(provider.fn)(**arguments)
                return await self.manager.__aenter__()
            case "generator":
                self.manager = contextmanager(provider.fn)(**arguments)
                return await in_thread(self.manager.__enter__)
        return await in_thread(partial(provider.fn, **arguments))

    async def close(self, error: BaseException | None, seconds: float | None = None) -> None:
        if self.manager is None:
            return
        told = (type(error), error, error.__traceback__) if error is not None else (None, None, None)
        try:
            await self.leave(told, seconds)
        except BaseException as trouble:
            if isinstance(trouble, asyncio.CancelledError):  # too late for what was to be interrupted
                uncancel()
            if trouble is not error:
                self.complain(self.provider.name, trouble)

    async def leave(self, told: tuple[Any, ...], seconds: float | None) -> None:
        if self.provider.kind == "async generator":
            async with asyncio.timeout(seconds):
                await self.manager.__aexit__(*told)
            return
        task = asyncio.create_task(settle(in_thread, self.manager.__exit__, *told))
        if not await finished(task, seconds):
            task.cancel()
            raise TimeoutError(f"it took longer than {seconds:g} s, and its thread is left behind")
        came_of(task).get()


class ThreadScope:
    """The values of one attempt in its thread, where nothing can be cancelled."""

    def __init__(self, plan: Plan, worker: WorkerScope, attempt: Attempt, complain: Complain) -> None:
        self.plan, self.worker, self.attempt, self.complain = plan, worker, attempt, complain
        self.known: dict[Any, Any] = {}
        self.managers: list[tuple[str, Any]] = []

    def open(self, known: dict[Any, Any]) -> dict[str, Any]:
        self.known = known
        return {name: self.value(provider) for name, provider in self.plan.parameters}

    def value(self, provider: Provider) -> Any:
        if self.worker.replaced(provider):
            return self.worker.overrides[provider.key[1]]
        if provider.key not in self.known:
            arguments = {name: self.value(need) for name, need in provider.needs}
            if provider.context is not None:
                arguments[provider.context] = Context(self.attempt)
            self.known[provider.key] = self.enter(provider, arguments)
        return self.known[provider.key]

    def enter(self, provider: Provider, arguments: Mapping[str, Any]) -> Any:
        if provider.kind == "def":
            return provider.fn(**arguments)
        manager = contextmanager(provider.fn)(**arguments)
        self.managers.append((provider.name, manager))
        return manager.__enter__()

    def close(self, error: BaseException | None) -> None:
        told = (type(error), error, error.__traceback__) if error is not None else (None, None, None)
        for name, manager in reversed(self.managers):
            try:
                manager.__exit__(*told)
            except BaseException as trouble:
                if trouble is not error:
                    self.complain(name, trouble)


def uncancel() -> None:
    current = asyncio.current_task()
    if current is not None:
        current.uncancel()


def log_closing(name: str, error: BaseException) -> None:
    log.error("closing the provider %s failed: %s", name, error, exc_info=error)
