"""How long does the server take for each page and each list, whatever it is filtered by, with a long history?

    python scripts/bench_pages.py [DATABASE_URL] [--runs 100000] [--times 20] [--only TEXT]

An empty database is filled first (see `long_history`); one that is not is asked as it is. Each address is asked
``times`` times, without a network in between. Printed are the milliseconds of the fastest, the median and the 95th of a
hundred, the CPU milliseconds of this process for one, and the KiB that a browser would get; ``over`` says that the 95th
is over the aim, which is 50 ms up to 100,000 runs and 150 ms beyond. Close what else is running, or look at the CPU:
with SQLite that is all there is, PostgreSQL has its own.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import tempfile
import time
from collections.abc import Iterator
from typing import Final, NamedTuple
from urllib.parse import urlencode

import httpx
from long_history import BATCH, OLD, fill

from holdfast import Holdfast, views
from holdfast.api.app import application
from holdfast.storage import Tx
from holdfast.views import Filter

LONGEST_S: Final = 15.0  # for one address
FILTERS: Final[dict[str, dict[str, str]]] = {
    "nothing": {},
    **{f"status:{each}": {"status": each} for each in ("completed", "failed", "expired", "canceled", "system_failure")},
    **{f"status:{each}": {"status": each} for each in ("queued", "executing", "delayed", "waiting", "pending_version")},
    **{f"status:{each}": {"status": each} for each in ("open", "done", "bad")},
    **{f"task:{each}": {"task": each} for each in ("send-mail", "task-7", OLD, "no-such")},
    **{f"queue:{each}": {"queue": each} for each in ("shared", "task/task-7", f"task/{OLD}", "no-such")},
    **{f"tag:{each}": {"tag": each} for each in ("nightly", "customer:17", OLD, "no-such")},
    **{f"version:{each}": {"version": each} for each in ("v28", "v3", OLD, "no-such")},
    **{f"key:{each}": {"key": each} for each in ("customer-17", OLD, "no-such")},
    **{f"batch:{each}": {"batch": each} for each in (BATCH, "b3", "no-such")},
    **{f"schedule:{each}": {"schedule": each} for each in ("{schedule}", OLD, "no-such")},
    **{f"error:{each}": {"error": each} for each in ("f17", OLD, "no-such")},
    **{f"since:{each}": {"since": each} for each in ("15m", "24h", "30d")},
    **{f"until:{each}": {"until": each} for each in ("24h", "20d", "29d", "60d")},
    "task status": {"task": "send-mail", "status": "failed"},
    "task bad": {"task": "task-7", "status": "bad"},
    "old task, status": {"task": OLD, "status": "failed"},
    "task, rare status": {"task": "send-mail", "status": "system_failure"},
    "task queue": {"task": "send-mail", "queue": "shared"},
    "task, other queue": {"task": "send-mail", "queue": f"task/{OLD}"},
    "tag status": {"tag": "nightly", "status": "failed"},
    "tag, other tag": {"tag": "nightly", "status": "system_failure"},
    "tag, old task": {"tag": "nightly", "task": OLD},
    "queue status": {"queue": "shared", "status": "crashed"},
    "version status": {"version": "v3", "status": "timed_out"},
    "batch status": {"batch": BATCH, "status": "crashed"},
    "batch, old task": {"batch": BATCH, "task": OLD},
    "schedule status": {"schedule": "{schedule}", "status": "crashed"},
    "error version": {"error": "f17", "version": OLD},
    "window": {"since": "20d", "until": "19d"},
    "window, rare": {"since": "20d", "until": "10d", "status": "system_failure"},
    "window, old key": {"since": "20d", "until": "10d", "key": OLD},
    "all that match": {
        "status": "failed", "task": "send-mail", "queue": "shared", "tag": "nightly", "version": "v20",
        "since": "20d", "until": "1d",
    },
    "all that do not": {
        "status": "crashed", "task": "send-mail", "queue": "shared", "tag": "nightly", "version": OLD, "key": OLD,
        "batch": BATCH, "schedule": "{schedule}", "error": "f17", "since": "30d", "until": "1m",
    },
}  # fmt: skip
WIRE: Final = {
    "status": "filter[status]",
    "task": "filter[taskIdentifier]",
    "queue": "filter[queue]",
    "tag": "filter[tag]",
    "version": "filter[version]",
    "batch": "filter[batch]",
    "schedule": "filter[schedule]",
    "since": "filter[createdAt][period]",
}
PAGES: Final = (
    *("/", "/?range=24h", "/?range=30d", "/tasks", "/tasks/send-mail", f"/tasks/{OLD}", "/tasks/send-mail/test"),
    *("/queues", "/queues/shared", "/queues/task/send-mail", f"/queues/task/{OLD}", "/workers", "/hosts", "/keys"),
    *("/schedules", "/schedules/{schedule}", "/schedules/new", "/schedules/{schedule}/edit", "/audit", "/alerts"),
    *("/docs", "/tokens", "/tokens?status=all", "/tokens?tag=customer:17", "/tokens/{token}", "/webhook-deliveries"),
    *("/errors", "/errors/f17", f"/errors/{OLD}", "/runs/{run}", "/runs/{failed}", "/runs/{failed}/replay"),
    *("/runs?q=send-mail", "/runs?q=nobody", "/runs?cursor={middle}", "/runs?after={middle}"),
    *("/runs?status=failed&cursor={middle}", "/runs?tag=nightly&after={middle}", "/metrics", "/readyz"),
    *("/v2/tasks", "/v2/schedules", "/api/v1/queues", "/api/v1/schedules", "/api/v1/waitpoints/tokens"),
    *("/api/v3/runs/run_{run}", "/api/v1/runs/run_{run}/trace", "/api/v1/runs?page[size]=100"),
    *("/api/v1/runs?page[after]=run_{middle}", "/api/v1/runs?filter[isTest]=true"),
    *("/api/v1/runs?filter[region]=nowhere", "/api/v1/runs?filter[machine]=small-2x"),
    "/api/v1/runs?filter[tag]=nightly,customer:17",
)  # fmt: skip


class Took(NamedTuple):
    """What asking for one address took."""

    status: int
    ms: list[float]
    cpu_ms: float
    bytes: int

    @property
    def p95(self) -> float:
        return self.ms[min(len(self.ms) - 1, int(len(self.ms) * 0.95))]

    def __str__(self) -> str:
        median = statistics.median(self.ms)
        return f"{self.ms[0]:8.1f} {median:8.1f} {self.p95:8.1f} {self.cpu_ms:8.1f} {self.bytes / 1024:7.1f}"


def addresses(known: dict[str, str]) -> Iterator[str]:
    yield from (page.format(**known) for page in PAGES)
    for said in FILTERS.values():
        pairs = {name: value.format(**known) for name, value in said.items()}
        yield f"/runs?{urlencode(pairs)}"
        if "bad" not in pairs.values() and set(pairs) <= set(WIRE) and pairs.get("status") not in ("open", "done"):
            wire = {WIRE[name]: value.upper() if name == "status" else value for name, value in pairs.items()}
            yield f"/api/v1/runs?{urlencode(wire)}"


def names(tx: Tx) -> dict[str, str]:
    """Ids to ask for."""
    history = views.page(tx, Filter(statuses=frozenset(("completed",))), limit=1).runs
    failed = views.page(tx, Filter(statuses=frozenset(("failed",))), limit=1).runs
    middle = views.page(tx, Filter(until=(tx.now() - 15 * 86_400_000)), limit=1).runs
    return {
        "run": history[0].id,
        "failed": failed[0].id,
        "middle": middle[0].id,
    }


async def ask(client: httpx.AsyncClient, address: str, times: int) -> Took:
    ms: list[float] = []
    answer = await client.get(address)
    cpu, end = time.process_time(), time.monotonic() + LONGEST_S
    while len(ms) < times and (time.monotonic() < end or not ms):
        began = time.perf_counter()
        answer = await client.get(address)
        ms.append((time.perf_counter() - began) * 1000)
    cpu_ms = (time.process_time() - cpu) * 1000 / len(ms)
    return Took(answer.status_code, sorted(ms), cpu_ms, answer.num_bytes_downloaded)


async def main(url: str, runs: int, times: int, only: str) -> None:
    app = Holdfast(url)
    try:
        if not app.runs.list(limit=1):
            began = time.monotonic()
            await asyncio.to_thread(fill, app, runs)
            print(f"{runs:,} runs were made up in {time.monotonic() - began:.0f} s", flush=True)
        known = app.client.store.read_sync(names)
        known["schedule"] = min(app.schedules.list(limit=100), key=lambda each: each.created_at).id
        known["token"] = app.tokens.list(limit=1)[0].id
        aim = 50 if runs <= 100_000 else 150
        over = 0
        transport = httpx.ASGITransport(application(lambda: app.client))
        gc.collect()
        gc.freeze()  # as the server does
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=120) as client:
            print(f"{'least':>8} {'p50':>8} {'p95':>8} {'cpu':>8} {'KiB':>7}")
            for address in addresses(known):
                if only and only not in address:
                    continue
                took = await ask(client, address, times)
                over += took.p95 > aim
                wrong = "" if took.status in (200, 303) else f" {took.status}"
                print(f"{took} {address}{wrong}{' over' if took.p95 > aim else ''}", flush=True)
        print(f"{over} over {aim} ms")
    finally:
        app.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("database", nargs="?")
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--only", default="")
    said = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(said.database or f"sqlite:///{folder}/bench.db", said.runs, said.times, said.only))
