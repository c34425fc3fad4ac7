"""`app.schedules`: the schedules of an app, those in its code and those made at run time.

    app.schedules.create(onboard, Cron("@daily"), ada, external_id="user-1")
    app.schedules.update(schedule.id, Cron("@hourly"))
    app.schedules.pause(schedule.id)           resume, run_now, delete, retrieve, list

``x`` is for sync code, ``ax`` for async code. What code declares is changed in the code; it can be paused and run here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar, Unpack, overload

import msgspec

from holdfast import codec, recurrence
from holdfast.client import Client
from holdfast.codec import AnyCodec
from holdfast.context import AsyncContext, Context, running
from holdfast.counts import checked_count
from holdfast.engine import schedules as engine
from holdfast.engine.ticks import make_of
from holdfast.errors import InvalidOption, UnknownSchedule, shown
from holdfast.handle import RunHandle
from holdfast.ids import id_beside, new_id
from holdfast.names import ID_LENGTH, checked_key, checked_name, checked_text
from holdfast.options import Target, new_run, read_trigger_options
from holdfast.queue import Queue, own_queue
from holdfast.records import Make, NewRun, NewSchedule, ScheduleRecord
from holdfast.schedule import Cron, Recurring, RRule, Slot, catch_up_count
from holdfast.scheduled import FiredSlot, Schedule, ScheduleOptions, fired_slot, schedule_of
from holdfast.sizes import check_size, size_of
from holdfast.storage import Tx
from holdfast.task import Task

__all__ = ["Schedules"]

T = TypeVar("T")
R = TypeVar("R")

LIMIT: Final = 100
MOST_LISTED: Final = 10_000


Found = list[Schedule]  # inside the class below, list is the method


class Schedules:
    """The schedules of one app. See `Holdfast.schedules`. Whatever names one raises UnknownSchedule if need be."""

    def __init__(self, client: Client, known: Callable[[str], Task[Any, Any] | None]) -> None:
        self._client, self._known = client, known

    # -- making --

    @overload
    def create(
        self,
        task: Task[None, R] | Task[Context, R] | Task[AsyncContext, R] | Task[Slot, R] | str,
        rule: Cron | RRule,
        payload: None = None,
        /,
        *,
        external_id: str | None = None,
        deduplication_key: str | None = None,
        **options: Unpack[ScheduleOptions],
    ) -> Schedule: ...
    @overload
    def create(
        self,
        task: Task[T, R] | str,
        rule: Cron | RRule,
        payload: T,
        /,
        *,
        external_id: str | None = None,
        deduplication_key: str | None = None,
        **options: Unpack[ScheduleOptions],
    ) -> Schedule: ...
    def create(
        self,
        task: Any,
        rule: Cron | RRule,
        payload: Any = None,
        /,
        *,
        external_id: str | None = None,
        deduplication_key: str | None = None,
        **options: Unpack[ScheduleOptions],
    ) -> Schedule:
        """Make a schedule of any task, with the payload of its runs; without one they get their `Slot`.

        ``external_id`` is yours to find it by. With a ``deduplication_key`` that a schedule has, that one is changed to
        what is said here.

        Raises:
            InvalidOption: an option cannot be used, or the rule never fires, or never again.
            PayloadInvalid, NotSerializable, TooLarge: the payload does not fit the task.

        >>> app.schedules.create(onboard, Cron("@daily"), ada, external_id="user-1")
        """
        new = self._new(task, rule, payload, external_id, deduplication_key, options)
        self._client.prepare([self._like(new)])
        return schedule_of(self._client.write(engine.create, new))

    @overload
    async def acreate(
        self,
        task: Task[None, R] | Task[Context, R] | Task[AsyncContext, R] | Task[Slot, R] | str,
        rule: Cron | RRule,
        payload: None = None,
        /,
        *,
        external_id: str | None = None,
        deduplication_key: str | None = None,
        **options: Unpack[ScheduleOptions],
    ) -> Schedule: ...
    @overload
    async def acreate(
        self,
        task: Task[T, R] | str,
        rule: Cron | RRule,
        payload: T,
        /,
        *,
        external_id: str | None = None,
        deduplication_key: str | None = None,
        **options: Unpack[ScheduleOptions],
    ) -> Schedule: ...
    async def acreate(
        self,
        task: Any,
        rule: Cron | RRule,
        payload: Any = None,
        /,
        *,
        external_id: str | None = None,
        deduplication_key: str | None = None,
        **options: Unpack[ScheduleOptions],
    ) -> Schedule:
        """`create` for async code."""
        new = self._new(task, rule, payload, external_id, deduplication_key, options)
        await self._client.aprepare([self._like(new)])
        return schedule_of(await self._client.awrite(engine.create, new))

    def update(
        self,
        schedule: str | Schedule,
        rule: Cron | RRule | None = None,
        /,
        *,
        payload: Any = ...,
        external_id: Any = ...,
        **options: Unpack[ScheduleOptions],
    ) -> Schedule:
        """Change what is said here; the rest stays. Another rule begins anew, and fires no slot again.

        Raises:
            InvalidOption: it is declared in code, an option cannot be used, or the rule never fires, or never again.

        >>> app.schedules.update(schedule, Cron("@hourly"))
        """
        return schedule_of(self._client.write(self._changed(schedule, rule, payload, external_id, options)))

    async def aupdate(
        self,
        schedule: str | Schedule,
        rule: Cron | RRule | None = None,
        /,
        *,
        payload: Any = ...,
        external_id: Any = ...,
        **options: Unpack[ScheduleOptions],
    ) -> Schedule:
        """`update` for async code."""
        return schedule_of(await self._client.awrite(self._changed(schedule, rule, payload, external_id, options)))

    # -- looking --

    def retrieve(self, schedule: str | Schedule, /) -> Schedule:
        """One schedule."""
        return schedule_of(self._client.read(_one, _id(schedule)))

    async def aretrieve(self, schedule: str | Schedule, /) -> Schedule:
        """`retrieve` for async code."""
        return schedule_of(await self._client.aread(_one, _id(schedule)))

    def list(
        self,
        *,
        task: str | Task[Any, Any] | None = None,
        external_id: str | None = None,
        limit: int = LIMIT,
        before: str | None = None,
    ) -> Found:
        """Schedules, the newest first: up to ``limit``, older than the one with the id ``before``.

        >>> app.schedules.list(external_id="user-1")
        """
        asked = _Asked.of(task, external_id, limit, before)
        return [schedule_of(each) for each in self._client.read(_page, asked)]

    async def alist(
        self,
        *,
        task: str | Task[Any, Any] | None = None,
        external_id: str | None = None,
        limit: int = LIMIT,
        before: str | None = None,
    ) -> Found:
        """`list` for async code."""
        asked = _Asked.of(task, external_id, limit, before)
        return [schedule_of(each) for each in await self._client.aread(_page, asked)]

    def slots(self, schedule: str | Schedule, /, *, limit: int = LIMIT) -> Sequence[FiredSlot]:
        """The slots that a schedule has had, the last one first."""
        return [fired_slot(each) for each in self._client.read(engine.slots, _id(schedule), _limit(limit))]

    async def aslots(self, schedule: str | Schedule, /, *, limit: int = LIMIT) -> Sequence[FiredSlot]:
        """`slots` for async code."""
        return [fired_slot(each) for each in await self._client.aread(engine.slots, _id(schedule), _limit(limit))]

    # -- operating --

    def pause(self, schedule: str | Schedule, /) -> Schedule:
        """Let it fire no more until it is resumed. Its runs go on."""
        return schedule_of(self._client.write(_set_paused, _id(schedule), True))

    async def apause(self, schedule: str | Schedule, /) -> Schedule:
        """`pause` for async code."""
        return schedule_of(await self._client.awrite(_set_paused, _id(schedule), True))

    def resume(self, schedule: str | Schedule, /) -> Schedule:
        """Let a paused schedule go on, at its next slot. Those of the meantime are not made up for."""
        return schedule_of(self._client.write(_set_paused, _id(schedule), False))

    async def aresume(self, schedule: str | Schedule, /) -> Schedule:
        """`resume` for async code."""
        return schedule_of(await self._client.awrite(_set_paused, _id(schedule), False))

    def run_now(self, schedule: str | Schedule, /) -> RunHandle[Any]:
        """Make a run at once, whatever the rule says; a paused one has it, too. Its slot is now."""
        return self._handle(self._client.write(_run_now, _id(schedule)))

    async def arun_now(self, schedule: str | Schedule, /) -> RunHandle[Any]:
        """`run_now` for async code."""
        return self._handle(await self._client.awrite(_run_now, _id(schedule)))

    def delete(self, schedule: str | Schedule, /) -> None:
        """Remove a schedule. The runs it has made stay.

        Raises:
            InvalidOption: it is declared in code.
        """
        self._client.write(_remove, _id(schedule))

    async def adelete(self, schedule: str | Schedule, /) -> None:
        """`delete` for async code."""
        await self._client.awrite(_remove, _id(schedule))

    def __repr__(self) -> str:
        return "<Schedules>"

    # -- reading what was said --

    def _new(
        self,
        task: object,
        rule: object,
        payload: object,
        external_id: str | None,
        deduplication_key: str | None,
        options: ScheduleOptions,
    ) -> NewSchedule:
        name = _task_id(task)
        if name is None:
            raise InvalidOption("A schedule needs a task", seen=None, do='Write create(task, Cron("@daily")).')
        said = _recurring(rule)
        make = self._make(task, name, payload, options)
        return NewSchedule(
            id=self._new_id(),
            task=name,
            rule=self._rule(said),
            make=msgspec.json.encode(make).decode(),
            catch_up=catch_up_count(said.catch_up),
            overlap=said.overlap,
            jitter_ms=said.jitter_ms,
            key=None if deduplication_key is None else checked_key(deduplication_key, option="deduplication_key"),
            external_id=None if external_id is None else checked_key(external_id, option="external_id"),
        )

    def _make(self, task: object, name: str, payload: object, options: ScheduleOptions, *, bare: bool = False) -> Make:
        run = new_run(Target(name, own_queue(name)), "null", read_trigger_options(_checked_options(options)))
        if isinstance(queue := options.get("queue"), Queue):
            self._client.declare(queue)
        return Make(
            task=name,
            queue=run.queue if "queue" in options else None,
            payload=None if bare else self._payload(task, name, payload),
            concurrency_key=run.concurrency_key,
            priority_ms=run.priority_ms if "priority" in options else None,
            ttl_ms=run.ttl_ms,
            options=run.options,
            metadata=run.metadata,
            tags=run.tags,
        )

    def _new_id(self) -> str:
        """An id; in a task's code the same one whenever that is replayed, so that it makes no second schedule."""
        attempt = running.get()
        if attempt is None or attempt.home is not self._client or not attempt.records():
            return new_id()
        return id_beside(attempt.claimed.id, attempt.durable.uuid().int)

    def _like(self, new: NewSchedule) -> NewRun:
        """A run such as it will make: its queue and its task need names in the database."""
        known = self._known(new.task)
        usual = own_queue(new.task) if known is None else known.queue.name
        return NewRun(id=new.id, task=new.task, queue=make_of(new.make).queue or usual)

    def _payload(self, task: object, name: str, payload: object) -> str | None:
        known = task if isinstance(task, Task) else self._known(name)
        if isinstance(known, Task):
            text = known.scheduled_payload(payload)
        else:
            text = None if payload is None else self._client.sealed(name, AnyCodec().dump(payload))
        if text is not None:
            check_size(size_of(text), self._client.payload_limit, what="The payload", limit="payload_limit")
        return text

    def _changed(
        self, schedule: str | Schedule, rule: object, payload: Any, external_id: Any, options: ScheduleOptions
    ) -> Callable[[Tx], ScheduleRecord]:
        """What changes a schedule in one transaction. All that is said is read before."""
        said = None if rule is None else _recurring(rule)
        text = None if said is None else self._rule(said)
        read_trigger_options(_checked_options(options))
        if external_id is not ... and external_id is not None:
            checked_key(external_id, option="external_id")

        def change(tx: Tx) -> ScheduleRecord:
            record = _undeclared(_one(tx, _id(schedule)))
            new = NewSchedule(**{name: getattr(record, name) for name in _FIELDS}, paused=record.paused_at is not None)
            if said is not None and text is not None:
                new.rule, new.catch_up, new.overlap = text, catch_up_count(said.catch_up), said.overlap
                new.jitter_ms = said.jitter_ms
            if payload is not ... or options:
                fresh = self._make(
                    record.task, record.task, None if payload is ... else payload, options, bare=payload is ...
                )
                new.make = _merged(make_of(record.make), fresh, options, payload is not ...)
            if external_id is not ...:
                new.external_id = external_id
            return engine.change(tx, new) or record

        return change

    def _rule(self, recurring: Recurring) -> str:
        """As it is stored, if it fires at all."""
        now = self._client.now()
        return msgspec.json.encode(recurrence.checked(recurring.rule(now), now)).decode()

    def _handle(self, run_id: str) -> RunHandle[Any]:
        return RunHandle(run_id, True, self._client, AnyCodec(shows=True))


