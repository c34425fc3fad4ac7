"""An address for each page of the dashboard, over the demo's shop, with in it whatever a page can show.

    async with shop(tmp_path) as shown:
        for route, address in shown.addresses.items(): …

A page that has no address here fails the tests that go through all of them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from fastapi import FastAPI

from holdfast import AsyncContext, Cron, Holdfast, Retry, views
from holdfast.api.app import application, routes
from holdfast.cli.dev.serve import Server, listen, url_of
from holdfast.demo import shop as demo
from holdfast.demo.past import fill
from holdfast.engine import alerts, errors, keys, pushes, workers
from holdfast.engine.workers import WorkerEntry
from holdfast.ids import new_api_key
from holdfast.sizes import MIB
from tests.conftest import eventually_holds

LONG = "a-name-that-somebody-has-made-too-long-" * 3


class Shown(NamedTuple):
    """What there is: an app, the application that shows it, and where; a key to log in with; addresses by route."""

    app: Holdfast
    served: FastAPI
    url: str
    key: str
    addresses: dict[str, str]


def travelling(folder: Path) -> Holdfast:
    """An app whose tasks do all that a timeline can show."""
    app = Holdfast(database=f"sqlite:///{folder}/holdfast.db")

    @app.task
    async def pebble(n: int) -> int:
        return n

    @app.task
    async def stone(n: int, ctx: AsyncContext) -> int:
        return await ctx.trigger_and_wait(pebble, n)

    @app.task
    async def travel(to: str, ctx: AsyncContext) -> None:
        for _ in ctx.track(range(2), "miles"):
            ctx.stream("said").write(f"on the way to {to}")
        logging.getLogger("travel").warning("it is far to %s", to)
        await ctx.step(len, to)
        await ctx.trigger_and_wait(stone, 7)
        await ctx.sleep("1h")

    @app.task(retry=Retry(max_attempts=3, min_delay="1ms", max_delay="1ms"))
    def stumble(n: int) -> None:
        raise ValueError(f"{LONG} {n}")

    return app


@asynccontextmanager
async def shop(folder: Path) -> AsyncIterator[Shown]:
    """The shop, its server, and a worker that has gone home."""
    app, key = travelling(folder), new_api_key()
    await asyncio.to_thread(fill, f"sqlite:///{folder}/holdfast.db", 1)
    served = application(lambda: app.client)
    server = Server(lambda: served, listening := listen("127.0.0.1", 0))
    try:
        runs = await worked(app)
        write_more(app, key)
        yield Shown(app, served, url_of(listening), key, addresses(app) | runs)
    finally:
        await asyncio.to_thread(server.stop)
        await app.aclose()


async def worked(app: Holdfast) -> dict[str, str]:
    """What a worker has done before it went home."""
    async with app.running():
        stumbled = await app.atrigger("stumble", 1)
        travels = await app.atrigger("travel", "the reef", tags=[LONG, "b", "c", "d"], concurrency_key="ada")
        await asyncio.to_thread(eventually_holds, lambda: rested(app, travels.id, stumbled.id))
    return {"/runs/{run_id} travels": f"/runs/{travels.id}", "/runs/{run_id} stumbled": f"/runs/{stumbled.id}"}


def rested(app: Holdfast, travels: str, stumbled: str) -> None:
    assert app.runs.list(task="pebble", status="completed")
    assert app.runs.retrieve(travels).status == "waiting"
    assert app.runs.retrieve(stumbled).finished_at


def write_more(app: Holdfast, key: str) -> None:
    """What happens only while somebody works, and what has a long name."""
    write = app.client.write
    write(keys.create, key, "everything", ["admin"], None)
    write(keys.create, new_api_key(), LONG, ["read", "trigger:charge-card"], 86_400_000)
    write(alerts.declare, LONG, [each.entry() for each in demo.app.alerts.values()])
    for n in range(3):
        entry = WorkerEntry(id=f"w{n}{'z' * 12}", lease_ms=10**9, host=f"reef-{n % 2}", pid=40 + n, concurrency=8)
        entry.version, entry.queues = LONG, [LONG, "mail"] if n else None
        write(workers.register, entry, ["charge-card", "fulfil-order"])
    write(workers.beat, [f"w0{'z' * 12}"], {f"w0{'z' * 12}": busy(app.runs.list(limit=1)[0].id)})
    write(workers.drain, f"w1{'z' * 12}")
    write(errors.group)
    write(pushes.open_circuit, "hooks.reef.example:443", 12, "12 failures in a row", 60_000, f"w0{'z' * 12}")
    app.tokens.create(demo.Approval, tags=["refund", LONG], timeout="1h")
    app.schedules.create("charge-card", Cron("30 2 * * *", timezone="Europe/Berlin"), external_id=LONG)
    app.trigger(LONG, {"customer": LONG}, tags=[LONG])


def busy(run_id: str) -> workers.WorkerUsage:
    """A worker with all that can stand above it and below."""
    above = workers.ProcessUsage(pid=39, cpu_millis=4, memory_bytes=41 * MIB)
    apart = workers.RunUsage(pid=50, cpu_millis=1990, memory_bytes=1800 * MIB, run_id=run_id)
    return workers.WorkerUsage(pid=40, cpu_millis=420, memory_bytes=95 * MIB, supervisor=above, runs=[apart])


def addresses(app: Holdfast) -> dict[str, str]:
    """By the path of its route, where each page is. What follows a space tells apart several of one route."""
    failed, sent = (app.runs.list(task=task, limit=1)[0].id for task in ("charge-card", "http"))
    error = app.client.read(views.errors).errors[0].fingerprint
    open_token = app.tokens.list(status="open", limit=1)[0].id
    schedule = app.schedules.list()[0].id
    return {
        "/": "/?range=24h",
        "/login": "/login",
        "/runs": "/runs",
        "/runs some": "/runs?status=failed&task=charge-card&tag=express&since=7d",
        "/runs none": "/runs?tag=nobody",
        "/runs/{run_id}": f"/runs/{failed}",
        "/runs/{run_id} http": f"/runs/{sent}",
        "/runs/{run_id} unknown": "/runs/nothing",
        "/runs/{run_id}/replay": f"/runs/{failed}/replay",
        "/errors": "/errors",
        "/errors/{fingerprint}": f"/errors/{error}",
        "/tokens": "/tokens",
        "/tokens all": "/tokens?status=all",
        "/tokens/{token_id}": f"/tokens/{open_token}",
        "/tasks": "/tasks",
        "/tasks/{task_id:path}": "/tasks/charge-card",
        "/tasks/{task_id:path}/test": "/tasks/fulfil-order/test",
        "/queues": "/queues",
        "/queues/{name:path}": "/queues/packing",
        "/schedules": "/schedules",
        "/schedules/new": "/schedules/new?task=charge-card",
        "/schedules/preview": "/schedules/preview?rule=@daily&timezone=UTC",
        "/schedules/{schedule_id}": f"/schedules/{schedule}",
        "/schedules/{schedule_id}/edit": f"/schedules/{schedule}/edit",
        "/workers": "/workers",
        "/hosts": "/hosts",
        "/webhook-deliveries": "/webhook-deliveries",
        "/alerts": "/alerts",
        "/keys": "/keys",
        "/audit": "/audit",
        "/docs": "/docs",
    }


def pages(served: FastAPI) -> set[str]:
    """The paths of all routes that answer a page."""
    ours = "holdfast.dashboard.pages."
    return {each.path for each in routes(served) if "GET" in each.methods and each.endpoint.__module__.startswith(ours)}
