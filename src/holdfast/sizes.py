"""How large a value may be, measured the way it is stored: as UTF-8. And sizes as people write them: ``"1.5GB"``."""

from __future__ import annotations

import math
import re
from typing import Final

from holdfast.errors import InvalidOption, TooLarge, shown

__all__ = [
    "CHUNK_LIMIT",
    "KIB",
    "LONGEST",
    "METADATA_LIMIT",
    "MIB",
    "STREAM_LIMIT",
    "check_size",
    "size_of",
    "to_bytes",
]

KIB: Final = 1024
MIB: Final = 1024 * KIB
_UNITS: Final = {"K": KIB, "M": MIB, "G": 1024 * MIB, "T": 1024 * 1024 * MIB}
_SIZE: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)\s*([KMGT])(?:I?B)?", re.IGNORECASE)
METADATA_LIMIT: Final = 256 * KIB
CHUNK_LIMIT: Final = 64 * KIB
STREAM_LIMIT: Final = 16 * MIB
LONGEST: Final = 4  # bytes of a character


def size_of(text: str) -> int:
    """The bytes of a text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def check_size(size: int, allowed: int, *, what: str, limit: str) -> None:
    """Refuse a size of more than ``allowed`` bytes; ``limit`` is the name of what says how many may be.

    Raises:
        TooLarge: with the size, the limit and its name.
    """
    if size > allowed:
        raise TooLarge(
            f"{what} is too large",
            limit=limit,
            size=size,
            allowed=allowed,
            do="Keep what is large elsewhere, and pass its address.",
        )


def to_bytes(text: str, *, name: str) -> int:
    """The bytes of a size as people write it; a kilobyte has 1024 of them. ``name`` is the option it was given for.

    Raises:
        InvalidOption: not a size.

    >>> to_bytes("1.5GB", name="memory")
    1610612736
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise InvalidOption(f"{name} is not a size", seen=shown(text), do='Write it like "512MB" or "1.5GB".')
    return math.ceil(float(found[1]) * _UNITS[found[2].upper()])
