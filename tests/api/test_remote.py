"""``holdfast.remote``: a program that has nothing but a URL and a key."""

from __future__ import annotations

import asyncio
import gc
import inspect
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr

from holdfast import Debounce, Holdfast
from holdfast.api.app import application
from holdfast.cli.dev.serve import Server, listen, url_of
from holdfast.engine import keys
from holdfast.errors import (
    InvalidOption,
    NotSerializable,
    PayloadInvalid,
    ResultTimeout,
    RunCanceled,
    RunFailed,
    RunNotFound,
    TokenUnknown,
    UnknownQueue,
    UnknownSchedule,
)
from holdfast.ids import new_api_key
from holdfast.remote import Client, RemoteError, RemoteUnavailable, connection
from holdfast.remote.client import Client as Verbs
from holdfast.remote.operate import Queues, Schedules, Tokens
from tests.support.host import reached

KEY = "the key of this server"


class User(BaseModel):
    name: str
    pin: SecretStr = SecretStr("")


class Site:
    """A server, a worker for its tasks, and an app elsewhere that knows them by their types."""

    def __init__(self, path: Path) -> None:
        self.app = Holdfast(database=str(path / "jobs.db"))
        self.lost = 0  # how many of the next answers are lost on the way
        self.calls: list[str] = []

        @self.app.task(id="greet", queue="mail")
        def greet(user: User) -> str:
            return f"Hello, {user.name}! Your pin has {len(user.pin.get_secret_value())} digits."

        @self.app.task(id="fail")
        def fail() -> None:
            raise ValueError("no")

        self.listening = listen("127.0.0.1", 0)
        self.url = url_of(self.listening)
        self.server = Server(lambda: self.losing(application(lambda: self.app.client, key=KEY)), self.listening)
        self.elsewhere = Holdfast(database="postgresql://nobody@127.0.0.1:1/nothing")
        self.greet = self.elsewhere.declare("greet", User, str)
        self.jobs = Client(self.url, key=KEY)

    def losing(self, app: Any) -> Any:
        async def serve(scope: Any, receive: Any, send: Any) -> None:
            self.calls.append(f"{scope['method']} {scope['path']}")
            if self.lost and scope["method"] == "POST":
                self.lost -= 1

                async def nowhere(_: Any) -> None: ...

                await app(scope, receive, nowhere)
                raise ConnectionResetError
            await app(scope, receive, send)

        return serve

    def close(self) -> None:
        self.jobs.close()
        self.server.stop()
        self.app.close()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(connection, "FIRST_SECONDS", 0.01)
    made = Site(tmp_path)
    yield made
    made.close()


def test_a_task_is_carried_out_and_its_types_are_kept(site: Site) -> None:
    with site.app.running():
        handle = site.jobs.trigger(site.greet, User(name="Ada", pin=SecretStr("0417")), tags=["a"], metadata={"n": 1})
        assert handle.result(timeout="30s") == "Hello, Ada! Your pin has 4 digits."
        run = handle.retrieve()
        assert (run.status, run.task, run.attempts, run.tags, run.metadata) == (
            "completed",
            "greet",
            1,
            ["a"],
            {"n": 1},
        )
        assert run.payload == {"name": "Ada", "pin": "**********"}
        assert run.finished_at is not None
        assert run.finished_at >= run.created_at
        by_name = site.jobs.trigger("greet", {"name": "Grace"})
        assert by_name.result("30s").startswith("Hello, Grace!")
        with pytest.raises(RunFailed) as failed:
            site.jobs.trigger("fail", max_attempts=1).result("30s")
    assert (failed.value.status, failed.value.error.type, failed.value.error.message) == ("failed", "ValueError", "no")


async def test_async_code_does_the_same(site: Site) -> None:
    async with site.app.running():
        handles = await asyncio.gather(*(site.jobs.atrigger(site.greet, User(name=str(n))) for n in range(20)))
        outputs = await asyncio.gather(*(handle.aresult("30s") for handle in handles))
    assert [each.split("!")[0] for each in outputs] == [f"Hello, {n}" for n in range(20)]


async def test_a_batch_keeps_its_order_and_its_types(site: Site) -> None:
    items = [site.jobs.item(site.greet, User(name=str(n))) for n in range(30)]
    async with site.app.running():
        batch = await site.jobs.abatch_trigger(items)
        outputs = (await batch.aresults("30s")).outputs()
    assert [each.split("!")[0] for each in outputs] == [f"Hello, {n}" for n in range(30)]
    assert len(await site.jobs.alist(batch=batch.id, limit=100)) == 30
    with pytest.raises(InvalidOption):
        await site.jobs.abatch_trigger([])


