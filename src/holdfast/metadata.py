"""A run's metadata while code works on it: a mapping of JSON values, buffered as what has changed.

    Metadata          the mapping of the run itself
    FamilyMetadata    that of a parent or a root: it can be written to, and not be read

A change is an operation on one key: set, delete, increment, append. Operations go to the database, and not the whole
mapping; there each is applied to what it finds. So a run and its children can write to the same metadata, each from a
process of its own. Writing is cheap and waits for nothing. What cannot be kept is refused on the line that writes it.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any, Literal, NamedTuple

from holdfast import codec
from holdfast.errors import InvalidOption, shown
from holdfast.sizes import METADATA_LIMIT, check_size, size_of

__all__ = ["FamilyMetadata", "Metadata"]

Kind = Literal["set", "delete", "increment", "append"]


class Change(NamedTuple):
    """An operation on one key; the ``value`` of an append is the list of what is appended."""

    kind: Kind
    value: Any = None


def _nobody() -> None:
    """Nobody wants to know that something has changed."""


def never() -> bool:
    """No code here repeats what it has told before."""
    return False


class Changes:
    """What has changed since it was last taken: one operation for a key, whatever led to it."""

    def __init__(self) -> None:
        self._by_key: dict[str, Change] = {}

    def set(self, key: str, value: Any) -> None:
        self._by_key[key] = Change("set", value)

    def delete(self, key: str) -> None:
        self._by_key[key] = Change("delete")

    def increment(self, key: str, by: float) -> None:
        change = self._by_key.get(key, Change("increment", 0))
        if change.kind == "delete":
            change = Change("set", 0)
        self._by_key[key] = Change(change.kind, number(key, change.value) + by)

    def append(self, key: str, value: Any) -> None:
        change = self._by_key.get(key, Change("append", []))
        if change.kind == "delete":
            change = Change("set", [])
        elif change.kind == "increment":
            raise not_a_list(key, change.value)
        elements(key, change.value).append(value)
        self._by_key[key] = change

    def __contains__(self, key: str) -> bool:
        return key in self._by_key

    def take(self) -> dict[str, Change]:
        taken, self._by_key = self._by_key, {}
        return taken


class FamilyMetadata:
    """The metadata of a run's parent, or of its root, which other processes write to as well: it can be written to, and
    not be read. Each operation is applied in the database, to what is there by then.

    >>> ctx.root.metadata.increment("pages")
    >>> ctx.root.metadata.append("seen", "a.txt")
    >>> ctx.root.metadata["last"] = "a.txt"

    Raises:
        NotSerializable: on writing a value that is not JSON.
        TooLarge: on writing more than 256 KiB at once.
    """

    def __init__(self, stir: Callable[[], None] = _nobody, rehearses: Callable[[], bool] = never) -> None:
        self._changes = Changes()
        self._stir = stir
        self._rehearses = rehearses
        self._lock = threading.RLock()

    def increment(self, key: str, by: float = 1) -> None:
        """Add to a number; what is not there yet is 0. If another run has put something there that is no number, this
        changes nothing."""
        _key(key)
        amount = _amount(by)
        if self._rehearses():
            return
        with self._lock:
            self._changes.increment(key, amount)
        self._stir()

    def append(self, key: str, value: Any) -> None:
        """Add to the end of a list; what is not there yet is an empty one. If another run has put something there that
        is no list, this changes nothing."""
        copy = codec.decode(_checked(key, codec.encode(value)))
        if self._rehearses():
            return
        with self._lock:
            self._changes.append(key, copy)
        self._stir()

    def take(self) -> dict[str, Change]:
        """What has changed since the last time: the worker's side."""
        with self._lock:
            return self._changes.take()

    def __setitem__(self, key: str, value: Any) -> None:
        copy = codec.decode(_checked(key, codec.encode(value)))
        if self._rehearses():
            return
        with self._lock:
            self._changes.set(key, copy)
        self._stir()

    def __delitem__(self, key: str) -> None:
        if self._rehearses():
            return
        with self._lock:
            self._changes.delete(key)
        self._stir()


