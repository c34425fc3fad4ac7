"""How large a value may be, measured the way it is stored: as UTF-8."""

from __future__ import annotations

from typing import Final

from holdfast.errors import TooLarge

__all__ = ["CHUNK_LIMIT", "KIB", "LONGEST", "METADATA_LIMIT", "MIB", "STREAM_LIMIT", "check_size", "size_of"]

KIB: Final = 1024
MIB: Final = 1024 * KIB
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
