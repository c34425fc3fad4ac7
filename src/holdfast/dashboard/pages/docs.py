"""What can be called over HTTP, as the document at ``/openapi.json`` has it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from fastapi import APIRouter, Request, Response

from holdfast.dashboard.site import READ, Site

NAMES: Final = {
    "healthz": "health",
    "readyz": "health",
    "idempotencyKeys": "idempotency keys",
    "bulk-actions": "bulk actions",
    "timezones": "time zones",
    "projects": "variables",
    "waitpoints": "tokens",
}
METHODS: Final = ("get", "post", "put", "patch", "delete")


class Operation(NamedTuple):
    """One thing that can be called."""

    method: str
    path: str
    summary: str
    about: str
    open: bool
    parameters: list[tuple[str, str, str]]
    body: str | None
    answers: list[tuple[str, str, str | None]]


def routes(site: Site) -> APIRouter:
    router = site.router()
    groups: dict[str, list[Operation]] = {}  # they are the same as long as this server is there

    @router.get("/docs", dependencies=READ)
    async def docs(request: Request) -> Response:
        if not groups:
            groups.update(grouped(operations(request.app.openapi())))
        return packed(request, site.page(request, "docs.html", here="docs", groups=groups))

    return router


def grouped(found: Iterable[Operation]) -> dict[str, list[Operation]]:
    groups: dict[str, list[Operation]] = {}
    for each in found:
        groups.setdefault(group_of(each.path), []).append(each)
    return groups


def packed(request: Request, answer: Response) -> Response:
    """The page compressed, where the browser takes that: it is long, and has nothing in it that was sent here."""
    if "gzip" in request.headers.get("accept-encoding", ""):
        answer.body = gzip.compress(answer.body, compresslevel=6)
        answer.headers.update({"Content-Encoding": "gzip", "Content-Length": str(len(answer.body))})
    answer.headers["Vary"] = "Accept-Encoding"
    return answer


def operations(document: Mapping[str, Any]) -> Iterator[Operation]:
    """All that can be called, in the order of the document."""
    for path, told in document["paths"].items():
        for method in METHODS:
            if method in told:
                yield operation(method, path, told[method], document)


def operation(method: str, path: str, told: Mapping[str, Any], document: Mapping[str, Any]) -> Operation:
    return Operation(
        method=method.upper(),
        path=path,
        summary=told.get("summary", ""),
        about=told.get("description", ""),
        open="security" not in told,
        parameters=[(each["name"], each["in"], each.get("description", "")) for each in told.get("parameters", ())],
        body=schema_in(told.get("requestBody", {}), document),
        answers=[(code, each.get("description", ""), schema_in(each, document)) for code, each in answers_of(told)],
    )


def answers_of(told: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return sorted(told["responses"].items())


def schema_in(told: Mapping[str, Any], document: Mapping[str, Any]) -> str | None:
    """The schema of a body, for people to read; None if there is none, or if it is the one of all errors."""
    for content in told.get("content", {}).values():
        schema = content.get("schema", {})
        name = schema.get("$ref", "").rpartition("/")[2]
        schema = document.get("components", {}).get("schemas", {}).get(name, schema)
        if schema and not {"error", "message"} & set(schema.get("required", ())):
            return json.dumps(schema, indent=2, ensure_ascii=False)
    return None


def group_of(path: str) -> str:
    """What a path is about: ``Runs`` of ``/api/v3/runs/{id}``, ``HTTP tasks`` of ``/v2/tasks``."""
    parts = [part for part in path.split("/") if part]
    if parts[0] == "v2":
        return f"HTTP {parts[1]}"
    word = next(part for part in parts if part not in ("api", "v1", "v2", "v3"))
    name = NAMES.get(word, word)
    return name[0].upper() + name[1:]
