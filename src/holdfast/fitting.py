"""Does a JSON value fit a JSON schema?

The schema is what is left of a type where its code is not: in a server, in a terminal. Formats (dates, UUIDs) are read
the way the task will read them.
"""

from __future__ import annotations

import datetime
import functools
import uuid
from typing import TYPE_CHECKING, Any, Final

import pydantic

from holdfast.errors import PayloadInvalid

if TYPE_CHECKING:
    from jsonschema import FormatChecker
    from jsonschema.protocols import Validator

__all__ = ["check_fits"]

FORMATS: Final[dict[str, Any]] = {
    "date-time": datetime.datetime,
    "date": datetime.date,
    "time": datetime.time,
    "duration": datetime.timedelta,
    "uuid": uuid.UUID,
}
SHOWN: Final = 3


def check_fits(value: Any, schema: str, *, what: str) -> None:
    """Refuse a value that does not fit a schema, which is JSON text.

    Raises:
        PayloadInvalid: with a line for each thing that does not fit. It shows no value, for that may be a secret.
    """
    try:
        problems = tuple(sorted(_problem(error) for error in _validator(schema).iter_errors(value)))
    except RecursionError:
        problems = ("it is nested too deep",)
    if problems:
        more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise PayloadInvalid(
            f"{what} does not fit",
            seen="; ".join(problems[:SHOWN]) + more,
            do="Make it fit its JSON schema.",
            problems=problems,
        )


def _problem(error: Any) -> str:
    """What does not fit, and where; jsonschema's own words would show the value."""
    where = ".".join(map(str, error.absolute_path))
    said = error.validator_value
    match error.validator:
        case "type":
            reason = f"should be of type {said if isinstance(said, str) else ' or '.join(said)}"
        case "required":
            missing = [name for name in said if name not in error.instance]
            reason = f"lacks {', '.join(missing)}"
        case "additionalProperties":
            reason = "has a field that is not known"
        case "anyOf" | "oneOf":
            reason = "fits none of its types"
        case "format":
            reason = f"is no {said}"
        case _:
            reason = f"does not fit {error.validator}: {said}"
    return f"{where}: {reason}" if where else reason


@functools.lru_cache(maxsize=64)
def _validator(schema: str) -> Validator:
    import jsonschema

    from holdfast import codec

    made: Validator = jsonschema.Draft202012Validator(codec.decode(schema), format_checker=_formats())
    return made


@functools.cache
def _formats() -> FormatChecker:
    import jsonschema

    checker = jsonschema.FormatChecker(formats=())
    for name, kind in FORMATS.items():
        adapter = pydantic.TypeAdapter(kind)
        checker.checks(name, raises=pydantic.ValidationError)(functools.partial(_reads, adapter))
    return checker


def _reads(adapter: pydantic.TypeAdapter[Any], value: object) -> bool:
    if isinstance(value, str):
        adapter.validate_python(value)
    return True
