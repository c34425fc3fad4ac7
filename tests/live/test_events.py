"""Runs as they change, for those who follow them over HTTP: server-sent events and the client's long polls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from holdfast import AsyncContext, Holdfast
from holdfast.api.app import application
from holdfast.api.live import rows, topics
from holdfast.api.live.hub import Hub
from tests.support.serving import Event, events, on_a_socket

SSE = {"accept": "text/event-stream"}


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


class Live:
    """An app, a worker, and a server of it."""

    def __init__(self, database: str) -> None:
        self.app = Holdfast(database)
        self.go = asyncio.Event()

        @self.app.task
        async def work(name: str, ctx: AsyncContext) -> str:
            ctx.metadata["name"] = name
            ctx.stream("tokens").write({"say": name})
            await self.go.wait()
            return name.upper()

        self.work = work
        self.served = application(lambda: self.app.client)
        self.hub: Hub = self.served.state.hub
        self.http: httpx.AsyncClient

    async def follow(self, path: str, count: int, **headers: str) -> list[Event]:
        """The first so many events."""
        found: list[Event] = []
        async with self.http.stream("GET", path, headers={**SSE, **headers}) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            async for each in events(answer):
                found.append(each)
                if len(found) == count:
                    return found
        return found

    async def poll(self, path: str, **query: str) -> tuple[str, list[Any]]:
        answer = await self.http.get(path, params=query)
        messages = answer.json()
        assert messages.pop() == {"headers": {"control": "up-to-date"}}
        return answer.headers["electric-offset"], [each["value"] for each in messages]


@pytest.fixture
async def live(database_url: str) -> AsyncIterator[Live]:
    made = Live(database_url)
    async with on_a_socket(made.served) as made.http:
        yield made
    await made.app.aclose()


async def test_a_run_until_it_has_ended_and_resumed_where_it_was(live: Live) -> None:
    handle = await live.work.atrigger("ada")
    path = f"/realtime/v1/runs/run_{handle.id}"
    [waiting] = await live.follow(path, 1)
    assert (waiting.data["id"], waiting.data["status"]) == (f"run_{handle.id}", "PENDING_VERSION")
    following = asyncio.create_task(live.follow(path, 100))
    async with live.app.running():
        await until(lambda: live.hub.topics[handle.id].readers > 0)
        live.go.set()
        told = await following
    assert told[-1].data["status"] == "COMPLETED"
    assert "payload" not in told[-1].data
    later = await live.follow(path, 100, **{"last-event-id": waiting.id})
    assert [each.data["status"] for each in later[-1:]] == ["COMPLETED"]
    assert waiting.id not in {each.id for each in later}
    over = await live.http.get(path, headers={**SSE, "last-event-id": told[-1].id})
    assert over.status_code == 204


async def test_runs_with_all_of_some_tags_those_that_come_too(live: Live) -> None:
    await live.work.atrigger("one", tags=["a"])
    both = await live.work.atrigger("both", tags=["a", "b"])
    following = asyncio.create_task(live.follow("/realtime/v1/runs?tags=b,a", 2))
    await until(lambda: any(topic.known for topic in live.hub.topics.values()))
    await live.work.atrigger("other", tags=["b"])
    new = await live.work.atrigger("new", tags=["b", "c", "a"])
    assert [each.data["id"] for each in await following] == [f"run_{both.id}", f"run_{new.id}"]


async def test_the_runs_of_a_batch(live: Live) -> None:
    batch = await live.work.abatch_trigger(["a", "b", "c"])
    live.go.set()
    async with live.app.running():
        await batch.aresults()
    found = await live.follow(f"/realtime/v1/batches/batch_{batch.id}", 3)
    assert {each.data["id"] for each in found} == {f"run_{run.id}" for run in batch.runs}
    assert {each.data["status"] for each in found} == {"COMPLETED"}


async def test_a_poll_holds_until_something_changes(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = await live.work.atrigger("ada")
    path = f"/realtime/v1/runs/run_{handle.id}"
    offset, [row] = await live.poll(path, offset="-1", log="full")
    assert (row["friendlyId"], row["status"], row["completedAt"]) == (f"run_{handle.id}", "PENDING_VERSION", None)
    polling = asyncio.create_task(live.poll(path, offset=offset, live="true"))
    assert not (await asyncio.wait({polling}, timeout=0.3))[0]
    async with live.app.running():
        live.go.set()
        new, changed = await polling
        assert new != offset
        assert changed
        await handle.aresult()
        while changed[-1]["completedAt"] is None:
            new, changed = await live.poll(path, offset=new, live="true")
    assert (changed[-1]["status"], changed[-1]["output"]) == ("COMPLETED_SUCCESSFULLY", '"ADA"')
    assert changed[-1]["realtimeStreams"] == ["tokens"]
    assert not changed[-1]["createdAt"].endswith("Z")
    monkeypatch.setattr(rows, "HOLD_SECONDS", 0.1)
    assert await live.poll(path, offset=new, live="true") == (new, [])
    assert (await live.poll(path, offset="12345_0", live="true"))[1] == changed[-1:]  # of another server, say


async def test_columns_can_be_left_out_but_not_those_that_are_needed(live: Live) -> None:
    await live.work.atrigger("ada", tags=["a"])
    _, [row] = await live.poll("/realtime/v1/runs", tags="a", offset="-1", skipColumns="payload,status,createdAt")
    assert "payload" not in row
    assert {"status", "createdAt"} <= row.keys()


async def test_what_a_run_says_piece_by_piece(live: Live) -> None:
    handle = await live.work.atrigger("ada")
    live.go.set()
    async with live.app.running():
        await handle.aresult()
    path = f"/realtime/v1/streams/run_{handle.id}/tokens"
    [piece] = await live.follow(path, 10)
    assert (piece.data, piece.id.partition("-")[2]) == ({"say": "ada"}, "0")
    assert await live.follow(path, 10, **{"last-event-id": piece.id}) == []
    assert await live.follow(f"/realtime/v1/streams/run_{handle.id}/none", 10) == []


async def test_what_is_not_there_is_said(live: Live) -> None:
    for path, code in (
        ("/realtime/v1/runs/run_01k00000000000000000000000", 404),
        ("/realtime/v1/runs/nothing", 404),
        ("/realtime/v1/streams/run_01k00000000000000000000000/a", 404),
        ("/realtime/v1/runs", 400),
        ("/realtime/v1/runs?tags=,,", 400),
        ("/realtime/v1/runs?tags=a&createdAt=soon", 422),
    ):
        for headers in ({}, SSE):
            answer = await live.http.get(path, headers=headers)
            assert (answer.status_code, "error" in answer.json()) == (code, True)
    assert live.hub.topics == {}


async def test_all_who_follow_the_same_are_one_question(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, a change is read once. Each has read before how the run stood when it came."""
    handle = await live.work.atrigger("ada")
    reads: list[Any] = []
    real = Hub.read

    async def counted(hub: Hub, ids: Any) -> Any:
        found = await real(hub, ids)
        reads.extend(ids)
        return found

    monkeypatch.setattr(Hub, "read", counted)
    following = [asyncio.create_task(live.follow(f"/realtime/v1/runs/{handle.id}", 2)) for _ in range(30)]
    await until(lambda: len(reads) > 30)  # the hub, and each of them
    topic = live.hub.topics[handle.id]
    await until(lambda: len(topic.waiting) == topic.readers == 30)
    before, changes = len(reads), len(topic.past)
    await handle.acancel()
    told = await asyncio.gather(*following)
    assert {each[-1].data["status"] for each in told} == {"CANCELED"}
    assert len(reads) - before == len(topic.past) - changes
    await until(lambda: not topic.readers)  # and when they have gone, nobody is left


async def test_a_slow_reader_is_shown_the_door(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no buffer of its own: when its place in the past is gone, its stream ends, and it comes back."""
    monkeypatch.setattr(topics, "PAST", 2)
    handle = await live.work.atrigger("ada")
    topic = topics.Topic(handle.id)
    async with live.hub.following(handle.id) as real:
        [record] = await live.hub.present(real)
        mark = real.marks[handle.id]
    assert mark is not None
    topic.past = topics.deque(maxlen=2)
    topic.take({handle.id: mark}, [record])
    states = [topic.state]
    for number in range(4):
        topic.take({handle.id: mark._replace(facts=(number,))}, [record])
        states.append(topic.state)
    assert topic.after(states[-1]) == []
    assert [each.state for each in topic.after(states[-2]) or []] == states[-1:]
    assert [each.state for each in topic.after(states[-3]) or []] == states[-2:]
    assert topic.after(states[0]) is None
