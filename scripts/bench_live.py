"""Thousands of readers of one server's events: how soon an update has reached all of them, and what each of them costs.

    python scripts/bench_live.py [--readers 5000] [--updates 5] [--topics 1] [--database URL]

The server is a process of its own, and so are the readers; both are on this machine, so both are in the figures. With
``--topics`` the readers follow so many different runs. Memory is what the server's resident set has grown by while the
readers came, divided by how many there are.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from holdfast import Debounce, Holdfast

SERVE = """
import sys, threading
from holdfast import Holdfast
from holdfast.api.app import application
from holdfast.cli.dev.serve import Server, listen, url_of
app = Holdfast(sys.argv[1])
listening = listen("127.0.0.1", 0)
server = Server(lambda: application(lambda: app.client), listening)
print(url_of(listening), flush=True)
sys.stdin.read()
"""


def serve(database: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", SERVE, database], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


class Reader(NamedTuple):
    """A connection that has got its first event."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


def rss_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def follow(port: int, run_id: str) -> Reader:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=16_384)
    head = f"GET /realtime/v1/runs/{run_id} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: text/event-stream\r\n\r\n"
    writer.write(head.encode())
    await event(reader)
    return Reader(reader, writer)


async def event(reader: asyncio.StreamReader) -> None:
    while not (await reader.readline()).startswith(b"data: "):
        pass


async def main(readers: int, updates: int, topics: int, database: str) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 2 * readers + 1000)), hard))
    app = Holdfast(database)
    runs = change(app, topics)
    server = serve(database)
    assert server.stdout is not None
    assert server.stdin is not None
    port = int(server.stdout.readline().decode().rpartition(":")[2])
    for _ in range(20):  # what is loaded for the first of them is nobody's
        (await follow(port, runs[0])).writer.close()
    before, began = rss_kib(server.pid), time.perf_counter()
    gate = asyncio.Semaphore(100)

    async def one(run_id: str) -> Reader:
        async with gate:
            return await follow(port, run_id)

    connected = await asyncio.gather(*(one(runs[n % topics]) for n in range(readers)))
    took, grown = time.perf_counter() - began, rss_kib(server.pid) - before
    print(json.dumps({"readers": readers, "connected_s": round(took, 2), "kib_each": round(grown / readers, 1)}))
    for number in range(updates):
        await asyncio.sleep(1)
        waiting = [asyncio.ensure_future(event(each.reader)) for each in connected]
        await asyncio.sleep(0)
        cpu, began = cpu_seconds(server.pid), time.perf_counter()
        await asyncio.to_thread(change, app, topics)
        await asyncio.gather(*waiting)
        took = time.perf_counter() - began
        used = cpu_seconds(server.pid) - cpu
        print(json.dumps({"update": number, "reached_all_s": round(took, 3), "server_cpu_s": round(used, 2)}))
    print(json.dumps({"kib_each_after": round((rss_kib(server.pid) - before) / readers, 1)}))
    server.stdin.close()
    server.terminate()
    server.wait()
    app.close()


def change(app: Holdfast, topics: int) -> list[str]:
    """Something that readers are told of: the runs, made by the first call, are put off a little further."""
    task = app.declare("followed", None, None)
    put_off = [task.item(None, debounce=Debounce(key=str(n), delay="1h")) for n in range(topics)]
    return [run.id for run in app.batch_trigger(put_off).runs]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--readers", type=int, default=5_000)
    parser.add_argument("--updates", type=int, default=5)
    parser.add_argument("--topics", type=int, default=1)
    parser.add_argument("--database")
    said = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(said.readers, said.updates, said.topics, said.database or f"{folder}/bench.db"))