@pytest.mark.parametrize("lost", [1, 3])
def test_what_is_made_is_made_once_though_its_answer_was_lost(site: Site, lost: int) -> None:
    site.lost = lost
    first = site.jobs.trigger("greet", {"name": "Ada"})
    site.lost = lost
    batch = site.jobs.batch_trigger([site.jobs.item("greet", {"name": str(n)}) for n in range(3)])
    site.lost = lost
    token = site.jobs.tokens.create()
    site.lost = lost
    schedule = site.jobs.schedules.create("greet", "0 9 * * *")
    site.lost = lost
    again = first.replay()
    ids = {run.id for run in site.jobs.list(limit=100)}
    assert ids == {first.id, again.id, *(run.id for run in batch.runs)}
    assert [each.id for each in site.jobs.tokens.list()] == [token.id]
    assert [each.id for each in site.jobs.schedules.list()] == [schedule.id]
    assert len([call for call in site.calls if call.endswith("/trigger")]) == lost + 1


def test_options_arrive(site: Site) -> None:
    jobs = site.jobs
    later = jobs.trigger("other", 1, delay="1h", queue="slow", priority=3, concurrency_key="c", ttl="2d").retrieve()
    assert (later.status, later.idempotency_key) == ("delayed", None)
    record = site.app.handle(later.id).retrieve()
    assert (record.queue, record.priority, record.concurrency_key) == ("slow", 3, "c")
    assert record.expires_at is not None
    at = datetime(2100, 1, 1, tzinfo=UTC)
    assert jobs.trigger("other", 1, scheduled_for=at).retrieve().due_at == at
    known = jobs.trigger("other", 1, idempotency_key="k", delay="1h")
    assert (known.created, jobs.trigger("other", 1, idempotency_key="k").id) == (True, known.id)
    assert known.retrieve().idempotency_key == "k"
    burst = [jobs.trigger("other", n, debounce=Debounce(key="d", delay="1h")).id for n in range(3)]
    assert len(set(burst)) == 1
    for name, value in {"connection": object(), "idempotency_scope": "run", "delay": -1, "x": 1}.items():
        with pytest.raises(InvalidOption):
            jobs.trigger("other", 1, **{name: value})  # type: ignore[arg-type]
    with pytest.raises(PayloadInvalid):
        jobs.trigger(site.greet, {"name": 5})  # type: ignore[arg-type]


def test_a_filter_that_is_no_text_is_refused(site: Site) -> None:
    with pytest.raises(InvalidOption, match="a filter has a character"):
        site.jobs.list(tag="\ud800")


def test_runs_are_canceled_listed_and_waited_for(site: Site) -> None:
    handle = site.jobs.trigger("greet", {"name": "Ada"}, tags=["x"])
    with pytest.raises(ResultTimeout):
        handle.result(timeout=0)
    updates = handle.updates()
    assert next(updates).status == "pending_version"
    handle.cancel()
    assert next(updates).status == "canceled"
    assert list(updates) == []
    with pytest.raises(RunCanceled):
        handle.result()
    site.jobs.trigger("other", 2)
    first = site.jobs.list(limit=1)
    rest = site.jobs.list(limit=1, cursor=first.next_cursor)
    assert (first[0].status, rest[0].id, rest.next_cursor) == ("pending_version", handle.id, None)
    assert [run.id for run in site.jobs.list(status="canceled", tag="x", task="greet", since="1h")] == [handle.id]
    for verb in (site.jobs.retrieve, site.jobs.cancel, site.jobs.replay, lambda run: site.jobs.handle(run).result()):
        with pytest.raises(RunNotFound):
            verb("0" * 26)


def test_queues_schedules_and_tokens(site: Site) -> None:
    jobs = site.jobs
    jobs.trigger("other", 1, queue="a/b")
    jobs.trigger("other", 1)
    assert jobs.queues.pause("a/b").paused
    assert not jobs.queues.resume("a/b").paused
    assert jobs.queues.limit("a/b", 5).concurrency_limit == 5
    assert jobs.queues.limit("a/b", None).concurrency_limit is None
    assert jobs.queues.retrieve("task/other").queued == 1
    assert {each.name for each in jobs.queues.list()} >= {"a/b", "task/other"}
    schedule = jobs.schedules.create("greet", "0 9 * * *", timezone="Europe/London", deduplication_key="k")
    assert jobs.schedules.create("greet", "0 8 * * *", deduplication_key="k").id == schedule.id
    assert not jobs.schedules.pause(schedule.id).active
    assert jobs.schedules.resume(schedule.id).next_at is not None
    assert jobs.schedules.retrieve(schedule.id).cron == "0 8 * * *"
    jobs.schedules.delete(schedule.id)
    assert jobs.schedules.list() == []
    token = jobs.tokens.create(timeout="1h", tags=["t"])
    jobs.tokens.complete(token.id, {"by": "Ada"})
    jobs.tokens.complete(token.id, "too late")
    found = jobs.tokens.retrieve(token.id)
    assert (found.status, found.value, found.tags) == ("completed", {"by": "Ada"}, ["t"])
    for verb in (jobs.tokens.retrieve, jobs.tokens.complete):
        with pytest.raises(TokenUnknown):
            verb("0" * 26)


