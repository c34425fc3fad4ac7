"""What can be called, as OpenAPI: ``/openapi.json``, and the page ``/docs`` is made of it.

Routes say what they take and what they answer; what holds for each of them is added here, from what they need: how a
key is brought, and what is answered when it is missing, may not do this, or calls too often.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from holdfast.api.auth import Needs, need_of

ABOUT: Final = """
Runs, schedules, queues and tokens over HTTP. Under `/api` it is what clients of Trigger.dev speak, under `/v2` what
those of Mergent do. A call brings its key as `Authorization: Bearer KEY`, or as the user name of HTTP Basic.
""".strip()
OURS: Final[Mapping[str, Any]] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {"type": "string"},
        "code": {"type": "string"},
        "param": {"type": "string"},
        "details": {"type": "array", "items": {"type": "object"}},
    },
}
MERGENTS: Final[Mapping[str, Any]] = {
    "type": "object",
    "required": ["message"],
    "properties": {
        "message": {"type": "string"},
        "param": {"type": "string"},
        "errors": {"type": "array", "items": {"type": "object"}},
    },
}
MEANINGS: Final = {
    "400": "It cannot be read",
    "401": "The key is missing or wrong",
    "403": "This key may not do this",
    "404": "There is no such thing, or no longer",
    "408": "The body did not arrive in time",
    "413": "The body is too large",
    "421": "This server answers to other names",
    "422": "It cannot be done, and why",
    "429": "There are too many calls",
    "503": "The database does not answer",
}
WITH_BODY: Final = frozenset(("408", "413"))
ANYBODY: Final = frozenset(("400", "404", "408", "413", "421", "422", "429", "503"))
SECURITY: Final = {
    "key": {"type": "http", "scheme": "bearer", "description": "A key, or a public token"},
    "basic": {"type": "http", "scheme": "basic", "description": "A key as the user name, with any password"},
}
PLAIN: Final = frozenset(("/healthz", "/readyz"))
METHODS: Final = ("get", "head", "put", "post", "patch", "delete")


def openapi() -> APIRouter:
    """The route of the document."""
    router = APIRouter()

    @router.get("/openapi.json", include_in_schema=False)
    async def document(request: Request) -> JSONResponse:
        return JSONResponse(request.app.openapi())

    return router


def document(app: FastAPI, routes: Iterable[APIRoute]) -> dict[str, Any]:
    """What these routes of the application are, as OpenAPI has it."""
    found = get_openapi(title=app.title, version=app.version, description=ABOUT, routes=app.routes)
    found.setdefault("components", {})["securitySchemes"] = SECURITY
    for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's own words for what is never answered here
        found["components"].get("schemas", {}).pop(name, None)
    needs = {(route.path_format, method.lower()): need_of(route) for route in routes for method in route.methods or ()}
    for path, operations in found["paths"].items():
        for method in METHODS:
            if method in operations and path not in PLAIN:
                complete(path, operations[method], needs.get((path, method)))
    return found


def complete(path: str, operation: dict[str, Any], need: Needs | None) -> None:
    """Add what holds for each call to what its route has said."""
    error = {"application/json": {"schema": MERGENTS if path.startswith("/v2") else OURS}}
    answers = operation["responses"]
    if "HTTPValidationError" in str(answers.get("422", "")):
        del answers["422"]
    for code in sorted(ANYBODY if need is None else codes(operation)):
        answers.setdefault(code, {"description": MEANINGS[code], "content": error})
    if need is None:
        return
    operation["security"] = [{name: []} for name in SECURITY]
    said = operation.get("description")
    operation["description"] = f"{said}\n\n{told(need)}" if said else told(need)


def codes(operation: Mapping[str, Any]) -> set[str]:
    """With what a call may be refused."""
    return MEANINGS.keys() - (set() if "requestBody" in operation else WITH_BODY)


def told(need: Needs) -> str:
    """What a route needs, in words.

    >>> told(needs("trigger", task="task_id"))
    'Needs the scope trigger, for the task that the path names.'
    """
    if need.action is None:
        return "Needs a key, whatever its scopes."
    what = f"Needs the scope {need.action}"
    if need.place is not None:
        thing = "the path names" if need.place.id is None else f"is called {need.place.id}"
        return f"{what}, for the {need.place.kind} that {thing}."
    return f"{what}, if only for some things: others are refused, or left out." if need.anyhow else f"{what}."
