"""Webhooks under ``holdfast dev``: the process that serves never imports the app, so each request to a webhook goes to
a process of its own that does, with the code as it is saved now.

That costs the time of an import for each request, which nobody minds who develops, and there is nothing to be renewed
when code changes.
"""

from __future__ import annotations

import asyncio
import base64
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from fastapi import Request, Response

from holdfast.api.refused import Refused
from holdfast.api.v2.reading import limited
from holdfast.sizes import MIB

LIMIT: Final = 10 * MIB
SECONDS: Final = 60.0
START: Final = "from holdfast.cli.dev.receive import main; main()"


class Call(msgspec.Struct):
    """A request as it is handed on, and where the app is."""

    app: str | None
    database: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    body: str


class Answered(msgspec.Struct):
    """What the app's own server would have answered."""

    status: int
    headers: list[tuple[str, str]]
    body: str


def receiver(where: Callable[[], tuple[str | None, str] | None]) -> Callable[[Request], Awaitable[Response]]:
    """What answers requests to webhooks. ``where()`` is the app and its database, None while it cannot be imported."""

    async def receive(request: Request) -> Response:
        found = where()
        if found is None:
            raise Refused(503, "The app cannot be imported: holdfast dev says why", headers={"Retry-After": "10"})
        body = await limited(request, LIMIT)
        headers = [(name, value) for name, value in request.headers.items() if name != "content-length"]
        said = base64.b64encode(body).decode("ascii")
        call = Call(*found, request.url.path, request.url.query, headers, said)
        return made(await handed_on(msgspec.json.encode(call)))

    return receive


async def handed_on(call: bytes) -> Answered:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", START, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(call), SECONDS)
        return msgspec.json.decode(out, type=Answered)
    except (TimeoutError, msgspec.DecodeError):
        raise Refused(503, "The app could not take it: see above", headers={"Retry-After": "10"}) from None
    finally:
        if process.returncode is None:
            process.kill()


def made(answered: Answered) -> Response:
    body = base64.b64decode(answered.body)
    return Response(body, answered.status, dict(answered.headers))


# -- in the process of its own -----------------------------------------------------------------------------------------


def main() -> None:
    """Answer one request, which stands on standard input."""
    import os

    call = msgspec.json.decode(sys.stdin.buffer.read(), type=Call)
    out = os.dup(1)
    os.dup2(2, 1)  # what the app prints is not the answer
    sys.path.insert(0, os.getcwd())
    answered = asyncio.run(answer(call))
    os.write(out, msgspec.json.encode(answered))


async def answer(call: Call) -> Answered:
    from fastapi import FastAPI

    from holdfast.api.app import told
    from holdfast.api.webhooks import webhooks
    from holdfast.discovery import find_app
    from holdfast.errors import HoldfastError

    app = find_app(call.app).app
    app.settings.use_flags(database=call.database)
    server = FastAPI(openapi_url=None)
    server.include_router(webhooks(lambda: app.client, lambda: app.webhooks))
    for error in (Refused, HoldfastError):
        server.add_exception_handler(error, told)
    found = Answered(500, [], "")

    async def receive() -> Any:
        return {"type": "http.request", "body": base64.b64decode(call.body), "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            found.status = message["status"]
            found.headers = [(name.decode(), value.decode()) for name, value in message["headers"]]
        else:
            found.body += base64.b64encode(message.get("body", b"")).decode("ascii")

    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in call.headers]
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http"}
    place = {"path": call.path, "raw_path": call.path.encode(), "query_string": call.query.encode(), "root_path": ""}
    try:
        await server({**scope, **place, "headers": headers, "client": ("127.0.0.1", 0)}, receive, send)
    finally:
        await app.aclose()
    return found