class _Asked(NamedTuple):
    """What a list is asked for."""

    task: str | None
    external_id: str | None
    limit: int
    before: str | None

    @classmethod
    def of(cls, task: object, external_id: object, limit: object, before: object) -> _Asked:
        return cls(
            _task_id(task),
            None if external_id is None else checked_text(external_id, option="external_id"),
            _limit(limit),
            None if before is None else checked_text(before, option="before"),
        )


# -- in one transaction -----------------------------------------------------------------------------------------------

_FIELDS: Final = tuple(name for name in NewSchedule.__struct_fields__ if name != "paused")


def _one(tx: Tx, schedule_id: str) -> ScheduleRecord:
    return _there(engine.retrieve(tx, schedule_id), schedule_id)


def _page(tx: Tx, asked: _Asked) -> Sequence[ScheduleRecord]:
    return engine.page(tx, asked.limit, asked.before, task=asked.task, external_id=asked.external_id)


def _set_paused(tx: Tx, schedule_id: str, paused: bool) -> ScheduleRecord:
    return _there(engine.set_paused(tx, schedule_id, paused), schedule_id)


def _run_now(tx: Tx, schedule_id: str) -> str:
    return _there(engine.run_now(tx, schedule_id), schedule_id)


def _remove(tx: Tx, schedule_id: str) -> None:
    engine.remove(tx, [_undeclared(_one(tx, schedule_id)).id])


