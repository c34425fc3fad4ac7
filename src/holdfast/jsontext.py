"""JSON text and back, exactly: what crosses the border of the database.

The text fits any TEXT column: no raw NUL, no raw surrogate. Integers of any length, NUL and lone surrogates come back
as they were; what JSON cannot say is refused. This module knows plain values only and imports next to nothing; codec.py
knows annotations, models and dates.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any, Final, NoReturn

import msgspec

from holdfast.errors import NotSerializable, PayloadInvalid, shown

__all__ = ["decode", "encode", "json_encoder", "said", "storable", "written"]

_PAIR_OF_SURROGATES: Final = re.compile("[\ud800-\udbff][\udc00-\udfff]")
ANNOTATE: Final = "Annotate it with its type, or convert it to what JSON has: str, numbers, bool, None, list, dict."
_decode: Final = msgspec.json.Decoder().decode


def encode(value: object) -> str:
    """A plain value as JSON text.

    Raises:
        NotSerializable: NaN and infinity, what JSON has no word for, a value that contains itself.
    """
    return written(value, _encoder)


def written(value: object, encoder: json.JSONEncoder) -> str:
    """What an encoder makes of a value, as text that any column holds. Raises NotSerializable."""
    try:
        text = encoder.encode(value)
    except NotSerializable:
        raise
    except Exception as error:  # whatever a property, an iterator or a key of the value raises
        refuse(value, error)
    return text if text.isascii() else storable(text)


def decode(text: str) -> Any:
    """The value of a JSON text, every integer exact.

    Raises:
        PayloadInvalid: not JSON, NaN, a float too large for one, an integer of more than 4300 digits, too deep.
    """
    try:
        return _decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return _decode_slowly(text)


def json_encoder(default: Callable[[object], object]) -> json.JSONEncoder:
    return json.JSONEncoder(
        separators=(",", ":"), ensure_ascii=False, allow_nan=False, check_circular=False, default=default
    )


def unknown(value: object) -> object:
    raise NotSerializable(
        f"A value of type {type(value).__qualname__} cannot be written as JSON", seen=shown(value), do=ANNOTATE
    )


_encoder: Final = json_encoder(unknown)


def storable(text: str) -> str:
    """Lone surrogates cannot be stored as UTF-8, so they are escaped. All else stays readable."""
    try:
        text.encode()
    except UnicodeEncodeError:
        if _PAIR_OF_SURROGATES.search(text):  # JSON reads the two escapes as one character: it would not come back
            raise NotSerializable(
                "Two surrogates in a row cannot be written as JSON",
                seen=shown(text),
                do='Join them first: text.encode("utf-16", "surrogatepass").decode("utf-16").',
            ) from None
        return re.sub("[\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", text)
    return text


def refuse(value: object, error: Exception) -> NoReturn:
    name = type(value).__qualname__
    match error:
        case RecursionError():
            what, do = "The value contains itself, or is nested too deeply for JSON", "Make it flatter."
        case ValueError() if "float" in str(error):
            what, do = "NaN and infinity cannot be written as JSON", "Use None, or a number that means the same to you."
        case ValueError() if "integer string conversion" in str(error):
            what, do = "An integer of more than 4300 digits cannot be written as JSON", "Send it as text."
        case TypeError() if "keys must be" in str(error):
            what, do = f"A {name} with keys that are no text cannot be written as JSON", "Use str keys."
        case _:
            what, do = f"A value of type {name} cannot be written as JSON: {said(error)}", ANNOTATE
    raise NotSerializable(what, seen=shown(value), do=do) from error


def said(error: BaseException) -> str:
    """The name and the first line of an exception, even of one whose ``str()`` raises."""
    try:
        message = str(error).strip().partition("\n")[0]
    except (Exception, SystemExit):
        message = ""
    return f"{type(error).__name__}: {message[:200]}" if message else type(error).__name__


def _decode_slowly(text: str) -> Any:
    # The standard library's decoder keeps lone surrogates, which msgspec refuses.
    try:
        return json.loads(text, parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise PayloadInvalid(
            "This is not JSON that can be read", seen=said(error), do="Send valid JSON, without NaN or Infinity."
        ) from error


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"{digits[:40]} is too large for a float")
    return number
