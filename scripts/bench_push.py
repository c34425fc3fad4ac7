"""HTTP tasks and schedules: how many requests a second one pusher sends, what thousands of open ones cost, how many
schedules can be due at once, and how punctual they are.

    python scripts/bench_push.py                            all of it, on SQLite and on a PostgreSQL started for it
    python scripts/bench_push.py --only push,open --database URL

The receiver is a process of its own on the same machine, and so is the pusher, as ``holdfast worker`` starts one. The
first part makes the runs, starts the pusher and counts from the first request to the last outcome; the second one has
every request answered after some seconds, and looks at the pusher's memory. Each request is looked up afterwards.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.request import urlopen

import psycopg
from bench_both import server
from bench_schedules import due_at_once, punctual
from rich.console import Console
from rich.table import Table

from holdfast import Holdfast, storage
from holdfast.batch import Batch
from holdfast.bench.measure import on_disk
from holdfast.engine import erase, pushes
from holdfast.http_task import RESPONSE, new_push
from holdfast.options import NO_PARENT, Rules
from holdfast.request import HTTP_TASK, LOOPBACK_NETWORKS
from holdfast.storage import Tx
from holdfast.worker.channel import Orders
from holdfast.worker.supervisor import Supervisor

MOST = "/most"  # where the receiver tells how many were open at once
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"


class Receiving(asyncio.Protocol):
    """Answers every request, after ``delay`` seconds."""

    delay = 0.0
    open = most = 0

    def connection_made(self, transport: Any) -> None:
        self.transport, self.buffer = transport, b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            start = head.find(b"content-length:")
            length = int(head[start + 15 :].split(b"\r", 1)[0]) if start >= 0 else 0
            if len(self.buffer) < end + 4 + length:
                return
            self.buffer = self.buffer[end + 4 + length :]
            if MOST.encode() in head.split(b"\r", 1)[0]:
                told = str(Receiving.most).encode()
                self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(told), told))
                continue
            Receiving.open += 1
            Receiving.most = max(Receiving.most, Receiving.open)
            if self.delay:
                asyncio.get_running_loop().call_later(self.delay, self.answer)
            else:
                self.answer()

    def answer(self) -> None:
        Receiving.open -= 1
        self.transport.write(ANSWER)


async def receive(delay: float) -> None:
    Receiving.delay = delay
    server = await asyncio.get_running_loop().create_server(Receiving, "127.0.0.1", 0, backlog=10_000)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextlib.contextmanager
def receiver(delay: float) -> Any:
    process = subprocess.Popen([sys.executable, __file__, "--receive", str(delay)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/jobs"
    finally:
        process.kill()
        process.wait()


def cpu_and_memory(pid: int) -> tuple[float, float]:
    """Seconds of CPU a process has used, and its memory in MiB."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    ticks = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return ticks, pages * os.sysconf("SC_PAGE_SIZE") / 1_048_576


def counted(tx: Tx) -> tuple[int, int]:
    """Requests that have ended well, and the milliseconds from the first start to the last end."""
    span = erase.span(tx, HTTP_TASK)
    return span.completed, span.finished_at - span.started_at


class Pushed(NamedTuple):
    """Requests that were sent: how many, and how many of them were kept; seconds from the first start to the last end;
    the pusher's microseconds of CPU for each, and its memory in MiB before and at its peak; the most open at once."""

    done: int
    kept: int
    seconds: float
    cpu_us: float
    before: float
    peak: float
    together: int


def measure(database: str, requests: int, delay: float) -> Pushed:
    app = Holdfast(database)
    with receiver(delay) as url:
        runs = [new_push(url, {"n": n}, None, {}, NO_PARENT, Rules()) for n in range(requests)]
        app.client.batch_trigger(Batch("bench", runs, [RESPONSE] * len(runs)))
        store = storage.open(database)
        orders = Orders(app=None, database=database, concurrency=1, queues=None, lease_ms=None, drain_seconds=5)
        supervisor = Supervisor(store, orders, count=0, pushing=True)
        supervisor.beating.start()
        supervisor.fill_up()
        children = supervisor.children
        while children[0].worker is None:
            time.sleep(0.01)
        cpu, before = cpu_and_memory(children[0].pid)
        peak, began = before, time.perf_counter()
        done = span_ms = 0
        while done < requests and time.perf_counter() - began < 300:
            time.sleep(0.2)
            peak = max(peak, cpu_and_memory(children[0].pid)[1])
            done, span_ms = store.read_sync(counted)
        after, _ = cpu_and_memory(children[0].pid)
        kept = store.read_sync(kept_of, [run.id for run in runs])
        together = int(urlopen(f"{url}{MOST}").read())
        supervisor.stop()
        supervisor.kill()
        supervisor.beating.stop()
        store.close()
        app.close()
    return Pushed(done, kept, span_ms / 1000, (after - cpu) / max(1, done) * 1e6, before, peak, together)


