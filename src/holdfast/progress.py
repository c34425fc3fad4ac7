"""How far a run is, told while it goes over things.

What a progress is made of is checked here, and `track` tells one for each item that a loop is done with.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from operator import length_hint
from typing import Final, TypeVar

from holdfast.errors import InvalidOption, shown
from holdfast.model import Progress

__all__ = ["atracked", "progress_of", "tracked"]

T = TypeVar("T")
Tell = Callable[[Progress], None]

NOTE_LENGTH: Final = 500


def progress_of(done: float, total: float | None, note: str) -> Progress:
    """A progress of these parts. Raises InvalidOption."""
    if not isinstance(note, str):
        raise InvalidOption("The note of a progress is not a string", seen=shown(note), do="Write str(note).")
    return Progress(_amount(done, "done"), None if total is None else _amount(total, "total"), note[:NOTE_LENGTH])


def _amount(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise InvalidOption(
            f"The {name} of a progress is not a number from 0 up", seen=shown(value), do="Write, say, progress(3, 10)."
        )
    return value


def tracked(items: Iterable[T], note: str, total: int | None, tell: Tell) -> Iterator[T]:
    """The items; each time one is done with, that is told."""
    start = _start(items, note, total)
    return _tracked(items, start, tell)


def _tracked(items: Iterable[T], start: Progress, tell: Tell) -> Iterator[T]:
    done, total, note = start
    tell(start)
    for item in items:
        yield item
        done += 1
        tell(Progress(done, total, note))


def atracked(items: AsyncIterable[T], note: str, total: int | None, tell: Tell) -> AsyncIterator[T]:
    """`tracked` for what is iterated with ``async for``."""
    return _atracked(items, _start(items, note, total), tell)


async def _atracked(items: AsyncIterable[T], start: Progress, tell: Tell) -> AsyncIterator[T]:
    done, total, note = start
    tell(start)
    async for item in items:
        yield item
        done += 1
        tell(Progress(done, total, note))


def _start(items: object, note: str, total: int | None) -> Progress:
    known = total if total is not None else length_hint(items, -1)
    return progress_of(0, None if known < 0 and total is None else known, note)
