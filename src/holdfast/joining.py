"""Triggers inside a transaction of the caller's: the option ``connection=``.

On PostgreSQL it is one statement, whatever the library of the connection, and it only appends: what has to lock others'
rows, or to look at them, waits for the commit (migration 0002). New names are made before, in a transaction of our own.
On SQLite it is done on the connection that ``app.connection()`` has lent. Nothing is begun or ended here.

In a test whose runs are in memory (``app.testing()``) the transaction is in another database: what could be joined
elsewhere is taken, and the runs are made at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from holdfast import storage
from holdfast.engine import catalogue
from holdfast.engine.trigger import Outcome, RouteName, row
from holdfast.engine.trigger import trigger as make
from holdfast.errors import InvalidOption
from holdfast.records import NewRun, QueueEntry, TaskEntry, Triggered
from holdfast.storage import Deferred, Store, Tx

if TYPE_CHECKING:
    from holdfast.storage.callers import Caller

__all__ = ["ajoin", "join"]

Names = tuple[list[QueueEntry], list[RouteName], list[TaskEntry]]

_CHUNK: Final = 1000


def join(
    store: Store, connection: object, runs: Sequence[NewRun], names: Names | None, *, in_test: bool = False
) -> list[Outcome]:
    """Make these runs in the transaction of ``connection``. Answers as `engine.trigger.trigger` does.

    Raises:
        InvalidOption: it is no connection that can be joined, and why.
        IdempotencyBusy, AttemptLost, DatabaseError: what the database said. On PostgreSQL the transaction is aborted.
    """
    if in_test and not storage.is_lent(connection):
        _of_colour(connection, asynchronous=False)  # what could not be joined anywhere is refused here as well
        return store.run_sync(_make_named, names, runs)
    if store.kind == "sqlite":
        return storage.loan_of(connection, store).run(_make_named, names, runs)
    caller = _of_colour(connection, asynchronous=False)
    if names is not None:
        store.run_sync(catalogue.ensure_names, *names)
    if store.home is None:
        store.home = store.read_sync(_home)
    return [made for chunk in _chunks(runs) for made in _outcomes(chunk, caller.ask(**_parameters(store, chunk)))]


async def ajoin(
    store: Store, connection: object, runs: Sequence[NewRun], names: Names | None, *, in_test: bool = False
) -> list[Outcome]:
    """`join` for async code. What SQLite does for it is over at once: the disk is waited for at the commit."""
    if in_test and not storage.is_lent(connection):
        _of_colour(connection, asynchronous=True)
        return await store.run(_make_named, names, runs)
    if store.kind == "sqlite":
        return storage.loan_of(connection, store).run(_make_named, names, runs)
    caller = _of_colour(connection, asynchronous=True)
    if names is not None:
        await store.run(catalogue.ensure_names, *names)
    if store.home is None:
        store.home = await store.read(_home)
    return [
        made for chunk in _chunks(runs) for made in _outcomes(chunk, await caller.aask(**_parameters(store, chunk)))
    ]


def _of_colour(connection: object, *, asynchronous: bool) -> Caller:
    caller = storage.caller_of(connection)
    if caller.asynchronous is not asynchronous:
        kind = f"{type(connection).__module__}.{type(connection).__qualname__}"
        raise InvalidOption(
            "connection is asynchronous, and this verb is not"
            if caller.asynchronous
            else "connection is for sync code",
            seen=kind,
            do="Await atrigger() with it." if caller.asynchronous else "Call trigger() with it.",
        )
    return caller


def _make_named(tx: Tx, names: Names | None, runs: Sequence[NewRun]) -> Deferred[list[Outcome]]:
    # Here the names are the transaction's, too: it has the one write lock, so nobody else waits for them.
    if names is not None:
        catalogue.ensure_names(tx, *names)
    return make(tx, runs)


def _home(tx: Tx) -> str:
    """Which database this is: the statement is refused on a connection to any other."""
    return str(tx.rows("home")[0][0])


def _parameters(store: Store, runs: Sequence[NewRun]) -> dict[str, Any]:
    rows = msgspec.json.encode([_joined_row(run) for run in runs]).decode()
    return {"runs": rows, "home": store.home, "at": store.clock.now() if store.clock else None}


def _joined_row(run: NewRun) -> dict[str, Any]:
    """The fields of ``holdfast.new_run``."""
    return msgspec.structs.asdict(row(run)) | {
        "payload": run.payload,
        "idempotency_ttl_ms": run.idempotency_ttl_ms,
        "parent_claim": run.parent_claim,
        "debounce_key": run.debounce_key,
        "debounce_ms": run.debounce_ms,
        "debounce_max_ms": run.debounce_max_ms,
        "debounce_leading": run.debounce_leading,
    }


def _outcomes(runs: Sequence[NewRun], answer: str) -> list[Outcome]:
    owners = msgspec.json.decode(answer, type=list[str])
    return [Triggered(owner, created=owner == run.id) for run, owner in zip(runs, owners, strict=True)]


def _chunks(runs: Sequence[NewRun]) -> Iterator[Sequence[NewRun]]:
    return (runs[start : start + _CHUNK] for start in range(0, len(runs), _CHUNK))
