"""Lists by page number: ``?page=2&perPage=20``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

import msgspec

from holdfast.api.v1.documents import Parameter
from holdfast.api.v1.listing import refused

T = TypeVar("T")
MOST: Final = 100
LAST: Final = 1_000_000  # no list has as many pages
WHOLE: Final = {"type": "integer", "minimum": 1}
QUERY: Final = (
    Parameter("page", "Which page, 1 if it is not said", WHOLE | {"maximum": LAST}),
    Parameter("perPage", "How many there are on a page", WHOLE | {"maximum": MOST}),
)


class Pages(msgspec.Struct, rename="camel"):
    """How many there are."""

    current_page: int
    total_pages: int
    count: int


class Numbered(NamedTuple):
    """A page that is asked for by its number."""

    page: int
    size: int

    def of(self, every: Sequence[T]) -> tuple[Sequence[T], Pages]:
        """What of all is on it."""
        begin = (self.page - 1) * self.size
        total = max(1, -(-len(every) // self.size))
        return every[begin : begin + self.size], Pages(self.page, total, len(every))


def numbered(said: Mapping[str, str], usual: int) -> Numbered:
    """Raises Refused (400)."""
    return Numbered(whole(said, "page", 1, LAST), whole(said, "perPage", usual, MOST))


def whole(said: Mapping[str, str], name: str, usual: int, most: int) -> int:
    text = said.get(name, str(usual))
    if not (text.isascii() and text.isdecimal() and len(text) <= 9 and 1 <= int(text) <= most):
        raise refused(name, f"is not a whole number from 1 to {most}")
    return int(text)
