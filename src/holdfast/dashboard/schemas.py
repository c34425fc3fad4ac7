"""What the JSON schema of a payload says of a value: how it is drawn, what may be chosen, how it looks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

DEEPEST: Final = 4  # groups in groups, and references to references
ONE: Final = ("string", "integer", "number")
Schema = Mapping[str, Any]


def plain(given: Any, root: Schema) -> tuple[Schema, bool]:
    """A schema with its reference followed, and whether null will do."""
    schema: Schema = given if isinstance(given, Mapping) else {}
    seen = 0
    while "$ref" in schema and seen < DEEPEST:
        found: Any = root
        for part in str(schema["$ref"]).removeprefix("#/").split("/"):
            found = found.get(part, {}) if isinstance(found, Mapping) else {}
        schema = {**found, **{key: value for key, value in schema.items() if key != "$ref"}}
        seen += 1
    either = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    nullable = len(either) < len(schema.get("anyOf", ()))
    if len(either) == 1 and nullable:
        found = plain(either[0], root)[0]
        yes_or_no = {"enum": [True, False]} if found.get("type") == "boolean" else {}  # a box knows no third
        return {**found, **yes_or_no, **rest}, True
    if [each.get("type") for each in either] == ["number", "string"]:  # a decimal
        return {"type": "string", "format": "decimal", **rest}, nullable
    return schema, False


def kind_of(schema: Schema, root: Schema) -> str:
    """How a value of this schema is drawn."""
    if "enum" in schema:
        return "choice" if all(isinstance(each, str | int | float) for each in schema["enum"]) else "json"
    if "const" in schema:
        return "json" if isinstance(schema["const"], dict | list) else "choice"
    match schema.get("type"):
        case "string":
            return "text"
        case "integer" | "number":
            return "number"
        case "boolean":
            return "check"
        case "object" if schema.get("properties"):
            return "group"
        case "array" if (each := plain(schema.get("items"), root))[0].get("type") in ONE and not each[1]:
            return "lines"
    return "json"


def options(schema: Schema) -> list[Any]:
    return [schema["const"]] if "const" in schema else list(schema["enum"])


def examples(schema: Schema, root: Schema) -> list[str]:
    """How a value looks, once for each of the types it may have."""
    either = schema.get("oneOf") or schema.get("anyOf") or [schema]
    return [json.dumps(example(each, root), ensure_ascii=False) for each in either if each.get("type") != "null"]


def example(given: Any, root: Schema, depth: int = 0) -> Any:
    """A value of this schema in which nothing is written yet."""
    schema = plain(given, root)[0]
    if depth and "default" in schema:
        return schema["default"]
    if either := schema.get("oneOf") or schema.get("anyOf"):
        return example(either[0], root, depth + 1)
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    deep = depth > DEEPEST
    match schema.get("type"):
        case "object":
            named: dict[str, Any] = schema.get("properties") or {"…": schema.get("additionalProperties")}
            return {} if deep else {key: example(each, root, depth + 1) for key, each in named.items()}
        case "array":
            return [] if deep else [example(schema.get("items"), root, depth + 1)]
        case "integer" | "number":
            return 0
        case "boolean":
            return False
    return "…"
