"""The server, with its pusher, is killed again and again: nothing it answered 201 for is lost."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from aiohttp import web

from holdfast.request import LOOPBACK_NETWORKS
from tests.push.conftest import SECRET, receiver
from tests.push.receiver import Receiver

__all__ = ["receiver"]

START = "from holdfast.cli.main import main; main()"


class Served:
    """``holdfast server`` on one port, whichever process it is."""

    def __init__(self, database: str) -> None:
        self.database, self.port = database, 0
        self.process: subprocess.Popen[str] | None = None

    async def start(self) -> None:
        self.process = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
            [sys.executable, "-c", START, "server", "--json", "--port", str(self.port), "--database", self.database],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
            env=os.environ
            | {"HOLDFAST_PUSH_ALLOW": LOOPBACK_NETWORKS, "HOLDFAST_PUSH_SECRET": SECRET, "HOLDFAST_LEASE": "4s"},
        )
        said = await asyncio.to_thread(self.document)
        self.port = int(said["url"].rpartition(":")[2])

    def document(self) -> dict[str, Any]:
        assert self.process is not None
        assert self.process.stdout is not None
        text = ""
        while not text.rstrip().endswith("}"):
            line = self.process.stdout.readline()
            assert line, "it ended before it served"
            text += line
        return json.loads(text)  # type: ignore[no-any-return]

    def kill(self) -> None:
        """The server and its pusher, at once and without a word."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(20)
        assert self.process.stdout is not None
        self.process.stdout.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v2"


@pytest.fixture
async def served(database_url: str) -> AsyncIterator[Served]:
    here = Served(database_url)
    await here.start()
    yield here
    await asyncio.to_thread(here.kill)


@pytest.mark.parametrize("kills", [1, pytest.param(4, marks=[pytest.mark.slow, pytest.mark.timeout(400)])])
async def test_what_was_accepted_is_delivered_however_often_the_server_is_killed(
    served: Served, receiver: Receiver, kills: int
) -> None:
    """Fails when a 201 is answered before the run is on disk, or when a dead pusher's runs wait for ever."""

    held = Held()
    receiver.answers = lambda _: held.answer()
    accepted: list[str] = []
    posting = asyncio.create_task(post(served, receiver.url, accepted))
    for count in range(1, kills + 1):
        await receiver_has(receiver, accepted, 25 * count)
        await held.some()
        await asyncio.to_thread(served.kill)
        held.let_go(last=count == kills)
        await served.start()
    posting.cancel()
    await asyncio.wait([posting])
    delivered = await all_delivered(receiver, accepted)
    assert set(accepted) <= delivered
    async with httpx.AsyncClient(base_url=served.url, timeout=30) as http:
        await all_successful(http, accepted)


class Held:
    """Keeps every fourth request open until the server is dead, so that it always has some."""

    def __init__(self) -> None:
        self.numbers = itertools.count(1)
        self.open = 0
        self.dead = asyncio.Event()

    async def answer(self) -> web.Response:
        if next(self.numbers) % 4 == 0:
            self.open += 1
            await self.dead.wait()
        await asyncio.sleep(random.uniform(0, 0.2))
        return web.Response()

    async def some(self) -> None:
        async with asyncio.timeout(60):
            while self.open < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    def let_go(self, *, last: bool) -> None:
        self.dead.set()
        self.open = 0
        if not last:
            self.dead = asyncio.Event()


async def post(served: Served, url: str, accepted: list[str]) -> None:
    """Make tasks all the time; whatever is not answered with 201 may or may not have been made."""
    for n in itertools.count():
        with contextlib.suppress(httpx.HTTPError):
            async with httpx.AsyncClient(base_url=served.url, timeout=30) as http:
                answer = await http.post("/tasks", json={"request": {"url": url, "body": str(n)}})
                if answer.status_code == 201:
                    accepted.append(answer.json()["id"])
        await asyncio.sleep(0.005)


async def receiver_has(receiver: Receiver, accepted: list[str], count: int) -> None:
    async with asyncio.timeout(60):
        while len(receiver.received) < count or len(accepted) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def all_delivered(receiver: Receiver, accepted: list[str]) -> set[str]:
    async with asyncio.timeout(90):  # a lease has to end, where nobody saw the pusher die
        while not set(accepted) <= {each.headers["X-Mergent-Task"] for each in receiver.received}:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    return {each.headers["X-Mergent-Task"] for each in receiver.received}


async def all_successful(http: httpx.AsyncClient, accepted: list[str]) -> None:
    async with asyncio.timeout(90):
        for task in accepted:
            while (await http.get(f"/tasks/{task}")).json()["status"] != "success":  # noqa: ASYNC110
                await asyncio.sleep(0.1)
