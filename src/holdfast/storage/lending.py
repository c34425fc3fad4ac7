"""Connections of ours, lent: how an app's own SQL and its triggers share one transaction on SQLite.

One process must open a file with one SQLite library only (see sqlite.py), so an app that keeps its own tables in the
file borrows one of our connections, with the write lock on it, for the length of a ``with``. A database in memory has
but one connection, and lends that.

There is one write lock. While it is lent, everybody else who writes waits for it; and whoever waits in the very place
that has it would wait for himself, so that is refused.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, TypeVar

import apsw

from holdfast.errors import DatabaseError, HoldfastError, InvalidOption, shown
from holdfast.storage.base import Deferred, Store, Tx
from holdfast.storage.sqlite import SQLiteStore, SQLiteTx, closed, explained, finished, lent_here

P = ParamSpec("P")
R = TypeVar("R")


class Loan:
    """A connection in a transaction: committed at the end of the ``with``, rolled back if it ends by an exception.

    Use it in sync code by ``with`` and in async code by ``async with``, which waits for the write lock and for the
    disk in a thread. The transaction is yours and is ended for you: do not COMMIT in it.

    >>> with app.connection() as connection:
    ...     connection.execute("INSERT INTO orders (id) VALUES (?)", (1,))
    ...     ship.trigger(1, connection=connection)
    """

    def __init__(self, store: Callable[[], Store]) -> None:
        self._open_store = store
        self._connection: apsw.Connection | None = None

    def __enter__(self) -> apsw.Connection:
        connection = self._begin()
        lent_here.set(self)
        return connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(commit=kind is None)

    async def __aenter__(self) -> apsw.Connection:
        beginning = asyncio.ensure_future(asyncio.to_thread(self._begin))
        try:
            connection = await asyncio.shield(beginning)
        except asyncio.CancelledError:  # the lock is ours in a moment, and nobody would give it back
            beginning.add_done_callback(self._abandon)
            raise
        lent_here.set(self)
        return connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.shield(asyncio.ensure_future(asyncio.to_thread(self._end, commit=kind is None)))

    # -- for the store and the client --

    @property
    def is_open(self) -> bool:
        return self._connection is not None and self._pid == os.getpid()

    def holds_up(self, store: Store) -> bool:
        """Whether the write lock of this store is lent here."""
        return self.is_open and self._store is store

    def run(self, f: Callable[Concatenate[Tx, P], Deferred[R]], *args: P.args, **kwargs: P.kwargs) -> R:
        """Carry out a function of a transaction in this one: all of it, or nothing."""
        connection = self._connection
        if connection is None or not connection.in_transaction:
            raise DatabaseError(
                "The transaction of app.connection() has been ended",
                seen=shown(connection),
                do="Trigger before it ends; it is committed at the end of the with.",
            )
        plain = Untraced(connection)
        plain.execute("SAVEPOINT holdfast")
        try:
            result: R = finished(SQLiteTx(plain, self._store), lambda tx: f(tx, *args, **kwargs))  # type: ignore[arg-type]
        except BaseException as error:
            plain.execute("ROLLBACK TO holdfast")
            plain.execute("RELEASE holdfast")
            if isinstance(error, apsw.Error):
                raise explained(error, self._store.path) from error
            raise
        plain.execute("RELEASE holdfast")
        return result

    def _begin(self) -> apsw.Connection:
        store = self._open_store()
        if not isinstance(store, SQLiteStore):
            raise InvalidOption(
                "app.connection() is for apps whose runs are in SQLite",
                seen=store.url,
                do="Open a connection of your own to PostgreSQL, and give it as connection=.",
            )
        if self._connection is not None:
            raise HoldfastError(
                "This connection is lent already", seen=store.url, do="Call app.connection() for each with."
            )
        store.refuse_waiting()
        connection, self._give_back = borrow(store)
        try:
            with store.quiet:
                connection.execute("BEGIN IMMEDIATE")
        except apsw.Error as error:
            self._give_back()
            raise explained(error, store.path) from error
        self._store, self._connection, self._pid = store, connection, os.getpid()
        _lent[connection] = self
        return connection

    def _end(self, *, commit: bool) -> None:
        connection, self._connection = self._connection, None
        if connection is None or _lent.pop(connection, None) is None or self._pid != os.getpid():
            return  # a forked child leaves what is the parent's alone
        try:
            with self._store.quiet:
                end_transaction(connection, commit=commit)
        except apsw.Error as error:
            raise explained(error, self._store.path) from error
        finally:
            self._give_back()
        if commit:
            self._store.changed()

    def _abandon(self, beginning: asyncio.Future[apsw.Connection]) -> None:
        if not beginning.cancelled() and beginning.exception() is None:
            threading.Thread(target=self._end, kwargs={"commit": False}, daemon=True).start()


def end_transaction(connection: apsw.Connection, *, commit: bool) -> None:
    """COMMIT or ROLLBACK, if the app has not done it itself. What cannot be committed is rolled back."""
    try:
        if connection.in_transaction:
            connection.execute("COMMIT" if commit else "ROLLBACK")
    except apsw.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def borrow(store: SQLiteStore) -> tuple[apsw.Connection, Callable[[], None]]:
    """A connection that nobody else uses, and what gives it back."""
    if store.path is not None:
        connection = store.connect()
        return connection, lambda: store.disconnect(connection)
    handed: Future[apsw.Connection] = Future()
    returned = threading.Event()

    def lend() -> None:
        handed.set_result(store.write_connection())
        returned.wait()

    if not store.writers.submit(lend):
        raise closed(store.url)
    return handed.result(), returned.set


class Untraced:
    """A connection whose rows are tuples, whatever its borrower has set."""

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection

    def execute(self, statement: str, bindings: Any = None) -> apsw.Cursor:
        return self.cursor().execute(statement, bindings)

    def executemany(self, statement: str, bindings: Any) -> apsw.Cursor:
        return self.cursor().executemany(statement, bindings)

    def cursor(self) -> apsw.Cursor:
        cursor = self.connection.cursor()
        cursor.row_trace = lambda _, row: row
        cursor.exec_trace = lambda *_: True
        return cursor


_lent: dict[apsw.Connection, Loan] = {}


def lent(connection: object) -> Loan | None:
    """The loan that this connection is, if it is one."""
    return _lent.get(connection) if isinstance(connection, apsw.Connection) else None


def loan_of(connection: object, store: Store) -> Loan:
    """The loan that this connection is. Raises InvalidOption for any other connection, and says why."""
    loan = lent(connection)
    if loan is not None and loan.holds_up(store):
        return loan
    package = type(connection).__module__.partition(".")[0]
    what, do = "connection is nothing that Holdfast can join", "Give what app.connection() yields."
    if loan is not None:
        what = "connection is lent by another app"
    elif package == "apsw":
        what = "connection is not one that app.connection() lends, or its with has ended"
    elif package in ("sqlite3", "aiosqlite", "sqlalchemy", "django"):
        what = (
            "connection is of another SQLite library, or of another database: two libraries in one process drop each "
            "other's locks on the file, and committed rows get lost"
        )
        do = "Write your rows on the connection that app.connection() yields, and give that."
    elif package in ("psycopg", "psycopg2", "asyncpg", "pg8000"):
        what = "connection is of PostgreSQL, and this app's database is SQLite"
    raise InvalidOption(what, seen=shown(connection), do=do)
