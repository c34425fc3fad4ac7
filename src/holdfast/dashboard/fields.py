"""Fields of a form, made from the JSON schema of a payload, and the payload that comes back from them.

    fields(schema, value)       what to draw
    said(schema, form)          the value that was written

Objects are drawn field by field, one object in another as a group; what cannot be drawn (lists of objects, choices
between types) is a field of JSON that shows how it looks. What a task needs and nobody has written is left out, so that
the check against the schema says so in its own words.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from holdfast import codec
from holdfast.dashboard.schemas import DEEPEST, Schema, examples, kind_of, options, plain
from holdfast.dashboard.shapes import pretty
from holdfast.dashboard.site import Form
from holdfast.errors import InvalidOption, PayloadInvalid

ROOT: Final = "value"
INPUTS: Final = {
    "date": "date",
    "email": "email",
    "uri": "url",
    "password": "password",
}
HINTS: Final = {"date-time": "2027-01-31T09:00:00Z", "time": "09:00:00", "duration": "PT5M"}
NOTHING: Final = object()


class Unread(str):
    """What stands in a field of JSON and is none: it is shown again as it was written."""

    __slots__ = ()


class Field(NamedTuple):
    """One field: ``kind`` is text, number, check, choice, lines, json, or group, which has ``fields``."""

    name: str
    label: str
    kind: str
    type: str
    value: Any
    required: bool
    about: str
    hint: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    fields: tuple[Field, ...] = ()
    step: str = "any"
    least: Any = None
    most: Any = None


def fields(schema: Schema | None, value: Any = NOTHING) -> list[Field]:
    """The fields for a payload; empty for a task that takes none."""
    if schema is None:
        return []
    return [*drawn(ROOT, "", schema, schema, value, required=True, depth=0)]


def drawn(
    name: str, label: str, given: Schema, root: Schema, value: Any, *, required: bool, depth: int
) -> Iterator[Field]:
    schema, nullable = plain(given, root)
    if value is NOTHING:
        value = schema.get("default", NOTHING)
    about = str(schema.get("description") or "")
    title = label or str(schema.get("title") or "payload")
    kind = kind_of(schema, root)
    if kind == "group" and depth < DEEPEST and (value is NOTHING or value is None or isinstance(value, dict)):
        needed, written_in = required and not nullable, value if isinstance(value, dict) else {}
        inner = tuple(properties(name, schema, root, written_in, depth, needed=needed))
        if depth == 0:
            yield from inner
        else:
            yield Field(name, title, "group", "", None, required, about, fields=inner)
        return
    if kind == "lines" and isinstance(value, list) and not in_lines(value):
        name, kind = f"{name}:json", "json"
    kind = "json" if kind == "group" else kind
    if kind == "json" and value in ([], {}) and value == schema.get("default"):
        value = NOTHING  # how it looks says more
    required = required and not nullable and not schema.get("default")
    yield Field(
        name,
        title,
        kind,
        "password" if schema.get("writeOnly") else INPUTS.get(str(schema.get("format")), "text"),
        written(kind, value),
        required,
        about,
        hint="\n".join(examples(schema, root)) if kind == "json" else HINTS.get(str(schema.get("format")), ""),
        choices=choices(schema, nullable or not required) if kind == "choice" else (),
        step="1" if schema.get("type") == "integer" else "any",
        least=schema.get("minimum"),
        most=schema.get("maximum"),
    )


def properties(name: str, schema: Schema, root: Schema, value: Schema, depth: int, *, needed: bool) -> Iterator[Field]:
    """Those of an object; where it may be left out altogether, none has to be filled in."""
    names = schema.get("required", ()) if needed else ()
    for key, each in schema["properties"].items():
        inner = value.get(key, NOTHING)
        yield from drawn(f"{name}.{key}", key, each, root, inner, required=key in names, depth=depth + 1)


def in_lines(values: list[Any]) -> bool:
    """Whether values can stand one on each line."""
    return all(str(each).strip() and "\n" not in str(each) for each in values)


def choices(schema: Schema, none: bool) -> tuple[tuple[str, str], ...]:
    named = [(json.dumps(each), each if isinstance(each, str) else json.dumps(each)) for each in options(schema)]
    return (("", ""), *named) if none else tuple(named)


def written(kind: str, value: Any) -> Any:
    """A value as its field holds it."""
    if value is NOTHING or (value is None and kind != "json"):
        return False if kind == "check" else ""
    match kind:
        case "lines" if isinstance(value, list):
            return "\n".join(map(str, value))
        case "choice":
            return json.dumps(value)
        case "json":
            return value if isinstance(value, Unread) else pretty(value)
        case "check":
            return value is True
    return value


def said(schema: Schema | None, form: Form) -> Any:
    """The payload that a form has: as JSON, or field by field.

    Raises:
        InvalidOption: what was written cannot be read.
    """
    if "json" in form:
        return parsed(form.raw("json"), "The payload")
    if schema is None:
        return None
    value = read(ROOT, schema, schema, form, 0)
    return None if value is NOTHING else value


def kept(schema: Schema | None, form: Form) -> Any:
    """What was written, to be shown again: what cannot be read stays as it is."""
    try:
        return said(schema, form)
    except InvalidOption:
        if "json" in form:
            return form.raw("json")
        return read(ROOT, schema or {}, schema or {}, form, 0, strict=False)


def read(name: str, given: Schema, root: Schema, form: Form, depth: int, *, strict: bool = True) -> Any:
    schema, nullable = plain(given, root)
    kind = kind_of(schema, root)
    if kind == "group" and depth < DEEPEST and name not in form:
        return group(name, schema, root, form, nullable, depth, strict=strict)
    if f"{name}:json" in form:
        name, kind = f"{name}:json", "json"
    text = form.raw(name)
    if kind == "check":
        return name in form
    if text == "":
        return empty(kind, schema, nullable, depth) if name in form else NOTHING
    match kind:
        case "text":
            return text
        case "lines":
            lines = [line for line in text.split("\n") if line.strip()]
            if plain(schema["items"], root)[0]["type"] == "string":
                return lines
            text = f"[{','.join(lines)}]"
    try:
        return parsed(text, name.removeprefix(f"{ROOT}.").removesuffix(":json"))
    except InvalidOption:
        if strict:
            raise
        return Unread(text)


def empty(kind: str, schema: Schema, nullable: bool, depth: int) -> Any:
    """What a field says in which nothing stands: where a default stood, that somebody has taken it away."""
    default = schema.get("default", NOTHING)
    if nullable:
        return NOTHING if default is None else None
    if kind == "lines":
        return []
    words = kind == "text" and "format" not in schema
    return "" if words and default and (default is not NOTHING or depth == 0) else NOTHING


def group(name: str, schema: Schema, root: Schema, form: Form, nullable: bool, depth: int, *, strict: bool) -> Any:
    found = {}
    for key, each in schema["properties"].items():
        value = read(f"{name}.{key}", each, root, form, depth + 1, strict=strict)
        if value is not NOTHING:
            found[key] = value
    return None if nullable and untouched(found, schema, root) else found


def untouched(value: Any, given: Schema, root: Schema) -> bool:
    """Whether this is what an empty form says."""
    schema = plain(given, root)[0]
    if isinstance(value, dict) and kind_of(schema, root) == "group":
        return all(untouched(each, schema["properties"][key], root) for key, each in value.items())
    return value in (None, "", [], {}) or value is False or value == schema.get("default", NOTHING)


def parsed(text: str, what: str) -> Any:
    try:
        return codec.decode(text) if text.strip() else None
    except PayloadInvalid as error:
        raise InvalidOption(f"{what} is not valid JSON", seen=error.seen, do='Write text in quotes: "Ada".') from None