def _there(found: T | None, schedule_id: str) -> T:
    if found is None:
        raise UnknownSchedule("There is no schedule with this id", seen=schedule_id, do="See holdfast schedules list.")
    return found


def _undeclared(record: ScheduleRecord) -> ScheduleRecord:
    if record.owner:
        raise InvalidOption(
            "This schedule is declared in code",
            seen=f"{record.id}, of task {record.task}, by {record.owner}",
            do="Change it there; here it can be paused, resumed and run.",
        )
    return record


# -- reading ----------------------------------------------------------------------------------------------------------


def _id(schedule: object) -> str:
    if isinstance(schedule, Schedule):
        return schedule.id
    return checked_text(schedule, option="schedule", do="Give a Schedule, or the id of one.")


def _task_id(task: object) -> str | None:
    if task is None or isinstance(task, Task):
        return None if task is None else task.id
    return checked_name(task, option="The id of a task", length=ID_LENGTH)


def _limit(limit: object) -> int:
    return checked_count(limit, option="limit", most=MOST_LISTED)


def _recurring(rule: object) -> Recurring:
    if not isinstance(rule, Cron | RRule):
        raise InvalidOption("This is neither a Cron nor an RRule", seen=shown(rule), do='Write Cron("0 9 * * *").')
    return rule


def _checked_options(options: ScheduleOptions) -> Mapping[str, Any]:
    for option in options:
        if option not in ScheduleOptions.__annotations__:
            raise InvalidOption(
                f"{option} is not an option of a schedule",
                do=f"There are {', '.join(ScheduleOptions.__annotations__)}.",
            )
    return options


def _merged(before: Make, fresh: Make, options: Mapping[str, Any], with_payload: bool) -> str:
    """What a schedule makes, with the options that are given anew."""
    fields = {"priority": "priority_ms", "ttl": "ttl_ms"}
    said = {name: getattr(fresh, name) for name in (fields.get(option, option) for option in options) if name in _MADE}
    if with_payload:
        said["payload"] = fresh.payload
    if fresh.options is not None:
        governing = {} if before.options is None else codec.decode(before.options)
        said["options"] = codec.encode(governing | codec.decode(fresh.options))
    return msgspec.json.encode(msgspec.structs.replace(before, **said)).decode()


_MADE: Final = frozenset(Make.__struct_fields__)
