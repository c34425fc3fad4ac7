"""Errors: what went wrong, in groups, the latest first."""

from __future__ import annotations

from typing import Any

import msgspec

from holdfast.storage import Tx

FIRST = (2**62, "")


class ErrorView(msgspec.Struct, kw_only=True, frozen=True):
    """Runs that went wrong in the same way. ``type`` is that of the exception, or the status of a run that has none;
    ``message`` is the latest; ``place`` is where in the app's own code, empty if it is not known. ``runs`` are all that
    were ever counted, also those that are not kept any more. Versions are those of the first and the last run."""

    fingerprint: str
    task: str
    type: str
    message: str
    place: str
    runs: int
    first_at: int
    last_at: int
    first_version: str | None
    last_version: str | None
    last_run: str


class ErrorPage(msgspec.Struct, kw_only=True, frozen=True):
    """A page of errors; ``next_cursor`` goes on after it."""

    errors: list[ErrorView]
    next_cursor: str | None


def errors(tx: Tx, *, limit: int = 50, before: str | None = None) -> ErrorPage:
    """The errors of which runs ended last come first. Whatever ``before`` is, it does no harm."""
    at, after = place(before)
    found = [view(row) for row in tx.rows("error_groups", at=at, after=after, n=limit + 1)]
    last = found[limit - 1] if len(found) > limit else None
    return ErrorPage(errors=found[:limit], next_cursor=f"{last.last_at}-{last.fingerprint}" if last else None)


def error(tx: Tx, fingerprint: str) -> ErrorView | None:
    """One group, or None if nothing of it is kept."""
    row = tx.row("error_group", fingerprint=fingerprint)
    return None if row is None else view(row)


def place(cursor: str | None) -> tuple[int, str]:
    at, _, after = (cursor or "").partition("-")
    return (int(at), after) if at.isdecimal() and len(at) < 19 else FIRST


def view(row: tuple[Any, ...]) -> ErrorView:
    return ErrorView(**dict(zip(ErrorView.__struct_fields__, row, strict=True)))
