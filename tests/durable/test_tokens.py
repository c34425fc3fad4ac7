"""Tokens: completed once, whenever that is, and never with what does not fit."""

from __future__ import annotations

import asyncio
import datetime
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr

from holdfast import AsyncContext, Context, Holdfast, NotDurable, PayloadInvalid, TokenUnknown, WaitTimedOut
from holdfast.clock import FrozenClock
from holdfast.engine import due, journal, tokens
from holdfast.errors import InvalidOption, TooLarge
from holdfast.ids import new_id
from holdfast.records import NewEntry, NewToken, Suspension
from holdfast.storage import Store
from tests.engine.making import Hand, between, know, new, send, state
from tests.support.inside import Inside


class Approval(BaseModel):
    by: str
    at: datetime.datetime | None = None


class Login(BaseModel):
    pin: SecretStr


@pytest.fixture
def app(database_url: str) -> Any:
    made = Holdfast(database=database_url)
    yield made
    made.close()


# -- when it is completed ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suspend_after", [0.0, 30.0])
async def test_completed_before_it_is_waited_for(inside: Inside, suspend_after: float) -> None:
    token = await inside.app.tokens.acreate(Approval, timeout="1d")

    @inside.app.task
    async def work(n: int, ctx: AsyncContext) -> str:
        return (await ctx.wait_for(token)).by

    assert await inside.app.tokens.acomplete(token, Approval(by="Ada")) == "completed"
    inside.start(suspend_after=suspend_after)
    run = await inside.run(work, 1)
    assert run.output == "Ada", run.error


async def test_completed_while_the_run_executes(inside: Inside) -> None:
    """Another branch keeps it from waiting: it is told all the same."""
    token = await inside.app.tokens.acreate(str)
    waits, over = asyncio.Event(), asyncio.Event()

    @inside.app.task
    async def work(n: int, ctx: AsyncContext) -> str:
        async def busy() -> None:
            waits.set()
            await over.wait()

        async def waiting() -> str:
            value = await ctx.wait_for(token)
            over.set()
            return value

        return (await asyncio.gather(waiting(), busy()))[0]

    inside.start()
    handle = await work.atrigger(1)
    await asyncio.wait_for(waits.wait(), 30)
    assert (await handle.aretrieve()).status == "executing"
    assert await inside.app.tokens.acomplete(token.id, "yes") == "completed"
    assert (await inside.ended(handle)).output == "yes"


@pytest.mark.parametrize(("suspend_after", "calls"), [(30.0, 1), (0.0, 2)], ids=["parked", "dropped"])
@pytest.mark.parametrize("colour", ["async", "sync"])
async def test_completed_while_it_waits(
    inside: Inside, eventually_async: Callable[..., Any], suspend_after: float, calls: int, colour: str
) -> None:
    """In memory it goes on where it stood; dropped from there it is replayed, and has the same URL."""
    urls: list[str] = []

    if colour == "async":

        @inside.app.task(id="work")
        async def work(n: int, ctx: AsyncContext) -> str:
            token = await ctx.token(Approval)
            urls.append(token.url)
            return (await ctx.wait_for(token)).by
    else:

        @inside.app.task(id="work")
        def work(n: int, ctx: Context) -> str:
            token = ctx.token(Approval)
            urls.append(token.url)
            return ctx.wait_for(token).by

    inside.start(suspend_after=suspend_after)
    handle = await inside.app.tasks["work"].atrigger(1)

    async def waits() -> None:
        assert (await handle.aretrieve()).status == "waiting"

    await eventually_async(waits)
    (token,) = await inside.app.tokens.alist()
    assert (token.status, token.run_id, token.url) == ("open", handle.id, urls[0])
    assert await inside.app.tokens.acomplete(token.id, {"by": "Ada"}) == "completed"
    assert (await inside.ended(handle)).output == "Ada"
    assert urls == [token.url] * calls


async def test_a_run_waits_for_a_token_of_which_it_has_the_id(inside: Inside) -> None:
    @inside.app.task
    async def work(token_id: str, ctx: AsyncContext) -> str:
        return (await ctx.wait_for(await inside.app.tokens.aretrieve(token_id, Approval))).by

    token = await inside.app.tokens.acreate(Approval)
    inside.start(suspend_after=0.0)
    handle = await work.atrigger(token.id)
    assert await inside.app.tokens.acomplete(token.id, {"by": "Ada"}) == "completed"
    assert (await inside.ended(handle)).output == "Ada"


