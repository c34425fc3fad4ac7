"""How many: attempts, slots, crashes. Counts are kept in columns and compared in SQL, so they end somewhere."""

from __future__ import annotations

from typing import Final

from holdfast.errors import InvalidOption, shown

__all__ = ["MOST", "checked_count"]

MOST: Final = 1_000_000


def checked_count(value: object, *, option: str, do: str = "Write 1 or more.", most: int = MOST) -> int:
    """``value`` if it can be a count: a whole number from 1 to ``most``, usually a million.

    Raises:
        InvalidOption: naming ``option`` and the value.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidOption(f"{option} is not a whole number of at least 1", seen=shown(value), do=do)
    if value > most:
        raise InvalidOption(f"{option} is more than {most}", seen=shown(value), do="Write a smaller number.")
    return value
