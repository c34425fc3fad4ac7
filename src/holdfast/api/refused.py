"""Errors as callers read them, whatever the status: not by a route that does not exist is anything else said, nor by a
body that is too large.

    under /v2     {message, param?, errors?: [{message, param?}]}      what clients of Mergent read
    elsewhere     {error, code?, param?, details?: [{error, param?}]}  what clients of Trigger.dev read
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse


class Refused(Exception):
    """What was asked for is not done, and why."""

    def __init__(
        self,
        status: int,
        message: str,
        param: str | None = None,
        errors: Sequence[Refused] = (),
        headers: Mapping[str, str] | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.errors, self.code = status, message, param, errors, code
        self.headers = dict(headers or {})

    def body(self, path: str) -> dict[str, Any]:
        """The body of an answer to a call of this path."""
        mergent = path.startswith("/v2")
        told: dict[str, Any] = {"message" if mergent else "error": self.message}
        if self.code is not None and not mergent:
            told["code"] = self.code
        if self.param is not None:
            told["param"] = self.param
        if self.errors:
            told["errors" if mergent else "details"] = [each.body(path) for each in self.errors]
        return told

    def answer(self, request: Request) -> JSONResponse:
        return JSONResponse(self.body(path_of(request)), status_code=self.status, headers=self.headers)


def path_of(request: Request) -> str:
    """The path of a call within this application, which may be mounted below a path of another one."""
    root: str = request.scope.get("root_path", "").rstrip("/")
    path: str = request.scope["path"]
    return path[len(root) :] if root and path.startswith(f"{root}/") else path


def called(request: Request) -> str:
    """Where this application was called, without a slash at the end."""
    root: str = request.scope.get("root_path", "").rstrip("/")
    return f"{request.url.scheme}://{request.url.netloc}{root}"


def invalid(message: str, param: str | None = None) -> Refused:
    return Refused(422, message, param)


def not_found(what: str) -> Refused:
    return Refused(404, f"There is no such {what}")


def all_of(problems: Sequence[Refused]) -> Refused:
    """One error of several."""
    if len(problems) == 1:
        return problems[0]
    return Refused(422, "; ".join(each.message for each in problems), None, problems)
