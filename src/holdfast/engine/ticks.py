"""Ticks: for each slot of a schedule its run, once.

    due        what is due, read without a lock
    decide     what is to be done for it, and when it is due again: pure, and outside of any transaction
    fire       does it, if the schedule is still as it was read
    follow     makes the runs of slots that waited for the run before them to end

Any number of schedulers may do this side by side. A slot is dealt with by whoever moves its schedule on to the next
one, under its lock; slots only ever go forward, and each has a row of its own, so that neither another scheduler nor a
clock that was set back can fire one again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec

from holdfast import jsontext, recurrence
from holdfast.engine.cancel import cancel
from holdfast.engine.trigger import insert
from holdfast.ids import hash63, new_id
from holdfast.records import Make, NewRun
from holdfast.recurrence import Rule
from holdfast.storage.base import Tx

DUE: Final = 1000
ON_TIME_MS: Final = 60_000  # a slot that nobody could fire within this time was missed
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Due(NamedTuple):
    """A schedule whose next slot has come."""

    id: str
    rule: str
    make: str
    jitter_ms: int
    catch_up: int
    generation: int
    slot_at: int


class Tick(NamedTuple):
    """What is to be done for a schedule: these ``slots`` are fired, and then it goes on at another one."""

    id: str
    generation: int
    slot_at: int
    slots: tuple[int, ...]
    last_at: int
    following_at: int | None
    next_at: int | None
    problem: str | None = None


class Outlook(NamedTuple):
    """When the next schedule is due, and whether slots wait for a run to end."""

    due_in_ms: int | None
    waiting: bool


class Fired(NamedTuple):
    """What came of ticks: the runs that were made, and how many schedules were moved on."""

    runs: list[str]
    moved: int


# -- reading and deciding ---------------------------------------------------------------------------------------------


def outlook(tx: Tx) -> Outlook:
    due_in, waiting = tx.rows("next_schedule")[0]
    return Outlook(due_in, bool(waiting))


def due(tx: Tx, ahead_ms: int = 0, n: int = DUE) -> tuple[int, list[Due]]:
    """The time, and up to ``n`` schedules that are due, or will be in so long."""
    return tx.now(), [Due(*row) for row in tx.rows("due_schedules", ahead_ms=ahead_ms, n=n)]


def decide(schedule: Due, now: int) -> Tick:
    """What is to be done for a schedule that is due at this time.

    Of the slots that have come, the latest ``catch_up`` are fired; without catching up the latest one alone, and only
    if it is on time.
    """
    late = jitter_of(schedule.id, schedule.jitter_ms)
    try:
        rule, _ = rule_of(schedule.rule), make_of(schedule.make)
        following = recurrence.after(rule, schedule.slot_at)
        slots = [schedule.slot_at]
        if following is not None and following + late <= now:
            slots = recurrence.latest(rule, schedule.slot_at, now - late, max(1, schedule.catch_up))
            following = recurrence.after(rule, slots[-1])
    except Exception as error:  # its time zone is gone, its next slot too far, its columns edited: others fire
        return broken(schedule, str(error))
    last = slots[-1]
    if schedule.catch_up == 0 and now - late - last > ON_TIME_MS:
        slots = []
    next_at = None if following is None else following + late
    return Tick(schedule.id, schedule.generation, schedule.slot_at, tuple(slots), last, following, next_at)


def broken(schedule: Due, problem: str) -> Tick:
    """A schedule that does not go on, and why."""
    return Tick(schedule.id, schedule.generation, schedule.slot_at, (), schedule.slot_at, None, None, problem)


@lru_cache(maxsize=20_000)
def rule_of(text: str) -> Rule:
    """The rule in a schedule's column."""
    return msgspec.json.decode(text, type=Rule)


def jitter_of(schedule_id: str, jitter_ms: int) -> int:
    """How much later than its slots a schedule fires: always the same within its window."""
    return hash63("jitter", schedule_id) % (jitter_ms + 1) if jitter_ms else 0


# -- doing ------------------------------------------------------------------------------------------------------------


class Template(NamedTuple):
    """What the runs of a schedule are made of."""

    id: str
    external_id: str | None
    rule: str
    make: str
    made_at: int | None
    queue: str | None
    options: str | None


class Locked(NamedTuple):
    """A schedule whose lock is ours."""

    template: Template
    overlap: str
    generation: int
    slot_at: int | None
    last_run_id: str | None
    waiting_at: int | None


class SlotRow(msgspec.Struct):
    """A slot and what became of it: the columns of ``insert_slots``."""

    schedule_id: str
    at: int
    outcome: str
    run_id: str | None


class Moved(msgspec.Struct):
    """Where a schedule stands afterwards: the columns of ``advance_schedules``."""

    id: str
    slot_at: int | None
    next_at: int | None
    last_at: int
    made_at: int | None
    last_run_id: str | None
    waiting_at: int | None
    problem: str | None


class Settled(NamedTuple):
    """What became of the slots of one tick."""

    template: Template
    slots: list[SlotRow]
    moved: Moved
    cancels: str | None


