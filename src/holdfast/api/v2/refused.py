"""Errors under ``/v2``: ``{message, param?, errors?: [{message, param?}]}``, whatever the status.

Clients of Mergent read ``message`` of every 4xx, so nothing else is ever said there: not by a route that does not
exist, not by a body that is too large.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.errors = status, message, param, errors
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        told: dict[str, Any] = {"message": self.message}
        if self.param is not None:
            told["param"] = self.param
        if self.errors:
            told["errors"] = [each.body() for each in self.errors]
        return told

    def response(self) -> JSONResponse:
        return JSONResponse(self.body(), status_code=self.status, headers=self.headers)


def invalid(message: str, param: str | None = None) -> Refused:
    return Refused(422, message, param)


def not_found(what: str) -> Refused:
    return Refused(404, f"There is no such {what}")


def all_of(problems: Sequence[Refused]) -> Refused:
    """One error of several."""
    if len(problems) == 1:
        return problems[0]
    return Refused(422, "; ".join(each.message for each in problems), None, problems)
