"""`app.schedules`, schedules that tasks declare, and what their runs are told, on a clock that stands still."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from holdfast import (
    AsyncContext,
    Context,
    Cron,
    Holdfast,
    InvalidOption,
    InvalidTask,
    PayloadInvalid,
    Queue,
    RetryAfter,
    RRule,
    Slot,
    UnknownSchedule,
)
from holdfast.testing import Jobs

MIDNIGHT = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def app() -> Holdfast:
    app = Holdfast(":memory:")

    @app.task
    def greet(name: str, ctx: Context) -> Any:
        return [name, ctx.slot and ctx.slot.at]

    @app.task
    async def nightly(slot: Slot, ctx: AsyncContext) -> bool:
        return ctx.slot == slot

    @app.task
    def maybe(slot: Slot | None = None) -> bool:
        return slot is None

    return app


@pytest.fixture
def jobs(app: Holdfast) -> Iterator[Jobs]:
    with app.testing(at=MIDNIGHT + HOUR / 2) as jobs:
        yield jobs


def outputs(app: Holdfast, jobs: Jobs, task: str) -> list[Any]:
    return [run.output for run in jobs.triggered(app.tasks[task])]


# -- making, and what runs are told -----------------------------------------------------------------------------------


def test_a_schedule_makes_runs_with_its_payload(app: Holdfast, jobs: Jobs) -> None:
    made = app.schedules.create(app.tasks["greet"], Cron("0 * * * *"), "Ada", external_id="user-1")
    assert (made.task, made.payload, made.external_id, made.status) == ("greet", "Ada", "user-1", "active")
    assert made.next_at == MIDNIGHT + HOUR
    jobs.advance("3h")
    assert outputs(app, jobs, "greet") == [["Ada", f"2026-01-05T0{hour}:00:00Z"] for hour in (1, 2, 3)]
    now = app.schedules.retrieve(made.id)
    assert (now.previous_at, now.next_at) == (MIDNIGHT + 3 * HOUR, MIDNIGHT + 4 * HOUR)
    assert now.last_run_id == jobs.triggered(app.tasks["greet"])[-1].id
    assert [slot.at for slot in app.schedules.slots(made, limit=2)] == [MIDNIGHT + 3 * HOUR, MIDNIGHT + 2 * HOUR]


async def test_the_same_in_async_code(app: Holdfast, jobs: Jobs) -> None:
    made = await app.schedules.acreate(app.tasks["greet"], Cron("0 * * * *"), "Ada")
    assert await app.schedules.aretrieve(made) == made
    assert await app.schedules.alist(task="greet") == [made]
    changed = await app.schedules.aupdate(made, Cron("45 * * * *"), payload="Grace")
    assert (changed.next_at, changed.payload) == (MIDNIGHT + HOUR * 0.75, "Grace")
    assert (await app.schedules.apause(made)).status == "paused"
    assert (await app.schedules.aresume(made)).status == "active"
    await jobs.aadvance("1h")
    handle = await app.schedules.arun_now(made)
    assert (await handle.aresult())[0] == "Grace"
    assert len(await app.schedules.aslots(made)) == 2
    await app.schedules.adelete(made)
    assert await app.schedules.alist() == []


def test_a_slot_tells_what_was_and_what_comes(app: Holdfast, jobs: Jobs) -> None:
    nightly = app.tasks["nightly"]
    berlin = ZoneInfo("Europe/Berlin")
    made = app.schedules.create(nightly, Cron("0 2 * * *", timezone="Europe/Berlin"), external_id="user-1")
    jobs.advance("2d")
    first, second = jobs.payloads(nightly)
    assert first.at.astimezone(berlin) == datetime(2026, 1, 5, 2, tzinfo=berlin)
    assert (first.previous, second.previous) == (None, first.at)
    assert (second.schedule_id, second.external_id, second.timezone) == (made.id, "user-1", "Europe/Berlin")
    assert second.upcoming == [second.at + n * DAY for n in range(1, 6)]
    assert outputs(app, jobs, "nightly") == [True, True]


def test_a_task_that_was_triggered_has_no_slot(app: Holdfast, jobs: Jobs) -> None:
    assert jobs.run(app.tasks["greet"], "Ada").output == ["Ada", None]
    assert jobs.run(app.tasks["maybe"]).output is True
    app.schedules.create(app.tasks["maybe"], Cron("0 * * * *"))
    jobs.advance("1h")
    assert outputs(app, jobs, "maybe") == [True, False]


def test_what_a_schedule_says_of_its_runs(app: Holdfast, jobs: Jobs) -> None:
    app.schedules.create(
        app.tasks["greet"],
        Cron("0 * * * *"),
        "Ada",
        queue=Queue("slow", concurrency_limit=1),
        tags=["hourly"],
        priority=5,
        ttl="1h",
        metadata={"a": 1},
        concurrency_key="k",
        max_attempts=1,
    )
    jobs.advance("1h")
    (run,) = jobs.triggered(app.tasks["greet"])
    assert (run.queue, run.tags, run.priority, run.metadata) == ("slow", ["hourly"], 5, {"a": 1})
    assert (run.concurrency_key, run.expires_at) == ("k", MIDNIGHT + 2 * HOUR)


def test_a_task_by_name_whose_code_is_elsewhere(app: Holdfast, jobs: Jobs) -> None:
    made = app.schedules.create("train", Cron("0 * * * *"), {"epochs": 3})
    jobs.advance("1h")
    (run,) = app.runs.list(task="train")
    assert app.runs.retrieve(run.id).payload == made.payload == {"epochs": 3}


def test_a_rule_without_a_start_begins_at_once(app: Holdfast, jobs: Jobs) -> None:
    app.schedules.create(app.tasks["greet"], RRule("FREQ=HOURLY;COUNT=3"), "Ada")
    jobs.advance("1d")
    assert [slot for _, slot in outputs(app, jobs, "greet")] == [
        "2026-01-05T00:30:00Z", "2026-01-05T01:30:00Z", "2026-01-05T02:30:00Z",
    ]  # fmt: skip
    assert [each.status for each in app.schedules.list()] == ["ended"]


def test_rules_with_a_start_of_their_own() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    rule = RRule("FREQ=DAILY", timezone="Europe/Berlin", dtstart=datetime(2026, 2, 1, 9, tzinfo=UTC))
    assert rule.rule(0).text == "DTSTART:20260201T100000\nRRULE:FREQ=DAILY"
    assert (
        RRule("FREQ=DAILY", dtstart=datetime(2026, 2, 1, 9)).rule(0).text == "DTSTART:20260201T090000\nRRULE:FREQ=DAILY"
    )
    lines = "DTSTART;TZID=Europe/Berlin:20260201T090000\nRRULE:FREQ=DAILY"
    assert ZoneInfo(RRule(lines).timezone or "") == berlin
    with pytest.raises(InvalidOption, match="DTSTART of its own"):
        RRule(lines, dtstart=datetime(2026, 2, 1, 9))


def test_the_same_deduplication_key_changes_the_same_schedule(app: Holdfast, jobs: Jobs) -> None:
    greet = app.tasks["greet"]
    first = app.schedules.create(greet, Cron("0 * * * *"), "Ada", deduplication_key="user-1", external_id="a")
    second = app.schedules.create(greet, Cron("@daily"), "Grace", deduplication_key="user-1")
    assert (second.id, second.payload, second.external_id) == (first.id, "Grace", None)
    assert second.deduplication_key == "user-1"
    assert app.schedules.list() == [second]


def test_a_task_that_is_tried_again_makes_no_second_schedule(app: Holdfast, jobs: Jobs) -> None:
    @app.task
    async def sign_up(user: int, ctx: AsyncContext) -> None:
        first = await app.schedules.acreate("remind", Cron("@daily"), user)
        second = await app.schedules.acreate("remind", Cron("@daily"), user)
        assert first.id != second.id
        if ctx.attempt.number == 1:
            raise RetryAfter("1s")

    @app.task
    def sign_up_too(user: int, ctx: Context) -> None:
        app.schedules.create("remind", Cron("@daily"), user)
        if ctx.attempt.number == 1:
            raise RetryAfter("1s")

    for task in (sign_up, sign_up_too):
        jobs.run(task, 1)
    jobs.advance("1s")
    assert [run.status for task in (sign_up, sign_up_too) for run in jobs.triggered(task)] == ["completed"] * 2
    assert len(app.schedules.list(task="remind")) == 3


# -- changing ---------------------------------------------------------------------------------------------------------


def test_an_update_changes_what_it_says_and_nothing_else(app: Holdfast, jobs: Jobs) -> None:
    made = app.schedules.create(
        app.tasks["greet"], Cron("0 * * * *", overlap="skip"), "Ada", external_id="a", tags=["x"], max_attempts=2
    )
    assert app.schedules.update(made).next_at == made.next_at
    later = app.schedules.update(made.id, Cron("@daily", jitter="1h"))
    assert (later.payload, later.external_id, later.rule) == ("Ada", "a", Cron("@daily", jitter="1h"))
    app.schedules.update(made, Cron("0 * * * *"), payload="Grace", external_id=None, max_duration="1m", priority=3)
    jobs.advance("1h")
    (run,) = jobs.triggered(app.tasks["greet"])
    assert (run.payload, run.tags, run.priority) == ("Grace", ["x"], 3)
    assert app.schedules.retrieve(made).external_id is None
    with pytest.raises(PayloadInvalid):
        app.schedules.update(made, payload=5)


def test_a_paused_schedule_waits_and_makes_up_for_nothing(app: Holdfast, jobs: Jobs) -> None:
    made = app.schedules.create(app.tasks["greet"], Cron("0 * * * *"), "Ada")
    assert app.schedules.pause(made).status == "paused"
    jobs.advance("5h")
    assert app.schedules.resume(made).next_at == MIDNIGHT + 6 * HOUR
    jobs.advance("1h")
    assert len(jobs.triggered(app.tasks["greet"])) == 1


def test_run_now_gives_a_handle(app: Holdfast, jobs: Jobs) -> None:
    made = app.schedules.create(app.tasks["greet"], Cron("@yearly"), "Ada")
    assert app.schedules.run_now(made).result() == ["Ada", "2026-01-05T00:30:00Z"]
    assert app.schedules.retrieve(made).next_at == made.next_at


@pytest.mark.parametrize("verb", ["retrieve", "update", "pause", "resume", "run_now", "delete"])
def test_an_unknown_schedule(app: Holdfast, jobs: Jobs, verb: str) -> None:
    with pytest.raises(UnknownSchedule, match="nobody"):
        getattr(app.schedules, verb)("nobody")


def test_lists_by_task_and_external_id_in_pages(app: Holdfast, jobs: Jobs) -> None:
    greet, maybe = app.tasks["greet"], app.tasks["maybe"]
    made = [app.schedules.create(greet, Cron("@daily"), "Ada", external_id=f"user-{n % 2}") for n in range(4)]
    made.append(app.schedules.create(maybe, Cron("@daily")))
    assert app.schedules.list() == made[::-1]
    assert app.schedules.list(limit=2, before=made[3].id) == [made[2], made[1]]
    assert app.schedules.list(task=maybe) == app.schedules.list(task="maybe") == [made[4]]
    assert app.schedules.list(external_id="user-1") == [made[3], made[1]]


# -- policies ---------------------------------------------------------------------------------------------------------


def test_queue_keeps_runs_in_a_row(app: Holdfast) -> None:
    ended: list[tuple[float, float]] = []

    with app.testing(at=MIDNIGHT) as jobs:

        @app.task(schedule=Cron("0 * * * *", overlap="queue"), id="slow")
        def slow(slot: Slot, ctx: Context) -> None:
            if ctx.attempt.number == 1:
                raise RetryAfter("90m")
            ended.append(((slot.at - MIDNIGHT) / HOUR, (jobs.now - MIDNIGHT) / HOUR))

        jobs.advance("5h")
    assert ended == [(0, 1.5), (1, 3), (2, 4.5)]


# -- declared in code -------------------------------------------------------------------------------------------------


def test_tasks_declare_their_schedules(app: Holdfast) -> None:
    seen: list[str] = []

    @app.task(schedule=[Cron("0 9 * * MON-FRI", timezone="Europe/London"), RRule("FREQ=MONTHLY;BYDAY=3TU;BYHOUR=10")])
    def report(slot: Slot) -> None:
        seen.append(f"{slot.at:%d %H}")

    @app.task(schedule=Cron("@daily"))
    def bare() -> None:
        seen.append("bare")

    @app.task(schedule=Cron("@daily"))
    def usual(name: str = "Ada") -> None:
        seen.append(name)

    with app.testing(at=MIDNIGHT + HOUR) as jobs:
        jobs.advance("1d")
        assert seen == ["05 09", "bare", "Ada"] or seen == ["05 09", "Ada", "bare"]
        assert {(each.task, each.declared) for each in app.schedules.list()} == {
            ("report", True), ("bare", True), ("usual", True),
        }  # fmt: skip
        declared = app.schedules.list(task="bare")[0]
        for change in (lambda: app.schedules.delete(declared), lambda: app.schedules.update(declared, Cron("@hourly"))):
            with pytest.raises(InvalidOption, match="declared in code"):
                change()
        assert app.schedules.pause(declared).status == "paused"
        jobs.advance("7d")
        assert seen.count("bare") == 1
        assert seen.count("Ada") == 8


def test_a_declared_schedule_cannot_give_a_payload(app: Holdfast) -> None:
    with pytest.raises(InvalidTask, match=r"takes a payload that nobody gives .* Let it take a Slot"):

        @app.task(schedule=Cron("@daily"))
        def wrong(name: str) -> None: ...

    with pytest.raises(InvalidOption, match="neither a Cron nor an RRule"):
        app.task(schedule="@daily")  # type: ignore[call-overload]


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (lambda: Cron("every day"), "not a cron expression"),
        (lambda: Cron(""), "no text"),
        (lambda: Cron(5), "no text"),  # type: ignore[arg-type]
        (lambda: Cron("@daily", timezone="Mars"), "no such time zone"),
        (lambda: Cron("@daily", timezone=None), "timezone"),  # type: ignore[arg-type]
        (lambda: Cron("@daily", jitter="soon"), "jitter"),
        (lambda: Cron("@daily", catch_up="some"), "catch_up"),  # type: ignore[arg-type]
        (lambda: Cron("@daily", catch_up=-1), "catch_up"),
        (lambda: Cron("@daily", catch_up=1001), "catch_up"),
        (lambda: Cron("@daily", overlap="wait"), "overlap"),  # type: ignore[arg-type]
        (lambda: RRule("DAILY"), "FREQ|cannot be read"),
        (lambda: RRule("FREQ=DAILY", dtstart="now"), "dtstart"),  # type: ignore[arg-type]
        (lambda: RRule("FREQ=DAILY", dtstart=datetime.max.replace(tzinfo=timezone(timedelta(hours=-2)))), "dtstart"),
    ],
)
def test_what_cannot_be_a_rule(make: Any, wrong: str) -> None:
    with pytest.raises(InvalidOption, match=wrong):
        make()


def test_what_cannot_be_a_schedule(app: Holdfast, jobs: Jobs) -> None:
    greet = app.tasks["greet"]
    for wrong, arguments, options in (
        ("neither a Cron", (greet, "@daily", "Ada"), {}),
        ("never fires", (greet, RRule("FREQ=DAILY;UNTIL=20200101"), "Ada"), {}),
        ("never fires", (greet, RRule("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"), "Ada"), {}),
        ("id of a task", (5, Cron("@daily"), "Ada"), {}),
        ("a task", (None, Cron("@daily"), "Ada"), {}),
        ("delay", (greet, Cron("@daily"), "Ada"), {"delay": "5s"}),
        ("external_id", (greet, Cron("@daily"), "Ada"), {"external_id": 5}),
        ("deduplication_key", (greet, Cron("@daily"), "Ada"), {"deduplication_key": ""}),
        ("payload", (greet, Cron("@daily"), 5), {}),
        ("payload", (greet, Cron("@daily")), {}),
    ):
        with pytest.raises((InvalidOption, PayloadInvalid), match=wrong):
            app.schedules.create(*arguments, **options)  # type: ignore[arg-type]
    assert app.schedules.list() == []