def test_twice_at_once_one_is_first(app: Holdfast) -> None:
    """And its value stays, however often that is tried."""
    with ThreadPoolExecutor(2) as threads:
        for _ in range(20):
            token, gate = app.tokens.create(), threading.Barrier(2)

            def complete(value: str, token_id: str = token.id, gate: threading.Barrier = gate) -> str:
                gate.wait(30)
                return app.tokens.complete(token_id, value)

            answers = dict(zip("ab", threads.map(complete, "ab"), strict=True))
            assert sorted(answers.values()) == ["already", "completed"]
            assert answers[app.tokens.retrieve(token.id).value] == "completed"


# -- its time ---------------------------------------------------------------------------------------------------------


def waiting(store: Store, timeout_ms: int) -> tuple[str, str]:
    """A run that waits for a token, and the token."""
    know(store)
    hand, token = Hand(store), NewToken(id=new_id(), secret="s", timeout_ms=timeout_ms)
    store.run_sync(tokens.create, token)
    send(store, new())
    run = hand.claim_one()
    entry = NewEntry(
        run_id=run.id,
        claim=run.claim,
        attempt=1,
        key="wait/1",
        seq=1,
        branch="",
        kind="wait",
        name="wait",
        state="open",
        target=token.id,
    )
    store.run_sync(journal.write, [entry])
    hand.exchange(waits=[Suspension(run.id, run.claim)])
    assert state(store, run.id) == "waiting"
    return run.id, token.id


def outcome(store: Store, run_id: str) -> tuple[str, str | None]:
    row = store.read_sync(lambda tx: tx.row("entry", run_id=run_id, key="wait/1"))
    assert row is not None
    return row[7], row[12]


def test_a_completion_at_the_last_moment_wins(store: Store, clock: FrozenClock) -> None:
    run, token = waiting(store, 1_000)
    clock.advance(0.999)
    assert store.run_sync(tokens.complete, token, '"yes"') == "completed"
    clock.advance(5)
    assert store.run_sync(due.go_on) == 0
    assert outcome(store, run) == ("done", '"yes"')
    assert state(store, run) == "ready"


@pytest.mark.parametrize("first", ["completion", "time-out"])
def test_a_completion_comes_too_late_whether_or_not_the_run_was_told(
    store: Store, clock: FrozenClock, first: str
) -> None:
    """The clock decides, and not who is quicker."""
    run, token = waiting(store, 1_000)
    clock.advance(1)
    if first == "time-out":
        assert store.run_sync(due.go_on) == 1
    assert store.run_sync(tokens.complete, token, '"yes"') == "expired"
    store.run_sync(due.go_on)
    assert outcome(store, run) == ("expired", None)
    assert state(store, run) == "ready"


def test_a_time_out_in_the_middle_of_a_completion(store: Store, clock: FrozenClock) -> None:
    """The token and the run that waits for it tell the same: what has been completed has not timed out."""
    run, token = waiting(store, 1_000)
    clock.advance(0.999)
    sweeps: list[threading.Thread] = []

    def time_out() -> None:
        clock.advance(0.001)
        sweep = threading.Thread(target=lambda: store.run_sync(due.go_on))
        sweep.start()
        sweep.join(1)  # it cannot end before the completion does; where it could, it would be done by now
        sweeps.append(sweep)

    answer = store.run_sync(lambda tx: tokens.complete(between(tx, "complete_token", time_out), token, "1"))
    for sweep in sweeps:
        sweep.join(30)
    assert (answer, outcome(store, run)) == ("completed", ("done", "1"))


def test_a_completion_in_the_middle_of_a_time_out(store: Store, clock: FrozenClock) -> None:
    run, token = waiting(store, 1_000)
    clock.advance(1)
    answers: list[str] = []
    threads: list[threading.Thread] = []

    def complete() -> None:
        thread = threading.Thread(target=lambda: answers.append(store.run_sync(tokens.complete, token, "1")))
        thread.start()
        thread.join(1)
        threads.append(thread)

    store.run_sync(lambda tx: due.go_on(between(tx, "expire_entries", complete)))
    for thread in threads:
        thread.join(30)
    assert (answers, outcome(store, run)) == (["expired"], ("expired", None))


