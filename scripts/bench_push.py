"""HTTP tasks: how many a second one pusher sends, and what thousands of open requests cost.

    python scripts/bench_push.py [--database URL] [--requests 10000] [--open 5000] [--seconds 10]

The receiver is a process of its own on the same machine, and so is the pusher, as ``holdfast worker`` starts one. The
first part makes the runs, starts the pusher and counts from the first request to the last outcome; the second one has
every request answered after some seconds, and looks at the pusher's memory. Of every twentieth the invocation is looked
up afterwards.
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
from typing import Any

from holdfast import Holdfast, storage
from holdfast.batch import Batch
from holdfast.engine import erase, pushes
from holdfast.http_task import RESPONSE, new_push
from holdfast.options import NO_PARENT, Rules
from holdfast.request import HTTP_TASK, LOOPBACK_NETWORKS
from holdfast.storage import Tx
from holdfast.worker.channel import Orders
from holdfast.worker.supervisor import Supervisor

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"


class Receiving(asyncio.Protocol):
    """Answers every request, after ``delay`` seconds."""

    delay = 0.0

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
            if self.delay:
                asyncio.get_running_loop().call_later(self.delay, self.transport.write, ANSWER)
            else:
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


def measure(database: str, requests: int, delay: float) -> None:
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
        done = 0
        while done < requests and time.perf_counter() - began < 300:
            time.sleep(0.2)
            peak = max(peak, cpu_and_memory(children[0].pid)[1])
            done, span_ms = store.read_sync(counted)
        after, _ = cpu_and_memory(children[0].pid)
        kept = sum(len(store.read_sync(pushes.invocations, run.id)) for run in runs[:: max(1, requests // 500)])
        assert kept == len(runs[:: max(1, requests // 500)]), "a request has no invocation"
        print(
            f"{store.kind}: {done} requests in {span_ms / 1000:.2f} s, {done / max(1, span_ms) * 1000:.0f} a second; "
            f"pusher: {(after - cpu) / max(1, done) * 1e6:.0f} us of CPU each, "
            f"{before:.0f} MiB before, {peak:.0f} at its peak"
        )
        supervisor.kill()
        supervisor.beating.stop()
        store.close()
        app.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--database")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--open", type=int, default=5_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--receive", type=float)
    given = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20_000), hard))
    if given.receive is not None:
        asyncio.run(receive(given.receive))
        return
    os.environ["HOLDFAST_PUSH_ALLOW"] = LOOPBACK_NETWORKS
    with tempfile.TemporaryDirectory() as folder:
        for name, requests, delay in (("fast", given.requests, 0.0), ("slow", given.open, given.seconds)):
            if requests:
                measure(given.database or f"sqlite:///{folder}/{name}.db", requests, delay)


if __name__ == "__main__":
    main()
