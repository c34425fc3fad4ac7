"""Durations as people write them: ``"1h30m"``, ``2.5`` (seconds), ``timedelta(days=1)``.

Inside Holdfast a duration is a whole number of milliseconds and its name ends in ``_ms``; this module is the border.
"""

from __future__ import annotations

import math
import re
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from holdfast.errors import InvalidOption, shown

__all__ = ["Duration", "format_ms", "to_ms"]

Duration = str | float | int | timedelta

_UNITS: Final = {"w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
# Largest unit first and each at most once, so that "1h1h" and a mistyped "30m1h" are refused instead of guessed at.
_TEXT: Final = re.compile(r"\s*".join(rf"(?:([0-9]+(?:\.[0-9]+)?)\s*{unit})?" for unit in _UNITS))
LONGEST_MS: Final = 365_000 * 86_400_000
_LONGEST_TEXT: Final = 1_000
_WRITE: Final = 'Write it like "1h30m", "5s" or "250ms", as seconds, or as a timedelta.'


def to_ms(value: Duration, *, name: str) -> int:
    """``value`` in whole milliseconds; ``name`` is the option it was given for, used in the message.

    Units are ``w d h m s ms``, in that order; a plain number is seconds. More than nothing never becomes nothing: what
    is shorter than a millisecond is one.

    Raises:
        InvalidOption: not a duration, negative, not finite, or longer than a thousand years.

    >>> to_ms("1h30m", name="delay")
    5400000
    """
    milliseconds = _exact_ms(value, name)
    if milliseconds < 0:
        raise InvalidOption(f"{name} cannot be negative", seen=shown(value), do=_WRITE)
    if milliseconds > LONGEST_MS:
        raise InvalidOption(
            f"{name} is longer than a thousand years", seen=shown(value), do="Write a shorter duration."
        )
    return int(milliseconds.to_integral_value(ROUND_HALF_UP)) or int(milliseconds > 0)


def format_ms(milliseconds: int) -> str:
    """A duration for people, in its two largest units; what is smaller is left out.

    >>> format_ms(5_400_000), format_ms(250), format_ms(1_500)
    ('1h 30m', '250 ms', '1.5s')
    """
    if milliseconds < 0:
        return f"-{format_ms(-milliseconds)}"
    if milliseconds < 1_000:
        return f"{milliseconds} ms"
    if milliseconds < 60_000:
        return f"{milliseconds // 100 / 10:g}s"
    return " ".join(_largest_units(milliseconds))


def _largest_units(milliseconds: int) -> list[str]:
    units = [(unit, size) for unit, size in _UNITS.items() if unit not in ("w", "ms")]
    first = next(i for i, (_, size) in enumerate(units) if milliseconds >= size)
    parts: list[str] = []
    for unit, size in units[first : first + 2]:
        count, milliseconds = divmod(milliseconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return parts


def _exact_ms(value: Duration, name: str) -> Decimal:
    match value:
        case bool():
            pass
        case str():
            return _text_ms(value, name)
        case timedelta():
            return Decimal(value // timedelta(microseconds=1)) / 1_000
        case int():
            return Decimal(max(-1, min(value, LONGEST_MS))) * 1_000  # what is beyond is refused, however many digits
        case float() if math.isfinite(value):
            return Decimal(value) * 1_000
    raise InvalidOption(f"{name} is not a duration", seen=shown(value), do=_WRITE)


def _text_ms(text: str, name: str) -> Decimal:
    written = text.strip() if len(text) <= _LONGEST_TEXT else ""
    found = _TEXT.fullmatch(written)
    if not written or found is None:
        if written[:1] == "-" != written and _TEXT.fullmatch(written[1:].strip()):
            raise InvalidOption(f"{name} cannot be negative", seen=shown(text), do=_WRITE)
        raise InvalidOption(f"{name} is not a duration", seen=shown(text), do=_WRITE)
    return sum(
        (Decimal(count) * size for count, size in zip(found.groups(), _UNITS.values(), strict=True) if count), Decimal()
    )