def test_in_a_test_of_an_app_it_just_works() -> None:
    app = Holdfast()

    @app.task
    async def approve(n: int, ctx: AsyncContext) -> str:
        token = await ctx.token(Approval, timeout="2d")
        try:
            return (await ctx.wait_for(token)).by
        except WaitTimedOut:
            return "nobody"

    with app.testing() as jobs:
        run = jobs.run(approve, 1)
        assert run.status == "waiting"
        (token,) = app.tokens.list(status="open")
        assert app.tokens.complete(token.id, {"by": "Ada"}) == "completed"
        jobs.work()
        assert run.output == "Ada"
    with app.testing() as jobs:
        run = jobs.run(approve, 1)
        jobs.advance("2d")
        assert run.output == "nobody"
        (token,) = app.tokens.list(status="expired")
        assert app.tokens.complete(token.id, {"by": "Ada"}) == "expired"


# -- what is said of it -----------------------------------------------------------------------------------------------


def test_the_second_one_is_told_so_and_changes_nothing(app: Holdfast) -> None:
    token = app.tokens.create(Approval)
    assert app.tokens.retrieve(token).value is None
    assert app.tokens.complete(token, Approval(by="Ada")) == "completed"
    before = app.tokens.retrieve(token)
    assert app.tokens.complete(token, Approval(by="Bob")) == "already"
    assert app.tokens.complete(token.id, "what would not fit") == "already"
    after = app.tokens.retrieve(token)
    assert (after.status, after.value) == ("completed", Approval(by="Ada"))
    assert (after.completed_at, after.created_at) == (before.completed_at, before.created_at)


@pytest.mark.parametrize("token_id", ["", "01m815cj99egxrar56wx5p5qwf", "é" * 5000])
def test_one_that_is_not_known(app: Holdfast, token_id: str) -> None:
    assert app.tokens.complete(token_id, 1) == "unknown"
    with pytest.raises(TokenUnknown, match="no such token"):
        app.tokens.retrieve(token_id)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({}, "lacks by"),
        ({"by": 5}, "by: should be of type string"),
        ("Ada", "should be of type object"),
        ({"by": "Ada", "at": "tomorrow"}, "at: fits none of its types"),
    ],
)
def test_a_value_that_does_not_fit_changes_nothing(app: Holdfast, value: Any, problem: str) -> None:
    """By its id, where the type is not known, the JSON schema is asked; with the token, its type."""
    token = app.tokens.create(Approval)
    with pytest.raises(PayloadInvalid) as refused:
        app.tokens.complete(token.id, value)
    assert refused.value.problems == (problem,)
    with pytest.raises(PayloadInvalid):
        app.tokens.complete(token, value)
    assert app.tokens.retrieve(token.id).status == "open"
    assert app.tokens.complete(token.id, {"by": "Ada", "at": "2027-01-01T00:00:00Z"}) == "completed"


def test_a_value_that_is_too_large(database_url: str) -> None:
    app = Holdfast(database=database_url, payload_limit=100)
    token = app.tokens.create()
    with pytest.raises(TooLarge, match="payload_limit"):
        app.tokens.complete(token.id, "x" * 99)
    assert app.tokens.complete(token.id, "x" * 98) == "completed"
    app.close()


@pytest.mark.parametrize("by", ["id", "token"])
def test_a_secret_is_shown_to_nobody(app: Holdfast, by: str) -> None:
    token = app.tokens.create(Login)
    app.tokens.complete(token.id if by == "id" else token, {"pin": "0417"})  # type: ignore[call-overload]
    assert app.tokens.retrieve(token.id).value == {"pin": "**********"}
    read = app.tokens.retrieve(token).value
    assert read is not None
    assert read.pin.get_secret_value() == "0417"


def test_a_key_gives_the_earlier_token(app: Holdfast) -> None:
    first = app.tokens.create(Approval, idempotency_key="order-7", timeout="1d")
    again = app.tokens.create(Approval, idempotency_key="order-7", timeout="9d")
    other = app.tokens.create(Approval, idempotency_key="order-8")
    assert (again.id, again.url) == (first.id, first.url)
    assert other.id != first.id
    stands = app.tokens.retrieve(first)
    assert stands.expires_at is not None
    assert stands.expires_at - stands.created_at == datetime.timedelta(days=1)


