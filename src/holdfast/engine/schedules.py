"""Schedules: made, changed, paused, removed, and kept in step with the code that declares them.

Code and deploys: each app's declared schedules are one *declaration*, known by its digest. The one in force is the
newest that anybody has announced. An old worker that starts again in the middle of a deploy announces one that was
overtaken, and changes nothing; only when no live worker has the one in force any more, as after a roll-back, one that
live workers do have takes its place. A schedule that is not in it any more is removed, one that was changed keeps its
identity, and whoever has paused it is obeyed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from holdfast import recurrence
from holdfast.engine import catalogue
from holdfast.engine.ticks import SlotRow, Template, jitter_of, make_of, rule_of, run_of, unfinished
from holdfast.engine.trigger import RouteName, insert
from holdfast.errors import InvalidOption
from holdfast.ids import new_id
from holdfast.machine import machine_in
from holdfast.records import NewSchedule, QueueEntry, ScheduleRecord, SlotRecord
from holdfast.recurrence import Rule
from holdfast.storage.base import Tx

KEPT: Final = 20  # declarations of an app


# -- one schedule -----------------------------------------------------------------------------------------------------


def create(tx: Tx, new: NewSchedule) -> ScheduleRecord:
    """Make a schedule; one with a key that is there already is changed to this."""
    ensure_names(tx, new)
    if new.key is not None:
        known = tx.row("schedule_of_key", owner=new.owner, key=new.key)
        if known is None and not put(tx, new):  # somebody else has just made it
            known = tx.row("schedule_of_key", owner=new.owner, key=new.key)
        if known is not None:
            new.id = known[0]
            change(tx, new)
    else:
        put(tx, new)
    return found(tx, new.id)


def change(tx: Tx, new: NewSchedule) -> ScheduleRecord | None:
    """Make the schedule with this id what is said here. A rule that stays the same keeps its next slot, and its start;
    with another one no slot is taken up that was dealt with before. None: there is no such schedule."""
    before = locked(tx, new.id)
    if before is None:
        return None
    ensure_names(tx, new)
    rule, old = recurrence.seeded(rule_of(new.rule), new.id), rule_of(before.rule)
    if rule._replace(start=old.start) == old:
        rule = old
    resumed = before.paused_at is not None and not new.paused  # what was missed meanwhile is not made up for
    begin = Beginning(before.slot_at, before.problem)
    if rule is not old or resumed:
        begin = beginning(rule, tx.now(), before.last_at)
    write(tx, "change_schedule", new, rule, begin)
    return found(tx, new.id)


class Beginning(NamedTuple):
    """The next slot of a schedule, or what is wrong with its rule."""

    slot_at: int | None
    problem: str | None = None


def beginning(rule: Rule, now: int, last_at: int | None) -> Beginning:
    """Where a schedule goes on, after the last slot that it has had."""
    try:
        slot_at = recurrence.first(rule, now)
        if slot_at is not None and last_at is not None and slot_at <= last_at:
            slot_at = recurrence.after(rule, last_at)
    except InvalidOption as error:  # declared by code: it must not keep workers from starting
        return Beginning(None, str(error))
    return Beginning(slot_at)


def put(tx: Tx, new: NewSchedule) -> bool:
    """Enter a new schedule. False if there is one with its key."""
    rule = recurrence.seeded(rule_of(new.rule), new.id)
    return write(tx, "insert_schedule", new, rule, beginning(rule, tx.now(), None))


def write(tx: Tx, statement: str, new: NewSchedule, rule: Rule, begin: Beginning) -> bool:
    slot_at = begin.slot_at
    next_at = None if slot_at is None or new.paused else slot_at + jitter_of(new.id, new.jitter_ms)
    said = msgspec.structs.asdict(new) | {"rule": msgspec.json.encode(rule).decode(), "paused": int(new.paused)}
    if statement == "change_schedule":
        del said["owner"], said["key"]
    return bool(tx.rows(statement, **said, slot_at=slot_at, next_at=next_at, problem=begin.problem))


def set_paused(tx: Tx, schedule_id: str, paused: bool) -> ScheduleRecord | None:
    """Pause a schedule, or resume it: slots of the meantime are not made up for. None: there is no such schedule."""
    before = locked(tx, schedule_id)
    if before is None:
        return None
    said = {name: getattr(before, name) for name in NewSchedule.__struct_fields__ if name != "paused"}
    return change(tx, NewSchedule(**said, paused=paused))


def remove(tx: Tx, ids: Sequence[str]) -> list[str]:
    """Remove schedules, and what is known of their slots; their runs stay. Answers those that there were."""
    gone = [row[0] for row in tx.rows("delete_schedules", ids=list(ids))]
    if gone:
        tx.rows("delete_slots", ids=gone)
    return gone


def run_now(tx: Tx, schedule_id: str) -> str | None:
    """Make a run at once, whatever the rule says, and whether it is paused or not; the next slot is none of its
    business. None: there is no such schedule."""
    schedule = locked(tx, schedule_id)
    if schedule is None:
        return None
    at, run_id = tx.now(), new_id()
    while at == schedule.slot_at or not tx.batch("insert_slots", [SlotRow(schedule_id, at, "made", run_id)]).rows():
        at += 1
    queue, options = tx.row("defaults_of_task", id=schedule.task) or (None, None)
    template = Template(
        schedule.id, schedule.external_id, schedule.rule, schedule.make, schedule.made_at, queue, options
    )
    insert(tx, [run_of(template, SlotRow(schedule_id, at, "made", run_id), schedule.made_at)])()
    if not (schedule.last_run_id and unfinished(tx, [schedule.last_run_id])):
        tx.rows("set_last_run", id=schedule_id, run_id=run_id)
    return run_id


def ensure_names(tx: Tx, new: NewSchedule) -> None:
    """Whoever makes a schedule names its queue, perhaps for the first time."""
    make = make_of(new.make)
    queue = make.queue or f"task/{make.task}"
    _, usual = tx.row("defaults_of_task", id=make.task) or (None, None)
    machines = {None, machine_in(make.options), machine_in(usual)}
    routes = [RouteName(queue, make.task, machine) for machine in machines]
    catalogue.ensure_names(tx, [QueueEntry(name=queue)], routes)


# -- reading ----------------------------------------------------------------------------------------------------------


def locked(tx: Tx, schedule_id: str) -> ScheduleRecord | None:
    row = tx.row("lock_schedule", id=schedule_id)
    return None if row is None else ScheduleRecord(*row)


def found(tx: Tx, schedule_id: str) -> ScheduleRecord:
    return ScheduleRecord(*tx.rows("schedules", ids=[schedule_id])[0])


def retrieve(tx: Tx, schedule_id: str) -> ScheduleRecord | None:
    row = tx.row("schedules", ids=[schedule_id])
    return None if row is None else ScheduleRecord(*row)


def of_key(tx: Tx, owner: str, key: str) -> ScheduleRecord | None:
    """The schedule with this key of this owner."""
    row = tx.row("schedule_of_key", owner=owner, key=key)
    return None if row is None else retrieve(tx, row[0])


def page(
    tx: Tx, n: int, before: str | None = None, *, task: str | None = None, external_id: str | None = None
) -> list[ScheduleRecord]:
    """Up to ``n`` schedules, the newest first; of a task or an external id, if one is given."""
    before = before or "~"
    if external_id is not None:
        rows = tx.rows("list_schedules_of_external_id", external_id=external_id, before=before, n=n)
        return [each for row in rows if task in (None, (each := ScheduleRecord(*row)).task)]
    if task is not None:
        return [ScheduleRecord(*row) for row in tx.rows("list_schedules_of_task", task=task, before=before, n=n)]
    return [ScheduleRecord(*row) for row in tx.rows("list_schedules", before=before, n=n)]


def slots(tx: Tx, schedule_id: str, n: int, before: int = 2**62) -> list[SlotRecord]:
    """The slots that a schedule has had, the last one first."""
    return [SlotRecord(*row) for row in tx.rows("slots_of", id=schedule_id, before=before, n=n)]


# -- what code declares -----------------------------------------------------------------------------------------------


def declare(tx: Tx, app: str, declared: Sequence[NewSchedule]) -> bool:
    """What the code of an app declares, all of it. Answers whether it is in force now."""
    body = body_of(declared)
    digest = digest_of(body)
    known = tx.rows("declarations", app=app)
    if not known and not declared:
        return True  # an app that has never had any
    if digest not in {row[0] for row in known}:
        put_in_force(tx, app, digest, body, known[-1][1] + 1 if known else 1)
        return True
    if digest == known[-1][0]:
        apply(tx, app, body)
        return True
    return step(tx, app) == digest


def digest(declared: Sequence[NewSchedule]) -> str:
    """What a declaration is known by."""
    return digest_of(body_of(declared))


def body_of(declared: Sequence[NewSchedule]) -> str:
    return msgspec.json.encode([without_id(each) for each in declared]).decode()


def without_id(declared: NewSchedule) -> NewSchedule:
    rule = rule_of(declared.rule)._replace(start=0)
    return msgspec.structs.replace(declared, id="", rule=msgspec.json.encode(rule).decode())


def digest_of(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()[:32]


def step(tx: Tx, app: str) -> str | None:
    """Let an app's schedules follow what its live workers have. Answers the digest of what is in force."""
    known = tx.rows("declarations", app=app)
    if not known:
        return None
    digest, seq, _, alive = known[-1]
    others = [row for row in known if row[3]]
    if not alive and others:
        digest, _, body, _ = others[-1]
        put_in_force(tx, app, digest, body, seq + 1)
    return str(digest)


