"""A page of a list: what is on it, and where the next one begins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar, overload

__all__ = ["Page"]

T = TypeVar("T")


class Page(Sequence[T]):
    """A page, the newest first. ``next_cursor`` is where the next page begins, None at the end."""

    __slots__ = ("_each", "next_cursor")

    def __init__(self, each: Iterable[T], next_cursor: str | None) -> None:
        self._each = list(each)
        self.next_cursor = next_cursor

    @overload
    def __getitem__(self, index: int, /) -> T: ...
    @overload
    def __getitem__(self, index: slice, /) -> list[T]: ...
    def __getitem__(self, index: int | slice, /) -> T | list[T]:
        return self._each[index]

    def __iter__(self) -> Iterator[T]:
        return iter(self._each)

    def __len__(self) -> int:
        return len(self._each)
