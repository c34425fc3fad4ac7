"""What was triggered, in the words of a failed assertion."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypeVar

from holdfast import codec
from holdfast.errors import shown
from holdfast.records import RunRecord

__all__ = ["Payloads", "instead", "told"]

T = TypeVar("T")

LINES = 20


class Payloads(list[T]):
    """The payloads that a task was triggered with, in order. A list; a failed comparison of it also says what else was
    triggered (``holdfast.pytest_plugin`` tells pytest)."""

    __slots__ = ("instead",)

    def __init__(self, payloads: Iterable[T], instead: Sequence[str]) -> None:
        super().__init__(payloads)
        self.instead = list(instead)


def told(records: Iterable[RunRecord]) -> list[str]:
    """One line for each run that was triggered, in order; the same ones in a row are counted."""
    lines = [f"{record.task}({payload(record)}){options(record)}" for record in records]
    counted = [f"{line}  {count} times" if count > 1 else line for line, count in Counter(lines).items()]
    more = len(counted) - LINES
    return [*counted[:LINES], f"… and {more} more"] if more > 0 else counted


def payload(record: RunRecord) -> str:
    value = codec.masked(record.payload)
    return "" if value is None else shown(value, 200)


def options(record: RunRecord) -> str:
    said = {
        "idempotency_key": record.idempotency_key,
        "concurrency_key": record.concurrency_key,
        "tags": None if record.tags is None else codec.decode(record.tags),
    }
    given = [f"{name}={shown(value)}" for name, value in said.items() if value]
    return f", {', '.join(given)}" if given else ""


def instead(payloads: Payloads[T]) -> list[str]:
    """What was triggered so far, as lines of a message."""
    return ["Triggered so far:", *(f"    {line}" for line in payloads.instead or ["nothing"])]