def out_of_step(tx: Tx) -> list[str]:
    """The apps of which no live worker has what is in force, while others have something else."""
    return [row[0] for row in tx.rows("apps_out_of_step")]


def put_in_force(tx: Tx, app: str, digest: str, body: str, seq: int) -> None:
    tx.rows("put_declaration", app=app, digest=digest, seq=seq, body=body)
    tx.rows("forget_declarations", app=app, seq=seq - KEPT)
    apply(tx, app, body)


def apply(tx: Tx, app: str, body: str) -> None:
    """Make the schedules of an app those of a declaration: added, changed, removed."""
    declared = {each.key: each for each in msgspec.json.decode(body, type=list[NewSchedule])}
    there = {row[1]: row[0] for row in tx.rows("schedules_of_owner", owner=app)}
    remove(tx, [schedule_id for key, schedule_id in there.items() if key not in declared])
    for key, new in declared.items():
        new.rule = msgspec.json.encode(rule_of(new.rule)._replace(start=tx.now())).decode()
        if key not in there:
            new.id = new_id()
            ensure_names(tx, new)
            put(tx, new)
            continue
        before = found(tx, there[key])
        new.id, new.paused = before.id, before.paused_at is not None
        if differs(new, before):
            change(tx, new)


def differs(new: NewSchedule, before: ScheduleRecord) -> bool:
    rule = rule_of(before.rule)
    said = (
        rule_of(new.rule)._replace(start=rule.start, seed=rule.seed),
        new.make,
        new.catch_up,
        new.overlap,
        new.jitter_ms,
        new.task,
    )
    return said != (rule, before.make, before.catch_up, before.overlap, before.jitter_ms, before.task)