def kept_of(tx: Tx, ids: list[str]) -> int:
    return sum(bool(pushes.invocations(tx, run_id, limit=1)) for run_id in ids)


# -- the table --------------------------------------------------------------------------------------------------------

Rows = dict[str, tuple[str, str]]  # by what was measured: what is wanted, what came out


def pushing(database: str, given: argparse.Namespace) -> Rows:
    found = measure(database, given.requests, 0.0)
    return {
        f"{given.requests:,} requests, a second": ("2,000 or more", f"{found.done / max(0.001, found.seconds):,.0f}"),
        "… kept as invocations": ("all", f"{found.kept:,}"),
        "… CPU of the pusher, each": ("", f"{found.cpu_us:.0f} us"),
    }


def keeping_open(database: str, given: argparse.Namespace) -> Rows:
    found = measure(database, given.open, given.seconds)
    more = found.peak - found.before
    return {
        f"{given.open:,} requests answered after {given.seconds:g} s": ("within 15 s", f"{found.seconds:.1f} s"),
        "… open at once": ("all", f"{found.together:,}"),
        "… memory more than before": ("150 MiB or less", f"{more:.0f} MiB"),
    }


def scheduling(database: str, given: argparse.Namespace) -> Rows:
    found = due_at_once(database, given.schedules, given.due)
    return {
        f"{given.due:,} of {given.schedules:,} schedules due at once": ("within 2 s", f"{found.seconds:.2f} s"),
        "… runs made": ("all", f"{found.made:,}"),
        "… CPU of the scheduler": ("", f"{found.cpu:.2f} s"),
        "… CPU a second while none is due": ("next to nothing", f"{found.idle_ms:.2f} ms"),
    }


def keeping_time(database: str, given: argparse.Namespace) -> Rows:
    found = punctual(database, given.punctual)
    return {
        f"slot to run, p50 and p99 of {found.samples}": (
            "p99 within 100 ms",
            "{:.0f} and {:.0f} ms".format(*found.made),
        ),
        "slot to the first line": ("", "{:.0f} and {:.0f} ms".format(*found.started)),
    }


PARTS: Final = {"push": pushing, "open": keeping_open, "due": scheduling, "punctual": keeping_time}


def measured(kind: str, url: str, given: argparse.Namespace) -> Rows:
    """All that was asked for, each in a database of its own as far as there can be one."""
    found: Rows = {}
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-", dir=on_disk()) as folder:
        for name in given.only.split(","):
            print(f"{kind}: {name} …", file=sys.stderr)
            found |= PARTS[name](url or f"sqlite:///{folder}/{name}.db", given)
            if url:
                empty(url)
    return found


def empty(url: str) -> None:
    """Take away what was measured: the next part is not to find it."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS holdfast CASCADE")


def table(found: dict[str, Rows]) -> Table:
    made = Table(box=None, padding=(0, 2))
    made.add_column()
    made.add_column("wanted")
    for kind in found:
        made.add_column(kind, justify="right", style="cyan")
    labels: dict[str, str] = {label: wanted for rows in found.values() for label, (wanted, _) in rows.items()}
    for label, wanted in labels.items():
        made.add_row(label, wanted, *[rows.get(label, ("", ""))[1] for rows in found.values()])
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure pushing and scheduling.")
    parser.add_argument("--database", metavar="URL", help="only there; what Holdfast has in it is dropped")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas (default: all)")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--open", type=int, default=5_000)
    parser.add_argument("--seconds", type=float, default=10.0, help="until an open request is answered")
    parser.add_argument("--schedules", type=int, default=100_000)
    parser.add_argument("--due", type=int, default=10_000)
    parser.add_argument("--punctual", type=float, default=20.0, help="seconds of slots to look at")
    parser.add_argument("--receive", type=float, help=argparse.SUPPRESS)
    given = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20_000), hard))
    if given.receive is not None:
        asyncio.run(receive(given.receive))
        return
    os.environ["HOLDFAST_PUSH_ALLOW"] = LOOPBACK_NETWORKS
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} processors, load {load:.1f}" + (" (not quiet: measure again later)" if load > 0.5 else ""))
    found: dict[str, Rows] = {}
    if given.database is None or given.database.startswith("sqlite"):
        found["SQLite"] = measured("SQLite", "", given)
    if given.database is None or not given.database.startswith("sqlite"):
        with server(given.database) as url:
            found["PostgreSQL"] = measured("PostgreSQL", url, given)
    Console(highlight=False, width=120).print(table(found))


if __name__ == "__main__":
    main()