class Metadata(MutableMapping[str, Any]):
    """A mapping from names to JSON values that anybody who looks at the run sees.

    Threads of one attempt may share it. A list or dict that is read from it may be changed in place. What children
    write into it is seen here when the run goes on after a wait, and by the next attempt. For a key that they write to
    as well there are `increment` and `append`: setting it says what it is from now on.

    >>> ctx.metadata["row"] = 3
    >>> ctx.metadata.increment("rows")
    >>> ctx.metadata.append("seen", "a.txt")

    Raises:
        NotSerializable: on writing a value that is not JSON.
        TooLarge: on writing more than 256 KiB in all.
    """

    def __init__(
        self,
        text: str | None = None,
        stir: Callable[[], None] = _nobody,
        rehearses: Callable[[], bool] = never,
    ) -> None:
        self._values: dict[str, Any] = codec.decode(text) if text else {}
        self._sizes = {key: size_of(codec.encode(value)) for key, value in self._values.items()}
        self._size = sum(self._sizes.values())
        self._changes = Changes()
        self._own: set[str] = set()  # the keys that were changed here
        self._lent: dict[str, str] = {}  # what was read and may be changed in place, as it was then
        self._late: Callable[[], None] | None = None
        self._rehearses = rehearses
        self._scratch: Metadata | None = None
        self._stir = stir
        self._lock = threading.RLock()

    def increment(self, key: str, by: float = 1) -> None:
        """Add to a number; what is not there yet is 0."""
        _key(key)
        if self._rehearses():
            self._rehearsal().increment(key, by)
            return
        with self._lock:
            self._settle()
            total = number(key, self._values.get(key, 0)) + _amount(by)
            self._keep(key, total, codec.encode(total))
            self._changes.increment(key, by)
        self._stir()

    def append(self, key: str, value: Any) -> None:
        """Add to the end of a list; what is not there yet is an empty one."""
        _key(key)
        if self._rehearses():
            self._rehearsal().append(key, value)
            return
        text = codec.encode(value)
        with self._lock:
            self._settle()
            self._look_at(key)  # what was changed in place so far comes before it
            values = elements(key, self._values.get(key, []))
            size = self._sizes.get(key, 1) + 1 + size_of(text)
            self._grow(key, size)
            values.append(codec.decode(text))
            self._values[key] = values
            if key in self._lent:
                self._lent[key] = codec.encode(values)
            self._changes.append(key, codec.decode(text))
        self._stir()

    def refresh(self, text: str | None, *, own: bool = False) -> None:
        """Take in what others have written. What the code has changed since, and lists and dicts that it has read and
        may be about to change, stay as they are; with ``own`` all that the code has ever changed here."""
        found: dict[str, Any] = codec.decode(text) if text else {}
        with self._lock:
            for key in {*self._values, *found}.difference(self._lent):
                if key not in self._changes and not (own and key in self._own):
                    self._adopt(key, found)

    def _adopt(self, key: str, found: dict[str, Any]) -> None:
        self._size -= self._sizes.pop(key, 0)
        self._values.pop(key, None)
        if key in found:
            self._values[key] = found[key]
            self._sizes[key] = size_of(codec.encode(found[key]))
            self._size += self._sizes[key]

    def later(self, settle: Callable[[], None]) -> None:
        """Have this called before anybody looks: for what changes more often than anybody could."""
        self._late = settle
        self._stir()

    def take(self) -> dict[str, Change]:
        """What has changed since the last time: the worker's side.

        Raises:
            NotSerializable, TooLarge: a value was changed in place into something that cannot be kept. The next call
                has what has changed besides.
        """
        with self._lock:
            self._settle()
            for key in list(self._lent):
                self._look_at(key)
            taken = self._changes.take()
            self._own.update(taken)
            return taken

    def __getitem__(self, key: str) -> Any:
        if self._rehearses():
            return self._rehearsal()[key]
        with self._lock:
            self._settle()
            value = self._values[key]
            if isinstance(value, list | dict) and key not in self._lent:
                self._lent[key] = codec.encode(value)
            return value

    def __setitem__(self, key: str, value: Any) -> None:
        _key(key)
        if self._rehearses():
            self._rehearsal()[key] = value
            return
        text = codec.encode(value)
        with self._lock:
            self._settle()
            self._set(key, text)
        self._stir()

    def __delitem__(self, key: str) -> None:
        if self._rehearses():
            del self._rehearsal()[key]
            return
        with self._lock:
            self._settle()
            del self._values[key]
            self._size -= self._sizes.pop(key)
            self._lent.pop(key, None)
            self._changes.delete(key)
        self._stir()

    def __iter__(self) -> Iterator[str]:
        if self._rehearses():
            return iter(self._rehearsal())
        with self._lock:
            self._settle()
            return iter(list(self._values))

    def __len__(self) -> int:
        if self._rehearses():
            return len(self._rehearsal())
        with self._lock:
            self._settle()
            return len(self._values)

    def __repr__(self) -> str:
        return f"Metadata({self._values!r})"

    def _rehearsal(self) -> Metadata:
        """What code sees and changes that has told all this before: a copy that nobody takes."""
        with self._lock:
            if self._scratch is None:
                self._scratch = Metadata(codec.encode(self._values))
            return self._scratch

    def _set(self, key: str, text: str) -> None:
        value = codec.decode(text)  # what a later attempt would read, and nobody else's list
        self._keep(key, value, text)
        self._lent.pop(key, None)
        self._changes.set(key, codec.decode(text) if isinstance(value, list | dict) else value)

    def _keep(self, key: str, value: Any, text: str) -> None:
        self._grow(key, size_of(text))
        self._values[key] = value

    def _grow(self, key: str, size: int) -> None:
        more = size - self._sizes.get(key, 0)
        _check(self._size + more)
        self._size += more
        self._sizes[key] = size

    def _look_at(self, key: str) -> None:
        """If the value was lent and has been changed in place since, that is a change like any other."""
        if key not in self._lent:
            return
        before = self._lent.pop(key)
        value = self._values[key]
        text = codec.encode(value)
        self._lent[key] = text
        if text != before:
            self._grow(key, size_of(text))
            self._changes.set(key, codec.decode(text))

    def _settle(self) -> None:
        if self._late is not None:
            late, self._late = self._late, None
            late()


def number(key: str, value: Any) -> Any:
    """``value`` if it is a number. Raises InvalidOption."""
    if not _is_number(value):
        raise InvalidOption(f"metadata[{key!r}] is not a number", seen=shown(value), do="Set it to a number first.")
    return value


def _amount(by: float) -> float:
    if not _is_number(by):
        raise InvalidOption("by is not a number", seen=shown(by), do="Write how much to add, such as 1.")
    return by


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -math.inf < value < math.inf


def elements(key: str, value: Any) -> list[Any]:
    """``value`` if it is a list. Raises InvalidOption."""
    if not isinstance(value, list):
        raise not_a_list(key, value)
    return value


def not_a_list(key: str, value: Any) -> InvalidOption:
    return InvalidOption(f"metadata[{key!r}] is not a list", seen=shown(value), do="Set it to a list first.")


def _checked(key: object, text: str) -> str:
    _key(key)
    _check(size_of(text))
    return text


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise InvalidOption("A key of metadata is not a string", seen=shown(key), do="Write str(key).")
    return key


def _check(size: int) -> None:
    check_size(size, METADATA_LIMIT, what="The metadata of the run", limit="the limit for metadata")
