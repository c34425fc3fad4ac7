"""An application on a real socket: what is streamed cannot be asked through an in-process transport."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx

from holdfast.cli.dev.serve import Server, listen, url_of


class Event(NamedTuple):
    """A server-sent event."""

    id: str
    data: Any


@asynccontextmanager
async def on_a_socket(application: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of this application, served on loopback."""
    listening = listen("127.0.0.1", 0)
    server = Server(lambda: application, listening)
    try:
        async with httpx.AsyncClient(base_url=url_of(listening), timeout=60) as http:
            yield http
    finally:
        server.stop()


async def events(answer: httpx.Response) -> AsyncIterator[Event]:
    """The events of an answer, as they come."""
    last = ""
    async for line in answer.aiter_lines():
        name, _, value = line.partition(": ")
        if name == "id":
            last = value
        elif name == "data":
            yield Event(last, json.loads(value))
