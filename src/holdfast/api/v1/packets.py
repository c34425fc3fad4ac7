"""Payloads and outputs as the client writes them: not JSON, but a text and what kind of text it is.

    application/super+json    {"json": value, "meta": what JSON cannot say of it}
    text/plain                a string, as it is
    application/json          JSON; also what a caller without the package sends, as a plain value

A task gets the plain value. Of what ``meta`` tells, dates stay ISO text and sets stay lists, as pydantic reads them; a
bigint becomes an integer, and what is undefined is left out.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from holdfast import codec
from holdfast.api.refused import Refused
from holdfast.errors import PayloadInvalid

SUPER: Final = "application/super+json"
PLAIN: Final = "text/plain"
JSON: Final = "application/json"
STORE: Final = "application/store"


class SuperJson(msgspec.Struct):
    """What the client's serializer makes of a value."""

    json: msgspec.Raw = msgspec.Raw(b"null")
    meta: Any = None


_super: Final = msgspec.json.Decoder(SuperJson).decode


def json_of(packet: msgspec.Raw | msgspec.UnsetType) -> Any:
    """The value of a part of a body, None if it is not there. Raises Refused (422)."""
    if packet is msgspec.UNSET:
        return None
    try:
        return codec.decode(bytes(packet).decode("utf-8"))
    except (PayloadInvalid, UnicodeDecodeError):
        raise Refused(422, "The value cannot be kept as JSON") from None


def value_of(packet: msgspec.Raw | msgspec.UnsetType, kind: str | None) -> Any:
    """The value that a payload stands for. Raises Refused (422)."""
    said = json_of(packet)
    return text_value(said, kind) if isinstance(said, str) else said


def text_value(text: str, kind: str | None) -> Any:
    """The value that a text of this kind stands for. Raises Refused (422)."""
    try:
        return read(text, kind)
    except (PayloadInvalid, UnicodeError, msgspec.DecodeError):
        raise Refused(422, f"The payload is not {kind or JSON}", param="payload") from None


def read(text: str, kind: str | None) -> Any:
    """What a text of this kind says. Raises PayloadInvalid, msgspec.DecodeError."""
    if kind == SUPER:
        said = _super(text.encode("utf-8", "surrogatepass"))
        value = codec.decode(bytes(said.json).decode("utf-8", "surrogatepass"))
        return value if said.meta is None else mended(value, said.meta)
    if kind == JSON:
        return decoded(text)
    return text


def decoded(text: str) -> Any:
    """A text as JSON; one that is none stays as it is, for so the client's other end reads it."""
    try:
        return codec.decode(text)
    except PayloadInvalid:
        return text


def mended(value: Any, meta: Any) -> Any:
    """The value with what the client's JSON could not say, as far as Python has it otherwise than JSON."""
    values = meta.get("values") if isinstance(meta, dict) else None
    if isinstance(values, list):  # of the value as a whole
        return converted(value, values)
    for path, kinds in values.items() if isinstance(values, dict) else ():
        place(value, keys(path), kinds)
    return value


def place(value: Any, path: list[str], kinds: Any) -> None:
    for key in path[:-1]:
        value = inner(value, key)
    last = path[-1]
    if isinstance(value, dict) and last in value:
        if is_kind(kinds, "undefined"):
            del value[last]
        else:
            value[last] = converted(value[last], kinds)
    elif isinstance(value, list) and last.isdecimal() and int(last) < len(value):
        value[int(last)] = converted(value[int(last)], kinds)


def inner(value: Any, key: str) -> Any:
    if isinstance(value, dict):
        return value.get(key)
    return value[int(key)] if isinstance(value, list) and key.isdecimal() and int(key) < len(value) else None


def is_kind(kinds: Any, kind: str) -> bool:
    return isinstance(kinds, list) and kinds[:1] == [kind]


def converted(value: Any, kinds: Any) -> Any:
    if is_kind(kinds, "bigint") and isinstance(value, str) and value.removeprefix("-").isdecimal():
        return int(value) if len(value) <= 4_000 else value
    return value


def keys(path: str) -> list[str]:
    """A path such as ``user.emails.0``; a dot in a name has a backslash before it."""
    found: list[str] = []
    key, escaped = "", False
    for character in path:
        if escaped or character not in "\\.":
            key, escaped = key + character, False
        elif character == "\\":
            escaped = True
        else:
            found, key = [*found, key], ""
    return [*found, key]
