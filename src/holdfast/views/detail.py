"""One run in full, and the lines it writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from holdfast import codec, secret
from holdfast.engine import pushes, read
from holdfast.idempotency import shown_key
from holdfast.machine import machine_in
from holdfast.model import FINAL
from holdfast.records import LogLine, RunRecord
from holdfast.request import request_in
from holdfast.storage import Tx
from holdfast.views.hosts import WorkerView, worker
from holdfast.views.journal import EntryView, JournalView, RelatedRun, journal, related
from holdfast.views.served import QUEUED, pins, served
from holdfast.views.why import Reason, reasons, situation

MAX_ATTEMPTS = 3  # of a task whose options nobody has announced


class ErrorView(msgspec.Struct, frozen=True):
    """What an attempt ended with."""

    type: str
    message: str
    traceback: str


class UsageView(msgspec.Struct, kw_only=True, frozen=True):
    """What an attempt in a process of its own has used, children included."""

    cpu_ms: int
    wall_ms: int
    memory_bytes: int


class AttemptView(msgspec.Struct, kw_only=True, frozen=True):
    """One attempt. ``outcome`` is how it ended: ``returned`` is handed back unused, ``executing`` has not ended.
    After others, one that has waited begins where it last went on."""

    number: int
    outcome: str
    started_at: int | None
    finished_at: int | None
    worker_id: str | None
    error: ErrorView | None
    usage: UsageView | None = None


class LogView(msgspec.Struct, kw_only=True, frozen=True):
    """One line that a run wrote; ``(claim, seq)`` is its place."""

    run_id: str
    claim: int
    seq: int
    at: int
    level: str
    attempt: int
    logger: str
    message: str


class InvocationView(msgspec.Struct, kw_only=True, frozen=True):
    """A request that was sent for an attempt, and what came back. Times of its parts are microseconds since it was
    begun; on a connection that was ``reused`` there was nothing to look up. Without a ``status`` there is an
    ``error``."""

    number: int
    at: int
    method: str
    url: str
    status: int | None
    error: str | None
    dns_us: int | None
    connect_us: int | None
    first_byte_us: int | None
    total_us: int
    reused: bool
    request_headers: Mapping[str, str]
    request_bytes: int
    response_headers: Mapping[str, str]
    body: str
    truncated: bool


class RunView(msgspec.Struct, kw_only=True, frozen=True):
    """A run, its attempts, and the reasons why it is not final. ``payload``, ``output`` and ``metadata`` are JSON
    values; there is an output only if the status is ``completed``. ``journal`` has the last thousand entries of
    ``journal_count``, and goes on from that of ``replay_of`` if the run was replayed from a step on."""

    id: str
    status: str
    task: str
    queue: str
    reasons: list[Reason]
    payload: Any
    output: Any
    error: ErrorView | None
    attempts: list[AttemptView]
    invocations: list[InvocationView]
    attempt: int
    max_attempts: int
    crashes: int
    created_at: int
    started_at: int | None
    finished_at: int | None
    due_at: int | None
    expires_at: int | None
    cancel_requested_at: int | None
    concurrency_key: str | None
    idempotency_key: str | None
    priority_ms: int
    tags: list[str]
    metadata: Mapping[str, Any]
    version: str | None
    machine: str | None
    parent_id: str | None
    root_id: str | None
    batch_id: str | None
    parent: RelatedRun | None
    root: RelatedRun | None
    replay_of: str | None
    from_step: str | None
    journal: list[EntryView]
    journal_count: int
    worker: WorkerView | None
    now: int

    @property
    def finished(self) -> bool:
        """Whether the status is final."""
        return self.status in FINAL


def run(tx: Tx, run_id: str) -> RunView | None:
    """One run, or None if it is unknown or pruned."""
    found = records(tx, [run_id])
    if not found:
        return None
    record = found[0]
    state = situation(tx, record)
    holder = worker(tx, record.worker_id) if record.worker_id is not None else None
    return run_view(
        record,
        attempts=attempts(tx, record, state.claimed_at if state else None),
        max_attempts=max_attempts(tx, record),
        reasons=reasons(state) if state else [],
        recorded=journal(tx, run_id, record.payload),
        family=related(tx, [record.parent_id, record.root_id]),
        invocations=invocations(tx, run_id),
        holder=holder,
        now=tx.now(),
    )


def records(tx: Tx, ids: Sequence[str]) -> list[RunRecord]:
    """These runs in the order asked for, ``pending_version`` told apart from ``queued``; the unknown are left out."""
    return with_status(tx, sealed(tx, read.runs(tx, ids)))


def heads(tx: Tx, ids: Sequence[str]) -> list[RunRecord]:
    """The same for lists: without outputs, and without large payloads."""
    return with_status(tx, sealed(tx, read.heads(tx, ids)))


def with_status(tx: Tx, found: list[RunRecord]) -> list[RunRecord]:
    if not any(record.status in QUEUED for record in found):
        return found
    live, pinned = served(tx), pins(tx, [record.id for record in found])
    return [
        record._replace(status=live.status(record.status, record.task, record.queue, pinned.get(record.id)))
        for record in found
    ]


def sealed(tx: Tx, found: list[RunRecord]) -> list[RunRecord]:
    """Seal what is secret in payloads that were written plainly, in SQL or before anybody had announced the task."""
    plain = {record.task for record in found if secret.KEY not in record.payload and record.payload != "null"}
    rows = tx.rows("secret_schemas", tasks=sorted(plain), mark=secret.MARK) if plain else []
    schemas = {task: codec.decode(text) for task, text in rows}
    return [
        record._replace(payload=codec.encode(secret.sealed_by(schemas[record.task], codec.decode(record.payload))))
        if record.task in schemas
        else record
        for record in found
    ]


def run_view(
    record: RunRecord,
    *,
    attempts: list[AttemptView],
    max_attempts: int,
    reasons: list[Reason],
    invocations: list[InvocationView],
    recorded: JournalView,
    family: Mapping[str, RelatedRun],
    holder: WorkerView | None,
    now: int,
) -> RunView:
    return RunView(
        id=record.id,
        status=record.status,
        task=record.task,
        queue=record.queue,
        reasons=reasons,
        payload=codec.masked(record.payload),
        output=None if record.output is None else codec.masked(record.output, payload=record.payload),
        error=error_view(record.error),
        attempts=attempts,
        invocations=invocations,
        attempt=record.attempts,
        max_attempts=max_attempts,
        crashes=record.crashes,
        created_at=record.created_at,
        started_at=record.started_at,
        finished_at=record.finished_at,
        due_at=record.due_at,
        expires_at=record.expire_at,
        cancel_requested_at=record.cancel_at,
        concurrency_key=record.concurrency_key,
        idempotency_key=shown_key(record.idempotency_key),
        priority_ms=record.priority_ms,
        tags=codec.decode(record.tags) if record.tags else [],
        metadata=codec.decode(record.metadata) if record.metadata else {},
        version=record.version,
        machine=machine_in(record.options),
        parent_id=record.parent_id,
        root_id=record.root_id,
        batch_id=record.batch_id,
        parent=family.get(record.parent_id or ""),
        root=family.get(record.root_id or ""),
        replay_of=recorded.replay_of,
        from_step=recorded.from_step,
        journal=recorded.entries,
        journal_count=recorded.total,
        worker=holder,
        now=now,
    )


def invocations(tx: Tx, run_id: str) -> list[InvocationView]:
    """The requests of a run, the first one first; none of a run of code."""
    return [
        msgspec.convert(
            {
                **codec.decode(sent.record),
                "number": sent.number,
                "at": sent.at,
                "status": sent.status,
                "total_us": sent.total_us,
            },
            InvocationView,
        )
        for sent in pushes.invocations(tx, run_id)
    ]


def error_view(text: str | None) -> ErrorView | None:
    if text is None:
        return None
    stored = codec.decode(text)
    return ErrorView(stored["type"], stored["message"], stored.get("traceback", ""))


def max_attempts(tx: Tx, record: RunRecord) -> int:
    """How often it is tried: as said at the trigger, or as its task was announced last."""
    said = codec.decode(record.options) if record.options else {}
    if "max_attempts" not in said and (own := request_in(said).retry) is not None:
        return own.max_attempts
    if "max_attempts" not in said:
        row = tx.row("task", id=record.task)
        said = codec.decode(row[2]) if row is not None else {}
    return int(said.get("max_attempts", MAX_ATTEMPTS))


def attempts(tx: Tx, record: RunRecord, claimed_at: int | None) -> list[AttemptView]:
    """The attempts that did not end the run, and the one that did, or that goes on."""
    earlier = [
        AttemptView(
            number=number,
            outcome=outcome,
            started_at=started,
            finished_at=finished,
            worker_id=worker_id,
            error=error_view(error),
            usage=usage_view(usage),
        )
        for _, number, worker_id, started, finished, outcome, error, usage in tx.rows("attempts", run_id=record.id)
    ]
    if record.worker_id is None or record.status not in FINAL | {"executing"}:
        return earlier
    last = AttemptView(
        number=record.attempts,
        outcome=record.status,
        started_at=claimed_at or (last_start(tx, record.id) if earlier else record.started_at),
        finished_at=record.finished_at,
        worker_id=record.worker_id,
        error=error_view(record.error),
        usage=usage_view(record.usage),
    )
    return [*earlier, last]


def last_start(tx: Tx, run_id: str) -> int | None:
    """When the attempt that ended this run was last claimed; None for a run that ended before this was kept."""
    row = tx.row("last_start", id=run_id)
    return None if row is None else row[0]


def usage_view(text: str | None) -> UsageView | None:
    return None if text is None else msgspec.json.decode(text, type=UsageView)


# -- lines ------------------------------------------------------------------------------------------------------------


class Place(msgspec.Struct):
    """Up to where the lines of a run are known."""

    run_id: str
    claim: int
    seq: int


def lines(tx: Tx, after: Mapping[str, tuple[int, int]], *, limit: int = 1_000) -> list[LogView]:
    """New lines of these runs, in order; ``after`` is the place (claim, seq) of the last known line of each."""
    places = [Place(run_id, *place) for run_id, place in sorted(after.items())]
    return [log_view(LogLine(*row)) for row in tx.batch("logs_of", places, n=limit).rows()] if places else []


def log_end(tx: Tx, run_id: str, count: int) -> list[LogView]:
    """The last lines of a run, in order."""
    rows = tx.rows("last_logs", run_id=run_id, n=count)
    return [log_view(LogLine(*row)) for row in reversed(rows)]


def new_runs(tx: Tx, after: str, *, limit: int = 500) -> list[str]:
    """The ids of runs made after this one, in order."""
    return [row[0] for row in tx.rows("new_runs", after=after, n=limit)]


def log_view(line: LogLine) -> LogView:
    """A line with its message as it was written: it is stored as JSON, since a text column has no NUL."""
    return LogView(
        run_id=line.run_id,
        claim=line.claim,
        seq=line.seq,
        at=line.at,
        level=line.level,
        attempt=line.attempt,
        logger=line.logger,
        message=str(codec.decode(line.message)),
    )
