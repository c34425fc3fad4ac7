"""Batches: many runs in one call, of one task or of several.

A batch is made ready in full before anything is written, so that a payload that does not fit is told before half of the
batch is on its way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from holdfast.codec import Codec
from holdfast.context import parent_of
from holdfast.errors import InvalidOption, shown
from holdfast.ids import new_id
from holdfast.options import Target, new_run
from holdfast.records import NewRun

__all__ = ["Batch", "Item", "batch_of"]

R_co = TypeVar("R_co", covariant=True)


class Batch(NamedTuple):
    """A batch that is ready to be made: its runs, and the codecs of their outputs."""

    id: str
    runs: list[NewRun]
    outputs: list[Codec[Any]]


class Item(Generic[R_co]):
    """One entry of a batch: a task, its payload and its options. Made by ``task.item(payload, **options)``.

    An item may be used in several batches; it gives a run in each.
    """

    __slots__ = ("home", "output", "payload", "said", "target")

    def __init__(self, home: object, target: Target, output: Codec[Any], payload: str, said: Mapping[str, Any]) -> None:
        self.home = home
        self.target = target
        self.output = output
        self.payload = payload
        self.said = said

    def __repr__(self) -> str:
        return f"<Item of {self.target.task}>"


def batch_of(entries: Iterable[Any], home: object, item: Callable[[Any], Item[Any]] | None = None) -> Batch:
    """A batch from items and, if ``item`` makes one of them, plain payloads. ``home`` is what the batch goes through.

    Raises:
        InvalidOption: an entry is neither, or an item goes through another app.
        And whatever an entry's payload raises. A note says which entry it is.
    """
    if isinstance(entries, str | bytes | Mapping) or not isinstance(entries, Iterable):
        raise InvalidOption("A batch is a list of payloads", seen=shown(entries), do="Put the one payload in a list.")
    batch = Batch(new_id(), [], [])
    parent = parent_of(home)
    try:
        for entry in entries:
            each = entry if isinstance(entry, Item) else _made(item, entry)
            if each.home is not home:
                raise InvalidOption(
                    "The task of an item belongs to another app", seen=each.target.task, do="Trigger it through that."
                )
            batch.runs.append(new_run(each.target, each.payload, each.said, parent=parent, batch_id=batch.id))
            batch.outputs.append(each.output)
    except Exception as error:
        error.add_note(f"It is item {len(batch.runs)} of the batch, counted from 0. Nothing was triggered.")
        raise
    return batch


def _made(item: Callable[[Any], Item[Any]] | None, payload: object) -> Item[Any]:
    if item is None:
        raise InvalidOption("A mixed batch has items only", seen=shown(payload), do="Write task.item(payload).")
    return item(payload)
