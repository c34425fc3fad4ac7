"""The short way to a trigger: past the router and what is around it, straight to its function.

FastAPI's way (middleware, matching, dependencies, exit stacks) costs more than all of a trigger, and a trigger is what
a server is asked for thousands of times a second. The route stands in the router all the same, for OpenAPI, and says
what it needs. Where spans are made, each call takes the long way, on which FastAPI makes one of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from fastapi import FastAPI, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from holdfast import tracing
from holdfast.api.v1.trigger import NEED, Triggers
from holdfast.client import Client
from holdfast.errors import DatabaseError

BEGIN: Final = "/api/v1/tasks/"
END: Final = "/trigger"
log = logging.getLogger("holdfast")


class Application(FastAPI):
    """FastAPI's application, with a ``short`` way to triggers, and something to ``begin`` with the first call."""

    short: ASGIApp | None = None
    begin: Callable[[], None] | None = None
    beginning: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.begin is not None and scope["type"] == "http":
            begin, self.begin = self.begin, None
            self.beginning = asyncio.create_task(self.begun(begin))
        if self.short is None or task_of(scope) is None or tracing.sources:
            await super().__call__(scope, receive, send)
            return
        scope["app"] = self
        await self.short(scope, receive, send)

    async def begun(self, begin: Callable[[], None]) -> None:
        """Begin beside the calls: that it takes long, or fails, is not theirs. The next one tries again."""
        try:
            await asyncio.to_thread(begin)
        except DatabaseError as error:
            log.warning("what the app declares could not be announced, and is so with the next call: %s", error)
            self.begin = begin
        except Exception:
            log.exception("what the app declares could not be announced")


class Direct:
    """An ASGI application that answers triggers, and nothing else."""

    def __init__(self, client: Callable[[], Client]) -> None:
        self.triggers = Triggers(client)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        task = task_of(scope)
        assert task is not None
        scope["path_params"] = {"task": task}
        request = Request(scope, receive)
        await NEED(request)
        await (await self.triggers.answer(request, task))(scope, receive, send)


def task_of(scope: Scope) -> str | None:
    """The task that a call triggers; None if it is another call."""
    if scope["type"] != "http" or scope["method"] != "POST" or scope.get("root_path"):
        return None
    path: str = scope["path"]
    if not path.startswith(BEGIN) or not path.endswith(END):
        return None
    return path[len(BEGIN) : -len(END)] or None
