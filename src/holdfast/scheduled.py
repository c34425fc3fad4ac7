"""A schedule as it stands, and what it may say of its runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple, TypedDict

from holdfast import codec
from holdfast.duration import Duration
from holdfast.engine.ticks import make_of, rule_of
from holdfast.machine import Machine, MachineName
from holdfast.model import at
from holdfast.queue import Queue
from holdfast.records import ScheduleRecord, SlotRecord
from holdfast.recurrence import Rule
from holdfast.schedule import Recurring, recurring_of

__all__ = ["FiredSlot", "Schedule", "ScheduleOptions"]


class ScheduleOptions(TypedDict, total=False):
    """What a schedule may say of its runs: as at a trigger."""

    queue: Queue | str
    concurrency_key: str
    priority: float
    ttl: Duration
    tags: Sequence[str]
    metadata: Mapping[str, Any]
    max_attempts: int
    max_duration: Duration
    machine: Machine | MachineName


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule as it stands: when it fires, what for, and how it went on.

    ``rule`` is the `Cron` or `RRule` it was made from, with its policies. ``next_at`` is its next slot, None if it is
    paused or never fires again; ``previous_at`` the slot of the last run, ``last_run_id`` that run. ``problem`` tells
    why its rule cannot be followed. Times are aware datetimes in UTC.
    """

    id: str
    task: str
    rule: Recurring
    payload: Any
    external_id: str | None
    deduplication_key: str | None
    declared: bool
    next_at: datetime | None
    previous_at: datetime | None
    last_run_id: str | None
    paused_at: datetime | None
    problem: str | None
    created_at: datetime

    @property
    def status(self) -> Literal["active", "paused", "ended"]:
        """``paused`` waits for ``resume``, ``ended`` never fires again."""
        if self.paused_at is not None:
            return "paused"
        return "ended" if self.next_at is None else "active"

    @property
    def timezone(self) -> str:
        return self.rule.timezone or "UTC"


class FiredSlot(NamedTuple):
    """A slot that a schedule has had: its run was ``made``, it was ``skipped``, or it is ``waiting``."""

    at: datetime
    outcome: str
    run_id: str | None


def schedule_of(record: ScheduleRecord) -> Schedule:
    rule = rule_of(record.rule)
    payload = make_of(record.make).payload
    return Schedule(
        id=record.id,
        task=record.task,
        rule=as_written(rule, record),
        payload=None if payload is None else codec.masked(payload),
        external_id=record.external_id,
        deduplication_key=None if record.owner else record.key,
        declared=bool(record.owner),
        next_at=None if record.next_at is None or record.slot_at is None else at(record.slot_at),
        previous_at=None if record.made_at is None else at(record.made_at),
        last_run_id=record.last_run_id,
        paused_at=None if record.paused_at is None else at(record.paused_at),
        problem=record.problem,
        created_at=at(record.created_at),
    )


def as_written(rule: Rule, record: ScheduleRecord) -> Recurring:
    return recurring_of(rule, catch_up=record.catch_up, overlap=record.overlap, jitter_ms=record.jitter_ms)


def fired_slot(record: SlotRecord) -> FiredSlot:
    return FiredSlot(at(record.at), record.outcome, record.run_id)
