"""What the routes of ``/v2`` take and answer, for OpenAPI. Reading is more lenient than this: forms are taken, too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

Schema = Mapping[str, Any]
TEXT: Final[Schema] = {"type": "string"}
MAYBE: Final[Schema] = {"type": ["string", "null"]}
NAME: Final[Schema] = {"type": ["string", "null"], "pattern": "^[a-zA-Z0-9._-]+$", "maxLength": 500}
MOMENT: Final[Schema] = {"type": ["string", "null"], "description": "ISO 8601; without an offset in UTC"}
HEADERS: Final[Schema] = {"type": "object", "additionalProperties": True}


def object_of(properties: Mapping[str, Schema], *required: str) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required)}


def list_of(items: Schema) -> Schema:
    return {"type": "array", "items": items}


REQUEST: Final = object_of({"url": TEXT, "headers": {"type": ["object", "null"]}, "body": {}}, "url")
SENT: Final = object_of({"url": MAYBE, "headers": HEADERS, "body": {}}, "url", "headers")
TASK: Final = object_of(
    {
        "id": {"type": "string", "format": "uuid"},
        "name": MAYBE,
        "queue": TEXT,
        "status": {"enum": ["queued", "working", "success", "failure"]},
        "request": SENT,
        "scheduled_for": TEXT,
        "created_at": TEXT,
    },
    *("id", "name", "queue", "status", "request", "scheduled_for", "created_at"),
)
SCHEDULE: Final = object_of(
    {
        "id": {"type": "string", "format": "uuid"},
        "name": MAYBE,
        "description": MAYBE,
        "queue": MAYBE,
        "request": SENT,
        "cron": MAYBE,
        "rrule": MAYBE,
        "dtstart": MAYBE,
        "paused": {"type": "boolean"},
        "scheduled_for": MAYBE,
        "created_at": TEXT,
    },
    *("id", "request", "paused", "created_at"),
)
CHANGED_TASK: Final = {"name": NAME, "queue": NAME, "request": REQUEST, "scheduled_for": MOMENT, "delay": MAYBE}
CHANGED_SCHEDULE: Final = {
    "name": MAYBE,
    "description": MAYBE,
    "queue": NAME,
    "request": REQUEST,
    "cron": MAYBE,
    "rrule": MAYBE,
    "dtstart": MOMENT,
    "paused": {"type": ["boolean", "null"]},
}
NEW_TASK: Final = object_of(CHANGED_TASK, "request")
NEW_SCHEDULE: Final = object_of(CHANGED_SCHEDULE, "request")
AFTER: Final[Schema] = {"name": "after", "in": "query", "required": False, "schema": TEXT}
CONFLICT: Final[Schema] = {"type": "object", "required": ["message"], "properties": {"message": TEXT}}


def documented(
    summary: str,
    answer: Schema | None,
    *,
    status: int = 200,
    body: Schema | None = None,
    query: Schema | None = None,
    conflicts: bool = False,
) -> dict[str, Any]:
    """How a route is declared: what it answers, None for nothing; what it takes; whether it may come too late."""
    said: dict[str, Any] = {"description": "As asked"}
    told: dict[int | str, dict[str, Any]] = {status: said | ({} if answer is None else json(answer))}
    if conflicts:
        told[409] = {"description": "It is too late, or the name is taken", **json(CONFLICT)}
    extra: dict[str, Any] = {} if body is None else {"requestBody": {"required": True, **json(body)}}
    extra |= {} if query is None else {"parameters": [query]}
    return {"summary": summary, "status_code": status, "responses": told, "openapi_extra": extra}


def json(schema: Schema) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}}
