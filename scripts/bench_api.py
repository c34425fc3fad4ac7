"""Triggers over HTTP: how many a second, each durable before it is answered, and how long an answer takes.

    .venv/bin/python scripts/bench_api.py                        on SQLite, and on a PostgreSQL that is started for it
    .venv/bin/python scripts/bench_api.py --connections 64 --seconds 10 --only sqlite

``holdfast server`` is started as anybody starts it, with a key. The load comes from a process of its own: so many
connections, each of which sends the request that @trigger.dev/sdk sends as soon as the last one was answered. Both
share this machine's processors, and so does the database. The CPU time per request says what each costs, also on a
machine that is not quiet, where the rate says little.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parent))
from bench_both import server as postgres

from holdfast import Holdfast
from holdfast.engine import catalogue
from holdfast.records import TaskEntry

KEY = "tr_dev_bench"
SCHEMA = '{"type":"object","properties":{"user":{"type":"integer"},"name":{"type":"string"}},"required":["user"]}'
BODY = json.dumps(
    {
        "payload": json.dumps({"json": {"user": 1, "name": "Ada"}}),
        "options": {"payloadType": "application/super+json", "payloadSize": 37},
    }
).encode()


class Caller(asyncio.Protocol):
    """A connection that sends a request whenever the last one was answered."""

    def __init__(self, host: str, until: float, took: list[float], wrong: list[bytes]) -> None:
        self.until, self.took, self.wrong = until, took, wrong
        self.done = asyncio.get_running_loop().create_future()
        self.head = (
            f"POST /api/v1/tasks/bench/trigger HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {KEY}\r\n"
            "Content-Type: application/json\r\ntrigger-version: 4.8.3\r\nx-trigger-api-version: 2025-07-16\r\n"
            f"x-trigger-source: sdk\r\nContent-Length: {len(BODY)}\r\nx-trigger-request-idempotency-key: "
        ).encode()
        self.buffer = b""
        self.begun = 0.0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.send()

    def send(self) -> None:
        self.begun = time.perf_counter()
        self.transport.write(b"%s%s\r\n\r\n%s" % (self.head, uuid.uuid4().hex.encode(), BODY))

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, blank, body = self.buffer.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if not blank or len(body) < int(length):
            return
        now = time.perf_counter()
        self.took.append(now - self.begun)
        if not head.startswith(b"HTTP/1.1 200"):
            self.wrong.append(self.buffer)
        self.buffer = b""
        if now < self.until:
            self.send()
        else:
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


def load(url: str, connections: int, seconds: float, answer: Any) -> None:
    asyncio.run(calls(url, connections, seconds, answer))


async def calls(url: str, connections: int, seconds: float, answer: Any) -> None:
    split = urlsplit(url)
    took: list[float] = []
    wrong: list[bytes] = []
    begun, cpu = time.perf_counter(), time.process_time()
    callers = [
        (await asyncio.get_running_loop().create_connection(
            lambda: Caller(split.netloc, begun + seconds, took, wrong), split.hostname, split.port))[1]
        for _ in range(connections)
    ]  # fmt: skip
    await asyncio.gather(*[caller.done for caller in callers])
    lasted = time.perf_counter() - begun
    answer.send((took, lasted, time.process_time() - cpu, wrong[:1]))


def cpu_of(pid: int) -> float:
    """The CPU seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measured(database: str, connections: int, seconds: float) -> dict[str, Any]:
    announce(database)
    said = os.environ | {"HOLDFAST_API_KEY": KEY, "HOLDFAST_DATABASE_URL": database}
    command = [str(Path(sys.executable).with_name("holdfast")), "server", "--port", "0", "--json"]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, env=said, stdout=subprocess.PIPE, stderr=quiet, text=True) as process:
        assert process.stdout is not None
        try:
            url = json.loads("".join(iter(process.stdout.readline, "}\n")) + "}")["url"]
            run(url, connections, 1.0)  # what is done once is done
            before = cpu_of(process.pid)
            took, lasted, load_cpu, wrong = run(url, connections, seconds)
            used = cpu_of(process.pid) - before
        finally:
            process.terminate()
            process.wait(60)
    if wrong:
        sys.exit(f"a call failed: {wrong[0]!r}")
    took.sort()
    return {
        "per_s": round(len(took) / lasted),
        "p50_ms": round(statistics.median(took) * 1000, 1),
        "p99_ms": round(took[int(len(took) * 0.99)] * 1000, 1),
        "server_us": round(used / len(took) * 1e6),
        "load_us": round(load_cpu / len(took) * 1e6),
    }


def announce(database: str) -> None:
    """What a worker does when it starts."""
    app = Holdfast(database=database)
    app.client.write(catalogue.announce, [TaskEntry(id="bench", queue="task/bench", options="{}", schema=SCHEMA)], [])
    app.close()


def run(url: str, connections: int, seconds: float) -> tuple[list[float], float, float, list[bytes]]:
    answer, there = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(target=load, args=(url, connections, seconds, there))
    process.start()
    found: tuple[list[float], float, float, list[bytes]] = answer.recv()
    process.join()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure triggers over HTTP.")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--only", choices=["sqlite", "postgres"])
    parser.add_argument("--postgres", metavar="URL", help="a server to use; default: one is started for this")
    asked = parser.parse_args()
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    if asked.only != "postgres":
        with tempfile.TemporaryDirectory() as folder:
            print("sqlite  ", measured(f"sqlite:///{folder}/holdfast.db", asked.connections, asked.seconds))
    if asked.only != "sqlite":
        with postgres(asked.postgres) as url:
            print("postgres", measured(url, asked.connections, asked.seconds))


if __name__ == "__main__":
    main()
