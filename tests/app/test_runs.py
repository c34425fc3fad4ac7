"""`app.runs` and `app.queues`, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from holdfast import (
    AbortRun,
    Holdfast,
    InvalidOption,
    PayloadInvalid,
    Queue,
    RunCanceled,
    RunFailed,
    RunNotFound,
    UnknownQueue,
)
from holdfast.engine import catalogue
from holdfast.storage import Store
from tests.conftest import Eventually


@pytest.fixture
def app(database_url: str) -> Iterator[Holdfast]:
    app = Holdfast(database_url)

    @app.task(queue=Queue("mail", concurrency_limit=2))
    def send(to: str) -> str:
        if to == "nobody":
            raise AbortRun("there is nobody")
        return to

    @app.task
    def greet(name: str) -> str:
        return name

    yield app
    app.close()


def ids(page: Any) -> list[str]:
    return [run.id for run in page]


# -- runs -------------------------------------------------------------------------------------------------------------


def test_a_list_by_all_that_it_can_be_asked_for(app: Holdfast) -> None:
    send, greet = app.tasks["send"], app.tasks["greet"]
    first = send.trigger("ada", tags=["a", "b"])
    second = greet.trigger("ada", tags=["a"], delay="1h")
    batch = send.batch_trigger(["x", "y"])
    x, y = (run.id for run in batch.runs)
    assert ids(app.runs.list()) == [y, x, second.id, first.id]
    assert ids(app.runs.list(task="greet")) == ids(app.runs.list(task=greet)) == [second.id]
    assert ids(app.runs.list(queue="mail")) == ids(app.runs.list(queue=Queue("mail"))) == [y, x, first.id]
    assert ids(app.runs.list(tag="a")) == [second.id, first.id]
    assert ids(app.runs.list(tag=["a", "b"])) == [first.id]
    assert ids(app.runs.list(batch=batch)) == ids(app.runs.list(batch=batch.id)) == [y, x]
    assert ids(app.runs.list(status="delayed")) == [second.id]
    assert ids(app.runs.list(status=["delayed", "failed"], task="send")) == []
    assert len(app.runs.list(since="1h")) == len(app.runs.list(since=datetime.now(UTC) - timedelta(hours=1))) == 4
    assert len(app.runs.list(since=datetime.now(UTC) + timedelta(days=1))) == 0


async def test_page_by_page_in_both_colours(app: Holdfast) -> None:
    made = [(await app.atrigger("greet", str(n))).id for n in range(5)][::-1]
    seen, page = [], app.runs.list(limit=2)
    while True:
        seen += page[:]
        if page.next_cursor is None:
            break
        page = await app.runs.alist(limit=2, cursor=page.next_cursor)
    assert ids(seen) == made
    assert page.complete
    assert (len(page), page[0].id, repr(page)) == (1, made[-1], "<RunPage of 1 runs>")


def test_what_stands_in_a_list(app: Holdfast) -> None:
    with app.running():
        bad = app.trigger("send", "nobody", tags=["t"], concurrency_key="k")
        with pytest.raises(RunFailed):
            bad.result(timeout="30s")
    late = app.trigger("greet", "ada", delay="1h")
    [queued, failed] = app.runs.list()
    assert (failed.id, failed.status, failed.task, failed.queue, failed.attempts) == (
        bad.id,
        "failed",
        "send",
        "mail",
        1,
    )
    assert (failed.tags, failed.concurrency_key) == (["t"], "k")
    assert failed.error is not None
    assert (failed.error.type, failed.error.message) == ("holdfast.errors.AbortRun", "there is nobody")
    assert failed.created_at <= (failed.started_at or failed.created_at) <= (failed.finished_at or failed.created_at)
    assert failed.created_at.tzinfo is UTC
    assert (queued.id, queued.attempts, queued.error, queued.finished_at) == (late.id, 0, None, None)
    assert queued.due_at == queued.created_at + timedelta(hours=1)


async def test_retrieve_cancel_and_replay_in_both_colours(app: Holdfast) -> None:
    run = app.trigger("greet", "ada", tags=["t"])
    app.runs.cancel(run.id)
    assert app.runs.retrieve(run.id).status == (await app.runs.aretrieve(run.id)).status == "canceled"
    with pytest.raises(RunCanceled):
        run.result(timeout=0)
    again, third = app.runs.replay(run.id), await app.runs.areplay(run.id)
    assert len({run.id, again.id, third.id}) == 3
    copy = await again.aretrieve()
    assert (copy.payload, copy.tags, copy.task) == ("ada", ["t"], "greet")
    await app.runs.acancel(third.id)
    assert ids(app.runs.list(status="canceled")) == [third.id, run.id]


async def test_another_payload_has_to_fit_the_task(app: Holdfast, store: Store) -> None:
    """As the code here says, or as the task has announced it where its code is not."""
    run = app.tasks["greet"].trigger("ada")
    store.run_sync(catalogue.announce, [task.entry() for task in app.tasks.values()], [])
    other = Holdfast(app.settings.get("database").value)
    for each in (app, other):
        with pytest.raises(PayloadInvalid, match=r"does not fit.*string"):
            each.runs.replay(run.id, payload={"name": "ada"})
        with pytest.raises(PayloadInvalid, match=r"does not fit.*string"):
            await each.runs.areplay(run.id, payload=5)
        assert each.runs.replay(run.id, payload="grace").retrieve().payload == "grace"
    assert len(app.runs.list()) == 3
    other.close()


async def test_unknown_runs(app: Holdfast) -> None:
    for verb in ("retrieve", "cancel", "replay"):
        with pytest.raises(RunNotFound, match="nowhere"):
            getattr(app.runs, verb)("nowhere")
        with pytest.raises(RunNotFound, match="nowhere"):
            await getattr(app.runs, f"a{verb}")("nowhere")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"status": "complete"}, "no such status .*Did you mean completed?"),
        ({"status": ["failed", "?"]}, "no such status"),
        ({"status": 5}, "status is neither text nor a list"),
        ({"task": 5}, "task is not text"),
        ({"queue": 5}, "queue is not text"),
        ({"tag": [5]}, "tag is not text"),
        ({"batch": 5}, "batch is not text"),
        ({"since": "yesterday"}, "since"),
        ({"since": datetime(2027, 1, 1)}, "since has no time zone"),
        ({"limit": 0}, "limit is not a whole number from 1 to 1000"),
        ({"limit": 1001}, "limit is not a whole number"),
        ({"cursor": 5}, "cursor is not text"),
    ],
)
def test_a_list_of_what_cannot_be(options: Any, message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        Holdfast(":memory:").runs.list(**options)


# -- queues -----------------------------------------------------------------------------------------------------------


async def test_queues_and_what_stands_in_them(app: Holdfast) -> None:
    app.trigger("send", "ada")
    app.trigger("send", "grace", delay="1h")
    [mail] = app.queues.list()
    assert [mail] == await app.queues.alist()
    assert mail == app.queues.retrieve("mail") == await app.queues.aretrieve(Queue("mail"))
    assert (mail.name, mail.concurrency_limit, mail.limited, mail.paused) == ("mail", 2, False, False)
    assert (mail.executing, mail.queued, mail.pending_version, mail.delayed) == (0, 0, 1, 1)
    assert mail.oldest_queued_at is not None


async def test_pause_and_resume(app: Holdfast, eventually: Eventually) -> None:
    app.trigger("greet", "ada")
    app.queues.pause("task/greet")
    assert app.queues.retrieve("task/greet").paused_at is not None
    async with app.running():
        handle = await app.atrigger("greet", "grace")
        await app.atrigger("send", "ada")
        await (await app.atrigger("send", "ada")).aresult(timeout="30s")
        assert (await handle.aretrieve()).status == "queued"
        await app.queues.aresume("task/greet")
        assert await handle.aresult(timeout="30s") == "grace"
    await app.queues.apause("mail")
    assert app.queues.retrieve("mail").paused
    app.queues.resume("mail")
    assert not app.queues.retrieve("mail").paused


async def test_limits_stay_until_the_code_gets_its_say_back(app: Holdfast) -> None:
    app.trigger("send", "ada")
    mail = Queue("mail")
    app.queues.limit(mail, 5)
    assert limits(app) == (5, None, True)
    await app.queues.alimit("mail", concurrency_limit_per_key=1)
    assert limits(app) == (5, 1, True)
    app.queues.limit("mail", None)
    assert limits(app) == (2, 1, True)
    app.queues.limit("mail", concurrency_limit_per_key=None)
    assert limits(app) == (2, None, False)


def limits(app: Holdfast) -> tuple[int | None, int | None, bool]:
    mail = app.queues.retrieve("mail")
    return mail.concurrency_limit, mail.concurrency_limit_per_key, mail.limited


def test_a_limit_holds_for_what_stands_in_line_already(app: Holdfast) -> None:
    for name in ("a", "b", "c"):
        app.trigger("greet", name)
    app.queues.limit("task/greet", 1)
    with app.running():
        assert app.trigger("greet", "d").result(timeout="30s") == "d"
    assert len(app.runs.list(task="greet", status="completed")) == 4


async def test_unknown_queues_and_limits_that_are_none(app: Holdfast) -> None:
    app.trigger("greet", "ada")
    for verb in ("retrieve", "pause", "resume", "limit"):
        with pytest.raises(UnknownQueue, match=r"\(greet\)\. Did you mean task/greet\?"):
            getattr(app.queues, verb)("greet")
        with pytest.raises(UnknownQueue, match=r"\(nowhere\)\. See holdfast queues list"):
            await getattr(app.queues, f"a{verb}")("nowhere")
        with pytest.raises(InvalidOption, match="The name of a queue is not text"):
            getattr(app.queues, verb)(5)
    for limit in (0, -1, 2.5, True, "5"):
        with pytest.raises(InvalidOption, match="concurrency_limit is not a whole number"):
            app.queues.limit("task/greet", limit)  # type: ignore[arg-type]
        with pytest.raises(InvalidOption, match="concurrency_limit_per_key is not a whole number"):
            app.queues.limit("task/greet", concurrency_limit_per_key=limit)  # type: ignore[arg-type]
