"""What may be a name: of a task, a queue, a tag, a key.

Names travel as plain text into columns of both databases, URLs, terminals and pages, so they are checked once, where
they are written. A *name* is seen by people and is one printable line. A *key* is made by programs from whatever they
have at hand, so it may hold anything that a text column can.
"""

from __future__ import annotations

from typing import Final

from holdfast.errors import InvalidOption, shown

__all__ = [
    "ID_LENGTH",
    "KEY_LENGTH",
    "NAME_LENGTH",
    "checked_key",
    "checked_name",
    "checked_run_id",
    "checked_text",
    "not_text",
    "storable",
]

NAME_LENGTH: Final = 200
ID_LENGTH: Final = 128  # of a task; the queue of its own has a longer name, and has to fit, too
# A PostgreSQL index entry ends at about 2,700 bytes; 512 characters of four bytes, and a task's name, fit in it.
KEY_LENGTH: Final = 512


def checked_name(value: object, *, option: str, length: int = NAME_LENGTH, do: str | None = None) -> str:
    """``value`` if it can be a name: 1 to ``length`` printable characters, no space at either end.

    Raises:
        InvalidOption: naming ``option`` and the value.
    """
    write = do or f"Write 1 to {length} printable characters."
    if not isinstance(value, str):
        raise InvalidOption(f"{option} is not a string", seen=shown(value), do=write)
    if not value.isprintable() or value != value.strip() or not 1 <= len(value) <= length:
        raise InvalidOption(f"{option} cannot be used as a name", seen=shown(value), do=write)
    return value


def checked_key(value: object, *, option: str) -> str:
    """``value`` if it can be a key: 1 to 512 characters, anything but NUL and lone surrogates.

    Raises:
        InvalidOption: naming ``option`` and the value.
    """
    if not isinstance(value, str):
        raise InvalidOption(
            f"{option} is not a string", seen=shown(value), do="Write it as text, such as str(user.id)."
        )
    if not 1 <= len(value) <= KEY_LENGTH:
        what = f"{option} is empty" if not value else f"{option} is longer than {KEY_LENGTH} characters"
        raise InvalidOption(what, seen=shown(value), do="Leave it out, or shorten it with a hash.")
    if not_text(value):
        raise _unstorable(value, option)
    return value


def checked_text(value: object, *, option: str, do: str = "Write it as text.") -> str:
    """``value`` if something could be called so, whether it is or not: any text without NUL and lone surrogates.

    Raises:
        InvalidOption: naming ``option`` and the value.
    """
    if not isinstance(value, str):
        raise InvalidOption(f"{option} is not text", seen=shown(value), do=do)
    if not_text(value):
        raise _unstorable(value, option)
    return value


def checked_run_id(value: object) -> str:
    """``value`` if it could be the id of a run. Raises InvalidOption."""
    return checked_text(value, option="run_id", do="Write the id of a run, such as handle.id.")


def _unstorable(value: str, option: str) -> InvalidOption:
    what = f"{option} has a character that no database keeps as text"
    return InvalidOption(what, seen=shown(value), do="Leave out NUL and lone surrogates.")


def not_text(value: str) -> bool:
    """Whether a text column refuses this string: PostgreSQL has no NUL, and UTF-8 has no lone surrogates."""
    if value.isascii():
        return "\0" in value
    return "\0" in value or any("\ud800" <= character <= "\udfff" for character in value)


def storable(text: str) -> str:
    """Text for people, as every text column takes it: NUL and lone surrogates are spelled out.

    >>> storable("a\\0")
    'a\\\\x00'
    """
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
