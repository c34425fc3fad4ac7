"""Fields of a form, made from the JSON schema of a payload, and the payload that comes back from them.

    fields(schema, value)       what to draw
    said(schema, form)          the value that was written

Objects are drawn field by field, one object in another as a group; what cannot be drawn (lists of objects, choices
between types) is a field of JSON. What a task needs and nobody has written is left out, so that the check against the
schema says so in its own words.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from holdfast import codec
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
DEEPEST: Final = 4
NOTHING: Final = object()
Schema = Mapping[str, Any]


class Field(NamedTuple):
    """One field: ``kind`` is text, number, check, choice, lines, json, or group, which has ``fields``."""

    name: str
    label: str
    kind: str
    type: str
    value: Any
    required: bool
    about: str
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
        value = schema.get("default", given.get("default", NOTHING))
    about = str(given.get("description") or schema.get("description") or "")
    title = label or str(schema.get("title") or "payload")
    kind = kind_of(schema, root)
    if kind == "group" and depth < DEEPEST and (value is NOTHING or value is None or isinstance(value, dict)):
        inner = tuple(properties(name, schema, root, value if isinstance(value, dict) else {}, depth))
        if depth == 0:
            yield from inner
        else:
            yield Field(name, title, "group", "", None, required, about, fields=inner)
        return
    kind = "json" if kind == "group" else kind
    required = required and not nullable and not schema.get("default")
    yield Field(
        name,
        title,
        kind,
        INPUTS.get(str(schema.get("format")), "text"),
        written(kind, value),
        required,
        about,
        choices=choices(schema, nullable or not required) if kind == "choice" else (),
        step="1" if schema.get("type") == "integer" else "any",
        least=schema.get("minimum"),
        most=schema.get("maximum"),
    )


def properties(name: str, schema: Schema, root: Schema, value: Schema, depth: int) -> Iterator[Field]:
    needed = schema.get("required", ())
    for key, each in schema["properties"].items():
        inner = value.get(key, NOTHING)
        yield from drawn(f"{name}.{key}", key, each, root, inner, required=key in needed, depth=depth + 1)


def plain(schema: Schema, root: Schema) -> tuple[Schema, bool]:
    """A schema with its reference followed, and whether null will do."""
    seen = 0
    while "$ref" in schema and seen < DEEPEST:
        found: Any = root
        for part in str(schema["$ref"]).removeprefix("#/").split("/"):
            found = found.get(part, {}) if isinstance(found, Mapping) else {}
        schema = {**found, **{key: value for key, value in schema.items() if key != "$ref"}}
        seen += 1
    either = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
    if len(either) == 1 and len(schema["anyOf"]) == 2:
        rest = {key: value for key, value in schema.items() if key != "anyOf"}
        return {**plain(either[0], root)[0], **rest}, True
    return schema, False


def kind_of(schema: Schema, root: Schema) -> str:
    """How a value of this schema is drawn."""
    if "enum" in schema:
        return "choice" if all(isinstance(each, str | int | float) for each in schema["enum"]) else "json"
    match schema.get("type"):
        case "string":
            return "text"
        case "integer" | "number":
            return "number"
        case "boolean":
            return "check"
        case "object" if schema.get("properties"):
            return "group"
        case "array" if plain(schema.get("items") or {}, root)[0].get("type") == "string":
            return "lines"
    return "json"


def choices(schema: Schema, none: bool) -> tuple[tuple[str, str], ...]:
    named = [(json.dumps(each), str(each)) for each in schema["enum"]]
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
            return pretty(value)
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
    text = form.raw(name)
    if kind == "check":
        return name in form
    if text == "" and not (kind == "text" and not nullable and "default" not in given and depth == 0):
        if name not in form or "default" in given or not nullable:
            return [] if kind == "lines" and "default" not in given else NOTHING
        return None
    match kind:
        case "text":
            return text
        case "lines":
            return [line for line in text.split("\n") if line.strip()]
    try:
        return parsed(text, name.removeprefix(f"{ROOT}."))
    except InvalidOption:
        if strict:
            raise
        return text


def group(name: str, schema: Schema, root: Schema, form: Form, nullable: bool, depth: int, *, strict: bool) -> Any:
    found = {}
    for key, each in schema["properties"].items():
        value = read(f"{name}.{key}", each, root, form, depth + 1, strict=strict)
        if value is not NOTHING:
            found[key] = value
    return None if nullable and not any(found.values()) else found


def parsed(text: str, what: str) -> Any:
    try:
        return codec.decode(text) if text.strip() else None
    except PayloadInvalid as error:
        raise InvalidOption(f"{what} is not valid JSON", seen=error.seen, do='Write text in quotes: "Ada".') from None