async def test_async_code_has_each_verb(site: Site) -> None:
    jobs = site.jobs
    first = await jobs.atrigger("other", 1, delay="1h")
    assert (await jobs.aretrieve(first.id)).status == "delayed"
    again = await jobs.areplay(first.id)
    await jobs.acancel(first.id)
    assert [run.status async for run in jobs.handle(first.id).aupdates()] == ["canceled"]
    assert {run.id for run in await jobs.alist()} == {first.id, again}
    queue = "task/other"
    states = [await jobs.queues.apause(queue), await jobs.queues.aresume(queue), await jobs.queues.aretrieve(queue)]
    assert [each.paused for each in states] == [True, False, False]
    assert (await jobs.queues.alimit(queue, 2)).concurrency_limit == 2
    assert [each.name for each in await jobs.queues.alist()] == [queue]
    schedule = await jobs.schedules.acreate("greet", "0 9 * * *")
    assert schedule.deduplication_key is None
    paused, resumed = await jobs.schedules.apause(schedule.id), await jobs.schedules.aresume(schedule.id)
    assert (paused.active, resumed.active) == (False, True)
    assert [await jobs.schedules.aretrieve(schedule.id)] == await jobs.schedules.alist()
    await jobs.schedules.adelete(schedule.id)
    token = await jobs.tokens.acreate()
    await jobs.tokens.acomplete(token.id, 5)
    assert (await jobs.tokens.aretrieve(token.id)).value == 5
    assert [each.id for each in await jobs.tokens.alist()] == [token.id]
    await jobs.aclose()
    assert (await jobs.aretrieve(first.id)).status == "canceled", "the next verb opens a connection"


GONE = "0" * 26


@pytest.mark.parametrize(
    ("wrong", "kind", "what"),
    [
        (lambda jobs: jobs.list(status="asleep"), RemoteError, "filter[status] knows no ASLEEP"),
        (lambda jobs: jobs.schedules.create("greet", "x"), RemoteError, "cron has not five fields"),
        (lambda jobs: jobs.queues.pause("no such"), UnknownQueue, "There is no such queue"),
        (lambda jobs: jobs.queues.retrieve("no such"), UnknownQueue, "There is no such queue"),
        (lambda jobs: jobs.schedules.pause(GONE), UnknownSchedule, "There is no such schedule"),
        (lambda jobs: jobs.schedules.delete(GONE), UnknownSchedule, "There is no such schedule"),
        (lambda jobs: jobs.tokens.complete(GONE), TokenUnknown, "There is no such token"),
        (lambda jobs: jobs.retrieve(GONE), RunNotFound, "There is no run with this id"),
        (lambda jobs: jobs.trigger("a/../b", b"x"), NotSerializable, ""),
    ],
)
def test_an_error_says_what_is_wrong_what_was_seen_and_what_to_do(site: Site, wrong: Any, kind: Any, what: str) -> None:
    with pytest.raises(kind) as raised:
        wrong(site.jobs)
    assert what in raised.value.what
    assert raised.value.seen
    assert raised.value.do


def test_a_client_that_is_forgotten_takes_its_thread_along(site: Site) -> None:
    def threads() -> int:
        return sum(thread.name == "holdfast-remote" for thread in threading.enumerate())

    before = threads()
    for _ in range(3):
        assert len(Client(site.url, key=KEY).list()) == 0
    gc.collect()
    reached(lambda: threads() == before)


def test_what_the_server_refuses_is_said(site: Site) -> None:
    little = new_api_key()
    site.app.client.write(keys.create, little, "little", ["trigger:another"], None)
    stranger, other = Client(site.url, key="nobody's"), Client(site.url, key=little)
    for client, status in ((stranger, 401), (other, 403)):
        with pytest.raises(RemoteError) as refused:
            client.trigger("other", 1)
        assert (refused.value.status, "nobody's" in str(refused.value), little in str(refused.value)) == (
            status,
            False,
            False,
        )
        client.close()
    with pytest.raises(RemoteError) as wrong:
        site.jobs.schedules.create("greet", "every now and then")
    assert wrong.value.status == 422
    assert len([call for call in site.calls if call.endswith("/trigger")]) == 2, "what is refused is not sent again"


def test_a_server_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "FIRST_SECONDS", 0.001)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(RemoteUnavailable, match="does not answer"):
        Client(url).trigger("greet")
    monkeypatch.delenv("HOLDFAST_API_URL", raising=False)
    for wrong in (None, "", "jobs.example.com", "ftp://x"):
        with pytest.raises(InvalidOption):
            Client(wrong)


def test_every_verb_has_its_twin() -> None:
    for owner in (Verbs, Queues, Schedules, Tokens):
        verbs = [name for name, each in vars(owner).items() if inspect.isfunction(each) and not name.startswith("_")]
        for name in verbs:
            twin = getattr(owner, f"a{name}", None) if f"a{name}" in verbs else None
            assert twin is not None or name.removeprefix("a") in verbs or name in ("handle", "item"), name
            if twin is not None:
                ours = list(inspect.signature(getattr(owner, name)).parameters.values())
                assert ours == list(inspect.signature(twin).parameters.values()), name
