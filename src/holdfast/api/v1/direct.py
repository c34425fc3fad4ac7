"""The short way to a trigger: past the router, straight to its function.

FastAPI's way (matching, dependencies, exit stacks) costs more than all of a trigger, and a trigger is what a server is
asked for thousands of times a second. The route stands in the router all the same, for OpenAPI, and says what it needs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from holdfast.api.v1.trigger import NEED, Triggers
from holdfast.client import Client

BEGIN: Final = "/api/v1/tasks/"
END: Final = "/trigger"


class Direct:
    """An ASGI application that answers triggers, and passes on everything else."""

    def __init__(self, app: ASGIApp, *, client: Callable[[], Client]) -> None:
        self.app, self.triggers = app, Triggers(client)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        task = task_of(scope)
        if task is None:
            await self.app(scope, receive, send)
            return
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
