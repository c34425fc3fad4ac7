"""What carries runs out: workers, and the hosts that requests go to."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from holdfast import Holdfast
from holdfast.engine import pushes, workers
from holdfast.sizes import MIB
from holdfast.storage import Store
from holdfast.views import http_hosts
from tests.dashboard.conftest import Served, post
from tests.engine.making import Hand, know, new, send


def enter(home: Holdfast, worker_id: str, host: str, *, app: str | None = "shop", slots: int = 8) -> None:
    entry = workers.WorkerEntry(
        id=worker_id, lease_ms=30_000, host=host, pid=4711, concurrency=slots, version="v9", app=app
    )
    home.client.write(workers.register, entry, ["send"])


async def test_workers_stand_under_their_hosts_and_can_be_drained(tmp_path: Path, served: Served) -> None:
    """Draining twice, or what is not there, is told as such."""
    home = Holdfast(database=f"sqlite:///{tmp_path}/holdfast.db")
    async with served(home) as http:
        assert "No worker is alive" in (await http.get("/workers")).text
        enter(home, "w1", "reef")
        enter(home, "w2", "reef")
        enter(home, "w3", "tide<b>")
        page = (await http.get("/workers")).text
        assert page.count("data-row=") == 3
        assert page.count('aria-label="reef"') == 1
        assert "tide<b>" not in page
        assert page.count(">Drain<") == 3
        answer = await post(http, "/workers", "/workers/w2/drain")
        assert (answer.status_code, answer.headers["location"]) == (303, "/workers")
        page = (await http.get("/workers")).text
        assert page.count(">Drain<") == 2
        assert "draining" in page
        assert (await post(http, "/workers", "/workers/nobody/drain")).status_code == 404
    await home.aclose()


async def test_what_sends_requests_has_no_slots_for_code(tmp_path: Path, served: Served) -> None:
    home = Holdfast(database=f"sqlite:///{tmp_path}/holdfast.db")
    async with served(home) as http:
        await http.get("/workers")
        enter(home, "w1", "reef")
        enter(home, "w2", "reef", app=None, slots=10_000)
        page = (await http.get("/workers")).text
        assert "2 processes, 0 of 8 slots in use" in page
        assert page.count("sends requests") == 1
    await home.aclose()


async def test_hosts_by_how_they_answer(store: Store, tmp_path: Path, served: Served) -> None:
    """What is down comes first, then what fails. A request without an answer has failed, too."""
    know(store)
    hand = Hand(store)
    answers = [("https://good.example/a", 200), ("https://good.example/b", 204), ("http://bad.example:8080/", 500)]
    for url, status in (*answers, ("http://bad.example:8080/x", None)):
        send(store, new())
        run = hand.claim_one()
        error = None if status else "connection refused"
        record = msgspec.json.encode({"method": "POST", "url": url, "error": error}).decode()
        sent = pushes.Invocation(run.id, run.claim, 1, 1_000, status, 2_000, record)
        store.run_sync(lambda tx, sent=sent: tx.batch("insert_invocations", [sent]).rows())
    store.run_sync(pushes.open_circuit, "gone.example:443", 10, "10 failures in a row", 60_000, hand.id)
    gone, bad, good = store.read_sync(http_hosts)
    assert (gone.host, gone.requests, gone.reason) == ("gone.example:443", 0, "10 failures in a row")
    assert gone.down_since is not None
    assert (bad.host, bad.requests, bad.failed) == ("bad.example:8080", 2, 2)
    assert (good.host, good.requests, good.failed, good.p50_us) == ("good.example:443", 2, 0, 2_000)
    assert good.down_since is None


async def test_workers_are_a_tree_with_what_each_process_uses(tmp_path: Path, served: Served) -> None:
    """The supervisor, what it has started, and below that runs in processes of their own; what nobody supervises stands
    for itself."""
    home = Holdfast(database=f"sqlite:///{tmp_path}/holdfast.db")
    async with served(home) as http:
        await http.get("/workers")
        for name in ("w1", "w2", "alone"):
            enter(home, name, "reef")
        run = home.trigger("send", 1)
        above = workers.ProcessUsage(pid=4000, cpu_millis=3, memory_bytes=30 * MIB)
        apart = workers.RunUsage(pid=4002, cpu_millis=1990, memory_bytes=70 * MIB, run_id=run.id)
        usage = workers.WorkerUsage(pid=4001, cpu_millis=420, memory_bytes=50 * MIB, supervisor=above, runs=[apart])
        home.client.write(workers.beat, ["w1", "w2"], {"w1": usage, "w2": msgspec.structs.replace(usage, runs=[])})
        page = (await http.get("/workers")).text
        rows = [row.partition("</tr>")[0] for row in page.split("<tr data-row")[1:]]
        depths = [row.partition('class="process p-')[2][:1] for row in rows]
        assert depths == ["0", "0", "1", "2", "1"]
        assert all(
            word in row for word, row in zip(("worker", "supervisor", "worker", "send", "worker"), rows, strict=True)
        )
        assert [("42%" in row, "199%" in row, f"/runs/{run.id}" in row) for row in rows[2:4]] == [
            (True, False, False),
            (False, True, True),
        ]
        assert "50.0 MiB" in rows[2]
        assert page.count(">Drain<") == 3
    await home.aclose()


@pytest.mark.parametrize("path", ["/hosts", "/workers", "/errors"])
async def test_with_nothing_there_a_page_says_what_to_do(tmp_path: Path, served: Served, path: str) -> None:
    home = Holdfast(database=f"sqlite:///{tmp_path}/holdfast.db")
    async with served(home) as http:
        answer = await http.get(path)
    await home.aclose()
    assert answer.status_code == 200
    assert 'class="empty"' in answer.text