def test_found_by_tags_and_status(app: Holdfast) -> None:
    a = app.tokens.create(tags=["order", "eu"])
    b = app.tokens.create(tags=["order", "us"])
    c = app.tokens.create(timeout=0)

    def ids(**wanted: Any) -> list[str]:
        return [each.id for each in app.tokens.list(**wanted)]

    assert ids() == [c.id, b.id, a.id]
    assert ids(tag="order") == [b.id, a.id]
    assert ids(tag=["order", "eu"]) == ids(tag=["eu", "order"]) == [a.id]
    assert ids(tag=["eu", "us"]) == ids(tag="no such") == []
    assert ids(status="open") == [b.id, a.id]
    assert ids(status="expired") == [c.id]
    app.tokens.complete(a.id)
    assert ids(status="completed") == ids(status="completed", tag="order") == [a.id]
    assert ids(status="open", tag="order") == [b.id]
    first = app.tokens.list(limit=2)
    assert [each.id for each in first] == [c.id, b.id]
    last = app.tokens.list(limit=2, cursor=first.next_cursor)
    assert ([each.id for each in last], last.next_cursor) == ([a.id], None)
    assert app.tokens.retrieve(b.id).tags == ["order", "us"]


@pytest.mark.parametrize(
    "wrong", [{"tags": "order"}, {"tags": [5]}, {"timeout": "soon"}, {"idempotency_key": ""}, {"timeout": -1}]
)
def test_an_option_that_cannot_be_used_makes_no_token(app: Holdfast, wrong: Any) -> None:
    with pytest.raises(InvalidOption):
        app.tokens.create(**wrong)
    assert list(app.tokens.list()) == []


async def test_the_code_of_a_task_makes_none_that_a_replay_would_make_anew(inside: Inside) -> None:
    @inside.app.task
    async def work(n: int, ctx: AsyncContext) -> list[str]:
        with pytest.raises(NotDurable, match=r"ctx\.token"):
            await inside.app.tokens.acreate(Approval)
        keyed = await inside.app.tokens.acreate(Approval, idempotency_key="k")

        async def made() -> str:
            return (await inside.app.tokens.acreate(Approval)).id

        return [keyed.id, await ctx.step(made)]

    inside.start()
    run = await inside.run(work, 1)
    assert run.status == "completed", run.error
    assert sorted(run.output) == sorted(each.id for each in await inside.app.tokens.alist())


def test_they_are_forgotten_some_time_after_they_were_over(store: Store, clock: FrozenClock) -> None:
    def make(timeout_ms: int | None = None, key: str | None = None) -> str:
        token = NewToken(id=new_id(), secret="s", timeout_ms=timeout_ms, tags='["t"]', idempotency_key=key)
        return store.run_sync(tokens.create, token)[0].id

    completed, expired, still = make(key="k"), make(1_000), make()
    store.run_sync(tokens.complete, completed, "1")
    day = 86_400_000
    clock.advance("1d")
    assert store.run_sync(tokens.forget, day) == 0
    clock.advance("2s")
    assert store.run_sync(tokens.forget, day) == 2
    assert [store.read_sync(tokens.read, each) is None for each in (completed, expired, still)] == [True, True, False]
    found = store.read_sync(tokens.page, tokens.Search(tags=("t",)))
    assert [each.id for each in found] == [still]
    assert make(key="k") != completed


def test_its_url_is_where_the_server_is_found(database_url: str) -> None:
    app = Holdfast(database=database_url, public_url="https://jobs.example.com/holdfast/")
    one, other = app.tokens.create(), app.tokens.create()
    head, _, guessed = one.url.rpartition("/")
    assert head == f"https://jobs.example.com/holdfast/api/v1/waitpoints/tokens/{one.id}/callback"
    assert len(guessed) >= 22
    assert not other.url.endswith(guessed)
    assert app.tokens.retrieve(one.id).url == one.url
    app.close()
    for wrong in ("jobs.example.com", "ftp://x", "https://", "https://x/?a=b", "https://me:pw@x"):
        with pytest.raises(InvalidOption, match="public_url"):
            Holdfast(public_url=wrong)
