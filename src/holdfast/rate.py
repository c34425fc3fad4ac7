"""Rates as people write them: ``"100/m"`` is at most a hundred in any minute, ``"5/30s"`` five in any half minute."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from holdfast.duration import to_ms
from holdfast.errors import InvalidOption, shown

__all__ = ["HIGHEST_RATE", "Rate", "read_rate"]

HIGHEST_RATE: Final = 100_000  # every start in a window is kept for as long as it counts
_TEXT: Final = re.compile(r"\s*([0-9]{1,18})\s*/\s*([0-9.]*\s*[a-z0-9. ]+?)\s*")
_WRITE: Final = 'Write it like "100/m", "10/s" or "5/30s".'
_SHORTEST_MS: Final = 1_000


class Rate(NamedTuple):
    """At most ``starts`` in any window of ``window_ms``."""

    starts: int
    window_ms: int


def read_rate(value: object, *, name: str) -> Rate:
    """A number, a slash, and a window: one of the units ``s m h d``, or a duration of at least a second.

    Raises:
        InvalidOption: naming the option ``name``: not a rate, none at all, or more than 100,000 in a window.

    >>> read_rate("100/m", name="rate_limit")
    Rate(starts=100, window_ms=60000)
    """
    written = _TEXT.fullmatch(value) if isinstance(value, str) else None
    if written is None:
        raise InvalidOption(f"{name} is not a rate", seen=shown(value), do=_WRITE)
    count = int(written[1])
    if not 1 <= count <= HIGHEST_RATE:
        raise InvalidOption(
            f"{name} is not between 1 and {HIGHEST_RATE} in a window",
            seen=shown(value),
            do="Choose a shorter window, or leave it out for no limit; to stop a queue, pause it.",
        )
    return Rate(count, _window_ms(written[2], value, name))


def _window_ms(window: str, value: object, name: str) -> int:
    try:
        window_ms = to_ms(f"1{window}" if window in ("s", "m", "h", "d") else window, name=name)
    except InvalidOption:
        raise InvalidOption(f"{name} is not a rate", seen=shown(value), do=_WRITE) from None
    if window_ms < _SHORTEST_MS:
        raise InvalidOption(f"{name} has a window of less than a second", seen=shown(value), do=_WRITE)
    return window_ms
