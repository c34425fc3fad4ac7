"""Which runs a list shows. The address of the page says it, and says all of it; the search box says the same in words.

    /runs?status=failed&task=send_mail&since=1h        status:failed task:send_mail since:1h

Words are qualifiers with a value; in quotes it may have spaces. A word alone is looked up among what there is: the id
of a run, a task, a queue, else a tag.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from holdfast.duration import to_ms
from holdfast.errors import InvalidOption, shown
from holdfast.model import FINAL, STATUSES
from holdfast.views import Filter

WORD: Final = re.compile(r'(?:(\w+):)?(?:"([^"]*)"|(\S+))')
MANY: Final = ("status", "tag")
ONE: Final = ("task", "queue", "batch", "schedule", "version", "key", "error", "since", "until")
NAMES: Final = (*MANY, *ONE)
GROUPS: Final = {
    "open": frozenset(STATUSES) - FINAL,
    "done": FINAL,
    "bad": FINAL - {"completed", "canceled"},
}


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What the address says. ``status`` are any of, ``tag`` all of these, ``key`` is a concurrency key; ``since`` and
    ``until`` are as they were written."""

    status: tuple[str, ...] = ()
    tag: tuple[str, ...] = ()
    task: str = ""
    queue: str = ""
    batch: str = ""
    schedule: str = ""
    version: str = ""
    key: str = ""
    error: str = ""
    since: str = ""
    until: str = ""

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> Query:
        """From the parts of an address; what has no value says nothing."""
        many: dict[str, list[str]] = {name: [] for name in MANY}
        one: dict[str, str] = {}
        for name, value in pairs:
            if name in MANY and value and value not in many[name]:
                many[name].append(value)
            elif name in ONE and value:
                one[name] = value
        return cls(status=tuple(many["status"]), tag=tuple(many["tag"]), **one)

    def pairs(self) -> list[tuple[str, str]]:
        """The parts of the address."""
        found: list[tuple[str, str]] = []
        for name in NAMES:
            value = getattr(self, name)
            found += [(name, each) for each in value] if name in MANY else [(name, value)] if value else []
        return found

    def url(self, path: str = "/runs", **more: str) -> str:
        """Its address."""
        pairs = self.pairs() + [(name, value) for name, value in more.items() if value]
        return f"{path}?{urlencode(pairs)}" if pairs else path

    def text(self) -> str:
        """As the search box says it."""
        return " ".join(f"{name}:{quoted(value)}" for name, value in self.pairs())

    def but(self, **changes: Any) -> Query:
        return msgspec.structs.replace(self, **changes)

    def without(self, name: str, value: str) -> Query:
        """The same without one of its parts."""
        return Query.of(pair for pair in self.pairs() if pair != (name, value))

    def filter(self, now: int) -> Filter:
        """As the views take it.

        Raises:
            InvalidOption: a status that there is not, or a time that is none.
        """
        return Filter(
            statuses=frozenset(word for each in self.status for word in statuses(each)),
            tasks=frozenset(filter(None, [self.task])),
            queues=frozenset(filter(None, [self.queue])),
            tags=self.tag,
            batch=self.batch or None,
            schedule=self.schedule or None,
            versions=frozenset(filter(None, [self.version])),
            concurrency_key=self.key or None,
            error=self.error or None,
            since=None if not self.since else moment(self.since, now, "since"),
            until=None if not self.until else moment(self.until, now, "until"),
        )


def statuses(word: str) -> frozenset[str]:
    """The statuses that a word means: one, or ``open``, ``done``, ``bad``."""
    known = word.strip().lower().replace("-", "_").replace(" ", "_")
    if known in GROUPS:
        return GROUPS[known]
    if known not in STATUSES:
        close = difflib.get_close_matches(known, STATUSES, n=1)
        do = f"Did you mean {close[0]}?" if close else f"There are {', '.join([*STATUSES, *GROUPS])}."
        raise InvalidOption("There is no such status", seen=shown(word), do=do)
    return frozenset((known,))


def moment(text: str, now: int, name: str) -> int:
    """A duration ago, or a date and time; without a zone it is UTC."""
    try:
        when = datetime.fromisoformat(text.strip())
        return int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000)
    except ValueError:
        pass
    try:
        return now - to_ms(text, name=name)
    except InvalidOption:
        do = 'Write "2h", "3d" or "2027-01-31T09:00".'
        raise InvalidOption(f"{name} is neither a duration nor a date", seen=shown(text), do=do) from None


def words(text: str) -> tuple[list[tuple[str, str]], list[str]]:
    """The qualifiers in a search, and the words that stand alone.

    Raises:
        InvalidOption: a qualifier that was mistyped.
    """
    said: list[tuple[str, str]] = []
    alone: list[str] = []
    for name, in_quotes, bare in WORD.findall(text):
        value = in_quotes or bare
        if not name and value.removesuffix(":") in NAMES and value.endswith(":"):
            raise InvalidOption("A qualifier has no value", seen=shown(value), do=f"Write it behind: {value}…")
        if not name:
            alone.append(value)
        elif name in NAMES:
            said.append((name, value))
        elif close := difflib.get_close_matches(name, NAMES, n=1):
            raise InvalidOption("There is no such qualifier", seen=shown(f"{name}:"), do=f"Did you mean {close[0]}:?")
        else:
            alone.append(f"{name}:{value}")  # many a tag is like this
    return said, alone


def quoted(value: str) -> str:
    return f'"{value}"' if re.search(r"\s", value) or not value else value


def resolved(alone: Iterable[str], known: Mapping[str, str]) -> list[tuple[str, str]]:
    """What words that stand alone mean: ``known`` says whether they name a task or a queue; else they are tags."""
    return [(known.get(word, "tag"), word) for word in alone]
