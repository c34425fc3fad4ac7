"""What attempts tell while they run, and with their outcome: changes of metadata, and pieces of streams.

A piece of a stream is inserted, once. A change of metadata is an operation, applied under the lock of the run whose
metadata it is, to what is there by then. So a run and its children may write to the same metadata from different
processes, whatever the run is doing: waiting, executing, finished. Whoever tells is fenced: what an attempt says is
taken only while it holds its own run, which is locked, too.

What is sent again, since an answer was lost, is applied once: operations have numbers, and the run that says them
remembers the last one. An operation that does not fit what is there (a number that is none, a list that is none, more
than the limit) changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from holdfast import jsontext
from holdfast.errors import HoldfastError
from holdfast.records import Chunk, Note, Telling, Tidings
from holdfast.sizes import METADATA_LIMIT, size_of
from holdfast.storage.base import Tx, repeatable
from holdfast.storage.runs import Fence


class Outcome(Protocol):
    """How an attempt ended, with what it had still to tell."""

    id: str
    claim: int
    metadata: str | None
    tidings: Tidings | None


One = TypeVar("One", bound=Outcome)


class Row(NamedTuple):
    """A run, locked."""

    id: str
    claim: int
    state: str
    metadata: str | None
    noted: int | None


class Written(msgspec.Struct):
    """The columns of ``set_told``."""

    id: str
    metadata: str | None
    noted: int | None = None


@repeatable
def write(tx: Tx, telling: Sequence[Telling]) -> None:
    """Write what running attempts tell. Of one that has lost its run nothing is taken."""
    write_chunks(tx, chunks_of(telling))
    if not any(one.tidings.notes for one in telling):
        return
    documents = Documents(tx, telling)
    told = documents.told
    marks = {one.id: mark(one.claim, one.tidings.notes[-1].number) for one in told}
    changed = {row.id: Written(row.id, documents.text(row.id), marks.get(row.id, row.noted)) for row in documents.hot()}
    if changed:
        tx.batch("set_told", list(changed.values()))
    documents.write_done()


def metadata(tx: Tx, run_id: str) -> str | None:
    """The metadata of a run that is not final, as its family and itself have made it."""
    row = tx.row("metadata", run_id=run_id)
    return row[0] if row else None


def with_outcomes(tx: Tx, outcomes: list[One]) -> list[One]:
    """Write what these attempts had still to tell, in the transaction that ends them; answers the outcomes, each with
    its run's metadata as it is then."""
    telling = [Telling(one.id, one.claim, one.tidings) for one in outcomes if one.tidings is not None]
    if not telling:
        return outcomes
    write_chunks(tx, chunks_of(telling))
    documents = Documents(tx, telling)
    ending = {one.id for one in documents.told}
    others = [Written(row.id, documents.text(row.id), row.noted) for row in documents.hot() if row.id not in ending]
    if others:
        tx.batch("set_told", others)
    documents.write_done()
    return [
        one if one.tidings is None else replaced(one, documents.text(one.id) if one.id in ending else None)
        for one in outcomes
    ]


def replaced(outcome: One, metadata: str | None) -> One:
    return msgspec.structs.replace(outcome, metadata=metadata, tidings=None)  # type: ignore[type-var]


def write_chunks(tx: Tx, chunks: Sequence[Chunk]) -> None:
    """Add to streams."""
    if chunks:
        tx.batch("insert_chunks", chunks)


def chunks_of(telling: Sequence[Telling]) -> list[Chunk]:
    return [chunk for one in telling for chunk in one.tidings.chunks]


class Documents:
    """The metadata that some attempts change, with their changes applied, and the rows locked."""

    def __init__(self, tx: Tx, telling: Sequence[Telling]) -> None:
        self.tx = tx
        targets = {note.run_id for one in telling for note in one.tidings.notes}
        ids = sorted({one.id for one in telling} | targets)
        self.rows = {row[0]: Row._make(row) for row in tx.rows("lock_told", ids=ids)}
        gone = [run_id for run_id in ids if run_id not in self.rows]
        self.done: dict[str, str | None] = dict(tx.rows("lock_told_done", ids=gone)) if gone else {}
        self.values: dict[str, dict[str, Any]] = {}
        self.told = [one for one in telling if self.holds((one.id, one.claim)) and one.tidings.notes]
        for one in self.told:
            self.apply(one)

    def holds(self, fence: Fence) -> bool:
        """Whether an attempt still holds its run."""
        row = self.rows.get(fence[0])
        return row is not None and row.claim == fence[1] and row.state == "executing"

    def apply(self, one: Telling) -> None:
        """Apply the operations that were not applied before."""
        known = self.rows[one.id].noted or 0
        for note in one.tidings.notes:
            if mark(one.claim, note.number) > known and (note.run_id in self.rows or note.run_id in self.done):
                self.change(note)

    def change(self, note: Note) -> None:
        values = self.values.get(note.run_id)
        if values is None:
            text = self.rows[note.run_id].metadata if note.run_id in self.rows else self.done[note.run_id]
            values = jsontext.decode(text) if text else {}
        self.values[note.run_id] = fitting(values, note)

    def text(self, run_id: str) -> str | None:
        """The metadata of a run as it is now."""
        if run_id in self.values:
            return jsontext.encode(self.values[run_id])
        return self.rows[run_id].metadata

    def hot(self) -> Iterable[Row]:
        """The rows to write: of runs that are not final, and that were changed or have told something."""
        tellers = {one.id for one in self.told}
        return (row for row in self.rows.values() if row.id in self.values or row.id in tellers)

    def write_done(self) -> None:
        """Write the changed metadata of runs that have ended."""
        changed = [
            Written(run_id, jsontext.encode(self.values[run_id])) for run_id in self.done if run_id in self.values
        ]
        if changed:
            self.tx.batch("set_told_done", changed)


def fitting(values: dict[str, Any], note: Note) -> dict[str, Any]:
    """The metadata after an operation, if that can be kept."""
    try:
        changed = applied(values, note)
        return changed if size_of(jsontext.encode(changed)) <= METADATA_LIMIT else values
    except (HoldfastError, OverflowError):  # a sum that is no number any more
        return values


def applied(values: dict[str, Any], note: Note) -> dict[str, Any]:
    """The metadata after an operation; the same object if the operation does not fit."""
    there, key, value = note.key in values, note.key, jsontext.decode(note.value)
    match note.kind:
        case "set":
            return values | {key: value}
        case "increment" if is_number(before := values.get(key, 0)):
            return values | {key: before + value}
        case "append" if isinstance(before := values.get(key, []), list):
            return values | {key: [*before, *value]}
        case "delete" if there:
            return {name: kept for name, kept in values.items() if name != key}
    return values


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def mark(claim: int, number: int) -> int:
    """The place of an operation among all that a run ever says."""
    return (claim << 32) + number