def fire(tx: Tx, ticks: Sequence[Tick]) -> Fired:
    """Deal with these slots, as far as nobody else has."""
    rows = tx.rows("lock_due_schedules", ids=sorted(tick.id for tick in ticks))
    locked = {row[0]: Locked(Template(*row[:7]), *row[7:]) for row in rows}
    ours = [(tick, locked[tick.id]) for tick in ticks if tick.id in locked and is_still(tick, locked[tick.id])]
    if not ours:
        return Fired([], 0)
    busy = unfinished(tx, [row.last_run_id for _, row in ours if row.overlap != "allow" and row.last_run_id])
    settled = [settle(tick, row, busy=row.last_run_id in busy) for tick, row in ours]
    tx.batch("advance_schedules", [each.moved for each in settled])
    new = set(tx.batch("insert_slots", [slot for each in settled for slot in each.slots]).rows())
    runs = [run for each in settled for run in runs_of(each.template, each.slots, new)]
    if late := [each.cancels for each in settled if each.cancels]:
        cancel(tx, late)
    if runs:
        insert(tx, runs)()
    return Fired([run.id for run in runs], len(ours))


def is_still(tick: Tick, row: Locked) -> bool:
    return (tick.generation, tick.slot_at) == (row.generation, row.slot_at)


def unfinished(tx: Tx, ids: list[str]) -> set[str]:
    return {row[0] for row in tx.rows("unfinished", ids=ids)} if ids else set()


def settle(tick: Tick, row: Locked, *, busy: bool) -> Settled:
    """What becomes of each slot, where the run of an earlier one may not have ended."""
    slots = [SlotRow(tick.id, at, "made", None) for at in tick.slots]
    cancels, waiting_at = None, row.waiting_at
    if row.overlap == "cancel":
        cancels = row.last_run_id if busy and slots else None
        for slot in slots[:-1]:
            slot.outcome = "skipped"
    elif row.overlap != "allow":
        busy = busy or waiting_at is not None  # whose turn comes first
        for slot in slots:
            if busy:
                slot.outcome = "waiting" if row.overlap == "queue" and waiting_at is None else "skipped"
                waiting_at = slot.at if slot.outcome == "waiting" else waiting_at
            busy = True
    made_at, last_run_id = row.template.made_at, row.last_run_id
    for slot in slots:
        if slot.outcome == "made":
            slot.run_id = last_run_id = new_id()
            made_at = slot.at
    moved = Moved(
        tick.id, tick.following_at, tick.next_at, tick.last_at, made_at, last_run_id, waiting_at, tick.problem
    )
    return Settled(row.template, slots, moved, cancels)


def follow(tx: Tx, n: int = DUE) -> list[str]:
    """Make the runs of slots whose turn has come. Answers them; call again while n."""
    rows = [(Template(*row[:7]), row[7]) for row in tx.rows("waiting_schedules", n=n)]
    if not rows:
        return []
    slots = [SlotRow(template.id, at, "made", new_id()) for template, at in rows]
    tx.batch("settle_waiting", [Following(slot.schedule_id, slot.run_id or "") for slot in slots])
    tx.batch("settle_slots", slots)
    runs = [run_of(template, slot, template.made_at) for (template, _), slot in zip(rows, slots, strict=True)]
    insert(tx, runs)()
    return [run.id for run in runs]


class Following(msgspec.Struct):
    """The columns of ``settle_waiting``."""

    id: str
    run_id: str


def prune(tx: Tx, older_ms: int, n: int = DUE) -> int:
    """Forget slots of long ago. Answers how many; call again while n."""
    return len(tx.rows("prune_slots", older_ms=older_ms, n=n))


# -- runs -------------------------------------------------------------------------------------------------------------


def runs_of(template: Template, slots: Sequence[SlotRow], new: set[tuple[Any, ...]]) -> list[NewRun]:
    """The runs of the slots that were made, and that nobody has had before."""
    runs, previous = [], template.made_at
    for slot in slots:
        if slot.outcome == "made" and (slot.schedule_id, slot.at) in new:
            runs.append(run_of(template, slot, previous))
            previous = slot.at
    return runs


def run_of(template: Template, slot: SlotRow, previous: int | None) -> NewRun:
    """The run of a slot. Where the schedule says nothing, the task's defaults count, as they were announced last."""
    make = make_of(template.make)
    facts = slot_facts(template, slot.at, previous)
    usual: dict[str, Any] = defaults_of(template.options)
    said = {} if make.options is None else jsontext.decode(make.options)
    machine = {"machine": usual["machine"]} if "machine" in usual else {}
    return NewRun(
        id=slot.run_id or new_id(),
        task=make.task,
        queue=make.queue or template.queue or f"task/{make.task}",
        payload=jsontext.encode(facts) if make.payload is None else make.payload,
        concurrency_key=make.concurrency_key,
        priority_ms=usual.get("priority_ms", 0) if make.priority_ms is None else make.priority_ms,
        ttl_ms=usual.get("ttl_ms") if make.ttl_ms is None else make.ttl_ms,
        options=jsontext.encode({**machine, **said, "slot": facts}),
        metadata=make.metadata,
        tags=make.tags,
    )


def slot_facts(template: Template, at: int, previous: int | None) -> dict[str, Any]:
    """A slot as its run is told of it: the fields of `Slot`."""
    rule = rule_of(template.rule)
    return {
        "at": written(at),
        "previous": None if previous is None else written(previous),
        "schedule_id": template.id,
        "external_id": template.external_id,
        "timezone": rule.timezone,
        "rule": list(rule),
    }


@lru_cache(maxsize=10_000)
def make_of(text: str) -> Make:
    return msgspec.json.decode(text, type=Make)


@lru_cache(maxsize=1_000)
def defaults_of(options: str | None) -> dict[str, Any]:
    return {} if options is None else jsontext.decode(options)


def written(at: int) -> str:
    return (EPOCH + timedelta(milliseconds=at)).isoformat()
