"""Where a pusher runs: beside workers once there is something to send, and inside another process."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from holdfast import Holdfast
from holdfast.engine import pushes
from tests.push.receiver import Receiver
from tests.support.fixtures import app, folder, host
from tests.support.host import Host, kill, reached

__all__ = ["app", "folder", "host"]

ALLOWED = {"HOLDFAST_PUSH_ALLOW": "127.0.0.1/32", "HOLDFAST_LEASE": "4s"}


async def done(app: Holdfast, url: str) -> str:
    handle = await app.apush(url)
    async with asyncio.timeout(60):
        return (await handle.aresult()).body


async def test_a_worker_has_a_pusher_beside_it_once_there_is_something_to_send(
    host: Callable[..., Host], app: Holdfast, receiver: Receiver
) -> None:
    running = await asyncio.to_thread(lambda: host(environment=ALLOWED).ready())
    assert len(running.children()) == 1
    assert await done(app, receiver.url) == "ok"
    assert len(running.children()) == 2
    [pusher] = set(running.children()) - set(running.announced)
    kill(pusher, signal.SIGKILL)
    assert await done(app, receiver.url) == "ok"  # another one took its place
    running.send(signal.SIGTERM)
    assert await asyncio.to_thread(running.wait) == 0


async def test_what_a_killed_pusher_had_open_is_sent_again_at_once(
    host: Callable[..., Host], app: Holdfast, receiver: Receiver
) -> None:
    """Its supervisor saw it die: nobody waits for a lease, and no request is tried alone."""
    held = asyncio.Event()
    usual = receiver.answers

    async def slowly(received: object) -> object:
        await held.wait()
        return usual(received)  # type: ignore[arg-type]

    receiver.answers = slowly  # type: ignore[assignment]
    running = await asyncio.to_thread(lambda: host(environment=ALLOWED).ready())
    handles = [await app.apush(receiver.url) for _ in range(40)]
    await receiver.came(40)
    held.set()
    [pusher] = set(running.children()) - set(running.announced)
    kill(pusher, signal.SIGKILL)
    for handle in handles:
        async with asyncio.timeout(60):
            await handle.aresult()
    assert len({each.headers["webhook-id"] for each in receiver.received}) == 40


async def test_an_app_that_runs_inside_another_process_pushes_there(
    database_url: str, receiver: Receiver, monkeypatch: object
) -> None:
    here = Holdfast(database_url)
    here.settings.use_flags(push_allow="127.0.0.1/32")
    async with here.running():
        assert await done(here, receiver.url) == "ok"
    assert await here.client.aread(pushes.any_http_task)
    await here.aclose()


def test_who_pushes_nothing_has_no_pusher(host: Callable[..., Host], app: Holdfast) -> None:
    running = host().ready()
    app.trigger("echo", 1)
    reached(lambda: running.announced)
    assert len(running.children()) == 1
