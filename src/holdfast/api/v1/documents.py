"""What a route takes and answers: read from JSON, written as JSON, and told to OpenAPI, all from the same structs.

Bodies are decoded by msgspec straight from the bytes, whatever the content type says, for the client says JSON of an
empty body, too; an empty one is an empty object. Answers leave out what is not known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
from fastapi import Depends, Request, Response

from holdfast.api.auth import Needs
from holdfast.api.refused import Refused
from holdfast.names import storable

T = TypeVar("T")
ERROR: Final = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {"type": "string"},
        "code": {"type": "string"},
        "param": {"type": "string"},
        "details": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["error"],
                "properties": {"error": {"type": "string"}, "param": {"type": "string"}},
            },
        },
    },
}
MEANINGS: Final = {
    400: "The request cannot be read",
    401: "The key is missing, wrong or expired",
    403: "The key may not do this",
    404: "There is no such thing, or no longer",
    413: "The body is too large",
    415: "The body is of another type",
    421: "This server answers to other names",
    422: "What is asked for cannot be done, and why",
    429: "Too many calls",
    500: "The server failed; its log says why",
    503: "The database does not answer",
}
ALWAYS: Final = (401, 403, 421, 429, 503)


class Parameter(NamedTuple):
    """A parameter in the query of a call."""

    name: str
    about: str
    schema: Mapping[str, Any] = {"type": "string"}

    def told(self) -> dict[str, Any]:
        return {"name": self.name, "in": "query", "description": self.about, "schema": dict(self.schema)}


def documented(
    summary: str,
    *,
    answer: Any,
    needs: Needs | None = None,
    body: Any = None,
    status: int = 200,
    query: Iterable[Parameter] = (),
    refusals: Iterable[int] = (),
) -> dict[str, Any]:
    """How a route is declared: the types of its ``body`` and its ``answer``, what it ``needs`` of who calls (None: it
    is open to all), and the ``refusals`` beside those that every route has."""
    extra: dict[str, Any] = {}
    if parameters := [each.told() for each in query]:
        extra["parameters"] = parameters
    codes = {*ALWAYS, *refusals}
    if body is not None:
        extra["requestBody"] = {"content": {"application/json": {"schema": schema_of(body)}}}
        codes |= {400, 413, 422}
    told: dict[int | str, dict[str, Any]] = {status: {"description": "As asked", "content": content(schema_of(answer))}}
    told |= {code: {"description": MEANINGS[code], "content": content(ERROR)} for code in sorted(codes)}
    return {
        "summary": summary,
        "status_code": status,
        "responses": told,
        "openapi_extra": extra,
        "dependencies": [] if needs is None else [Depends(needs)],
    }


def content(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def schema_of(type: Any) -> dict[str, Any]:
    """The JSON schema of a type, with everything it refers to written out where it stands."""
    (schema,), components = components_of(type)
    return written_out(schema, components)  # type: ignore[no-any-return]


@cache
def components_of(type: Any) -> tuple[tuple[dict[str, Any], ...], dict[str, Any]]:
    return msgspec.json.schema_components([type], ref_template="{name}")


def written_out(schema: Any, components: Mapping[str, Any]) -> Any:
    if isinstance(schema, Mapping):
        if "$ref" in schema:
            return written_out(components[schema["$ref"]], components)
        return {name: written_out(each, components) for name, each in schema.items() if name != "title"}
    return [written_out(each, components) for each in schema] if isinstance(schema, list) else schema


# -- reading and writing ----------------------------------------------------------------------------------------------

NOTHING: Final = b"{}"


async def said(request: Request, decoder: msgspec.json.Decoder[T], limit: int) -> T:
    """What a call says. Raises Refused (400, 413)."""
    return read(await body_of(request, limit), decoder)


def read(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    try:
        return decoder.decode(body or NOTHING)
    except msgspec.ValidationError as error:
        raise Refused(400, "The body does not fit", errors=[Refused(400, str(error))]) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refused(400, "The body is not valid JSON") from None


async def body_of(request: Request, limit: int) -> bytes:
    """The body of a call. Raises Refused (413)."""
    found = bytearray()
    async for chunk in request.stream():
        found += chunk
        if len(found) > limit:
            raise Refused(413, f"The body is larger than {limit} bytes", headers={"Connection": "close"})
    return bytes(found)


def answered(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A value as the answer to a call."""
    return Response(encoded(value), status, headers, "application/json")


def encoded(value: object) -> bytes:
    """A value as JSON. Lone surrogates, as they may stand in an error or in a line of a log, are spelled out."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return msgspec.json.encode(spelled(msgspec.to_builtins(value, builtin_types=(msgspec.Raw,))))


def spelled(value: Any) -> Any:
    match value:
        case str():
            return storable(value)
        case dict():
            return {spelled(name): spelled(each) for name, each in value.items()}
        case list() | tuple():
            return [spelled(each) for each in value]
    return value
