"""A run's metadata while its task runs: a mapping of JSON values, buffered.

Writing to it is cheap and waits for nothing; the worker takes a snapshot with whatever it writes next. What cannot be
kept is refused on the line that writes it.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, MutableMapping
from typing import Any

from holdfast import codec
from holdfast.errors import InvalidOption, shown
from holdfast.options import METADATA_LIMIT
from holdfast.sizes import check_size, size_of

__all__ = ["Metadata"]


class Metadata(MutableMapping[str, Any]):
    """A mapping from names to JSON values that anybody who looks at the run sees.

    Threads of one attempt may share it. A list or dict that is read from it may be changed in place.

    >>> ctx.metadata["row"] = 3
    >>> ctx.metadata.increment("rows")
    >>> ctx.metadata.append("seen", "a.txt")

    Raises:
        NotSerializable: on writing a value that is not JSON.
        TooLarge: on writing more than 256 KiB in all.
    """

    def __init__(self, text: str | None = None) -> None:
        self._values: dict[str, Any] = codec.decode(text) if text else {}
        self._sizes = {key: size_of(codec.encode(value)) for key, value in self._values.items()}
        self._taken = text
        self._dirty = False
        self._lent = False
        self._lock = threading.RLock()

    def increment(self, key: str, by: float = 1) -> None:
        """Add to a number; what is not there yet is 0."""
        _check_key(key)
        if not _is_number(by):
            raise InvalidOption("by is not a number", seen=shown(by), do="Write how much to add, such as 1.")
        with self._lock:
            value = self._values.get(key, 0)
            if not _is_number(value):
                raise InvalidOption(
                    f"metadata[{key!r}] is not a number", seen=shown(value), do="Set it to a number first."
                )
            self[key] = value + by

    def append(self, key: str, value: Any) -> None:
        """Add to the end of a list; what is not there yet is an empty one."""
        _check_key(key)
        with self._lock:
            values = self._values.get(key, [])
            if not isinstance(values, list):
                raise InvalidOption(
                    f"metadata[{key!r}] is not a list", seen=shown(values), do="Set it to a list first."
                )
            self[key] = [*values, value]

    def snapshot(self) -> str | None:
        """All as JSON text if that differs from the last snapshot, else None: the worker's side of the mapping."""
        with self._lock:
            if not self._dirty:
                return None
            text = codec.encode(self._values)
            _check(size_of(text))
            self._dirty = self._lent
            if text == self._taken:
                return None
            self._taken = text
            return text

    def __getitem__(self, key: str) -> Any:
        value = self._values[key]
        if isinstance(value, list | dict):
            # It may be changed in place, now or later, so that every snapshot from here on has to compare.
            self._lent = self._dirty = True
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        _check_key(key)
        text = codec.encode(value)
        size = size_of(text)
        with self._lock:
            _check(sum(self._sizes.values()) - self._sizes.get(key, 0) + size)
            self._values[key] = codec.decode(text)  # what a later attempt would read, and nobody else's list
            self._sizes[key] = size
            self._dirty = True

    def __delitem__(self, key: str) -> None:
        with self._lock:
            del self._values[key]
            self._sizes.pop(key, None)
            self._dirty = True

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._values))

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Metadata({self._values!r})"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -math.inf < value < math.inf


def _check_key(key: object) -> None:
    if not isinstance(key, str):
        raise InvalidOption("A key of metadata is not a string", seen=shown(key), do="Write str(key).")


def _check(size: int) -> None:
    check_size(size, METADATA_LIMIT, what="The metadata of the run", limit="the limit for metadata")
