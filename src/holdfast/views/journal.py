"""The journal of a run as people look at it: what it has done, what it waits for, and the runs and tokens in that."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from holdfast import codec
from holdfast.model import entry_status
from holdfast.storage import Tx
from holdfast.views.lists import listed_runs

ENTRIES: Final = 1_000  # the last so many
RESULT_BYTES: Final = 8_192  # what is longer is not shown
RUNS: Final = 100  # of one entry
MAKING: Final = ("child", "children", "trigger")  # kinds whose results are runs


class RelatedRun(msgspec.Struct, frozen=True):
    """A parent or a child. ``status`` is None for one that was removed."""

    id: str
    task: str | None
    status: str | None


class TokenView(msgspec.Struct, kw_only=True, frozen=True):
    """A token of a run: its status is open, completed or expired."""

    id: str
    status: str
    expires_at: int | None
    url: str | None = None


class EntryView(msgspec.Struct, kw_only=True, frozen=True):
    """One entry. ``until_at`` is when a wait ends by itself, or a step is tried again. ``run_count`` counts all
    ``runs``, of which it has some, and ``remaining`` those of them that have not ended. A ``result`` of more than 8 KiB
    is left out, and ``result_size`` tells of it. What was ``kept`` was recorded by the run that this one replays."""

    key: str
    kind: str
    name: str
    branch: str
    status: str
    attempt: int
    tries: int
    started_at: int
    finished_at: int | None
    until_at: int | None
    took_ms: int | None
    result: Any
    result_size: int
    error: dict[str, Any] | None
    run_count: int
    remaining: int
    runs: list[RelatedRun]
    token: TokenView | None
    kept: bool


class JournalView(NamedTuple):
    """The last entries of a journal, how many there are in all, and the run that it goes on from, with the step."""

    entries: list[EntryView]
    total: int
    replay_of: str | None
    from_step: str | None


class Line(NamedTuple):
    """A row of ``shown_journal``."""

    key: str
    branch: str
    kind: str
    name: str
    state: str
    target: str | None
    remaining: int
    due_at: int | None
    tries: int
    started_at: int
    done_at: int | None
    claim: int
    attempt: int
    result: str | None
    result_size: int
    error: str | None


def journal(tx: Tx, run_id: str, payload: str) -> JournalView:
    """What this run has recorded; ``payload`` is its own, whose secrets are not shown."""
    rows = tx.rows("shown_journal", run_id=run_id, bytes=RESULT_BYTES, n=ENTRIES)
    lines = [Line._make(row) for row in reversed(rows)]
    count = tx.rows("journal_size", run_id=run_id)[0][0] if lines else 0
    origin = next((line for line in lines if line.kind == "replay"), None)
    lines = [line for line in lines if line is not origin]
    made = {line.key: runs_of(line) for line in lines if line.kind in MAKING}
    known = related(tx, [each for ids in made.values() for each in ids[:RUNS]])
    tokens = tokens_of(tx, [line.target for line in lines if line.target is not None])
    entries = [entry(line, made.get(line.key, []), known, tokens, payload) for line in lines]
    return JournalView(
        entries,
        count - (origin is not None),
        origin.target if origin is not None else None,
        origin.name if origin is not None else None,
    )


def entry(
    line: Line, runs: list[str], known: dict[str, RelatedRun], tokens: dict[str, TokenView], payload: str
) -> EntryView:
    status = entry_status(line.kind, line.state)
    took = None if line.done_at is None else max(0, line.done_at - line.started_at)
    shows = line.result is not None and line.kind not in MAKING
    return EntryView(
        key=line.key,
        kind=line.kind,
        name=line.name,
        branch=line.branch,
        status=status,
        attempt=line.attempt,
        tries=line.tries,
        started_at=line.started_at,
        finished_at=line.done_at,
        until_at=line.due_at,
        took_ms=took,
        result=codec.masked(line.result or "null", payload=payload) if shows else None,
        result_size=0 if line.kind in MAKING else line.result_size,
        error=None if line.error is None else shown_error(line.error),
        run_count=len(runs),
        remaining=line.remaining,
        runs=[known.get(each, RelatedRun(each, None, None)) for each in runs[:RUNS]],
        token=tokens.get(line.target or ""),
        kept=line.claim == 0,
    )


def shown_error(text: str) -> dict[str, Any]:
    stored = codec.decode(text)
    return {name: stored.get(name, "") for name in ("type", "message", "traceback")}


def runs_of(line: Line) -> list[str]:
    """The ids of the runs that an entry has made."""
    made = codec.decode(line.result or "[]")
    return [each if isinstance(each, str) else each[0] for each in made]


def related(tx: Tx, ids: Iterable[str | None]) -> dict[str, RelatedRun]:
    """What there is of these runs, by their ids."""
    wanted = sorted({each for each in ids if each is not None})
    return {each.id: RelatedRun(each.id, each.task, each.status) for each in listed_runs(tx, wanted)} if wanted else {}


def tokens_of(tx: Tx, ids: Sequence[str]) -> dict[str, TokenView]:
    found = tx.rows("shown_tokens", ids=sorted(set(ids))) if ids else []
    return {
        token: TokenView(id=token, status="expired" if state == "open" and late else state, expires_at=expires)
        for token, state, expires, late in found
    }
