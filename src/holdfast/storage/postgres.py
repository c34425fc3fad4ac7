"""PostgreSQL: a few connections with a thread each, statements that travel together, and a listener.

A transaction is sent in pipeline mode: BEGIN goes with the first statement, and a function that returns a
``Deferred`` has its COMMIT sent with the last one, so that a worker's whole round is one journey. A batch that is all
of its transaction travels without BEGIN and COMMIT.

Nothing here needs a session: PgBouncer in transaction mode works. What would need one is a setting of the connection
where the server takes it (``options``), and is said again in each transaction where it does not. Plans are made
without sequential scans, for a plan that was cached while a table was empty would read the whole of it for ever. They
are made once: each statement goes along one index whatever its parameters are, and to plan a claim takes longer than
to carry it out.
"""

from __future__ import annotations

import contextlib
import logging
import random
import re
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from operator import attrgetter
from typing import Any, TypeVar, cast

import msgspec
import psycopg
from psycopg import errors as pg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from holdfast.clock import Clock
from holdfast.errors import (
    DatabaseError,
    DatabaseFull,
    DatabaseReadOnly,
    DatabaseUnavailable,
    DatabaseUrlInvalid,
    IdempotencyBusy,
)
from holdfast.storage import statements
from holdfast.storage.base import Batch, Deferred, Row, RowBusy, Store, Threads, Tx

R = TypeVar("R")

CONNECTIONS = 4
THREADS = "holdfast-db"
TRIES = 6
LISTEN_SECONDS = 5.0
SETTINGS = (
    "-c enable_seqscan=off -c jit=off -c plan_cache_mode=force_generic_plan -c statement_timeout=60000 "
    "-c lock_timeout=2000 -c idle_in_transaction_session_timeout=60000"
)
BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"
LOCAL = "SET LOCAL enable_seqscan = off; SET LOCAL jit = off; SET LOCAL lock_timeout = 2000"
AGAIN = (pg.SerializationFailure, pg.DeadlockDetected)
encode = msgspec.json.Encoder().encode


class Hush(logging.Filter):
    """Keeps psycopg from saying that a pipeline of ours ended with its connection: we say ourselves what that means."""

    def filter(self, record: logging.LogRecord) -> bool:
        ended = record.msg.startswith("error ignored terminating") if isinstance(record.msg, str) else False
        return not (ended and threading.current_thread().name.startswith(THREADS))


logging.getLogger("psycopg").addFilter(Hush())


class Answer:
    """The rows of a statement that is under way."""

    __slots__ = ("cursor",)

    def __init__(self, cursor: psycopg.Cursor[Row]) -> None:
        self.cursor = cursor

    def rows(self) -> list[Row]:
        try:
            return self.cursor.fetchall()
        except psycopg.ProgrammingError as error:
            if error.sqlstate is None:  # the statement has no rows to give, which is only known once it has answered
                return []
            raise


class PostgresTx(Tx):
    """A transaction on a connection of ours. It begins with its first statement."""

    kind = "postgres"

    def __init__(self, connection: psycopg.Connection[Row], store: PostgresStore) -> None:
        self.connection, self.store = connection, store
        self.begun = False
        self.committing = False  # from here on an error leaves open whether it was done
        self.changes_tables = False  # what the driver has prepared on this connection is void then

    def begin(self) -> None:
        if not self.begun:
            self.begun = True
            self.connection.execute(BEGIN)
            if not self.store.settled:
                for setting in LOCAL.split("; "):
                    self.connection.execute(setting.encode())

    def send(self, name: str, /, **parameters: Any) -> Answer:
        self.begin()
        return self.execute(name, parameters)

    def execute(self, name: str, parameters: dict[str, Any]) -> Answer:
        statement = self.store.statements[name]
        if "now" in statement.parameters:
            parameters["now"] = self.store.frozen_now()
        if "ids" in parameters:
            parameters["ids"] = array_of(parameters["ids"])
        return Answer(self.connection.execute(statement.text.encode(), parameters or None))

    def batch(self, name: str, rows: Batch, /, **parameters: Any) -> Answer:
        if self.store.statements[name].lines:
            return self.send(name, **lines_of(rows, self.store.statements[name].columns), **parameters)
        return self.send(name, rows=encode(rows).decode(), **parameters)

    def alone(self, name: str, rows: Batch, /, **parameters: Any) -> Answer:
        if self.begun:
            return self.batch(name, rows, **parameters)
        self.committing = True
        return self.execute(name, {"rows": encode(rows).decode(), **parameters})

    def script(self, text: str) -> None:
        self.begin()
        self.changes_tables = True
        self.connection.prepare_threshold = None
        for statement in split(text):
            self.connection.execute(statement.encode())


def array_of(ids: list[str]) -> str | list[str]:
    """An array of ids as the text that the driver would make of it one by one. What could need quotes is left to it."""
    if not ids or not isinstance(ids[0], str):
        return ids
    text = ",".join(ids)
    plain = text.replace(",", "")
    odd = not (plain.isascii() and plain.isalnum()) or len(text) - len(plain) != len(ids) - 1 or "" in ids
    return ids if odd or "null" in map(str.lower, ids) else f"{{{text}}}"


def lines_of(rows: Batch, columns: tuple[str, ...]) -> dict[str, str]:
    """Each column of these records as a text with a line for each."""
    return {
        column: "\n".join(["" if (value := get(row)) is None else str(value) for row in rows])
        for column, get in ((column, attrgetter(column)) for column in columns)
    }


def split(text: str) -> list[str]:
    """The statements of a migration. Ours have no semicolon inside a statement but in dollar quotes."""
    parts, inside = [""], False
    for line in text.splitlines(keepends=True):
        bare = line.split("--")[0]
        inside ^= bare.count("$$") % 2 == 1
        parts[-1] += line
        if bare.rstrip().endswith(";") and not inside:
            parts.append("")
    return [part for part in parts if part.strip()]


class PostgresStore(Store):
    """An open PostgreSQL database."""

    kind = "postgres"
    tells_sleepers = True

    def __init__(self, url: str, *, clock: Clock | None = None) -> None:
        super().__init__(hide_password(url), clock)
        self.conninfo = conninfo(url)
        self.statements = statements.load("postgres", clock is not None)
        self.settled = True  # the connection carries our settings
        self.closed = False
        self.listener: Listener | None = None
        self.prepare_threads()

    def prepare_threads(self) -> None:
        self.local = threading.local()
        self.connections: set[psycopg.Connection[Row]] = set()
        self.threads = Threads(CONNECTIONS, THREADS)

    def frozen_now(self) -> int:
        return self.clock.now() if self.clock else 0

    # connections

    def connection(self) -> psycopg.Connection[Row]:
        connection: psycopg.Connection[Row] | None = getattr(self.local, "connection", None)
        if connection is None or connection.closed:
            connection = self.local.connection = self.connect()
            self.connections.add(connection)
        return connection

    def connect(self) -> psycopg.Connection[Row]:
        try:
            if self.settled:
                try:
                    connection = open_connection(self.conninfo, SETTINGS)
                    if has_settings(connection):
                        return connection
                    connection.close()  # a pooler that is told to ignore options, and shares its sessions out
                except psycopg.OperationalError as error:
                    if "startup parameter" not in str(error):  # PgBouncer's words for options it does not pass on
                        raise
                self.settled = False
            connection = open_connection(self.conninfo, None)
            connection.prepare_threshold = None
            return connection
        except psycopg.Error as error:
            raise explained(error, self.url) from error

    def drop(self) -> None:
        connection = getattr(self.local, "connection", None)
        self.local.connection = None
        if connection is not None:
            self.connections.discard(connection)
            with contextlib.suppress(psycopg.Error):
                connection.close()

    # doors

    def submit(self, f: Callable[[Tx], R], *, write: bool = True, again: bool = False) -> Future[R]:
        future: Future[R] = Future()
        if self.closed or not self.threads.submit(lambda: self.settle(f, future, again)):
            error = DatabaseUnavailable(
                "The database was closed",
                seen=self.url,
                do="Do not use the app after close().",
            )
            future.set_exception(error)
        return future

    def settle(self, f: Callable[[Tx], R], future: Future[R], again: bool) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            result = self.tried(f, again)
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)

    def tried(self, f: Callable[[Tx], R], again: bool) -> R:
        """Run the transaction, and run it again as long as the database says that this is worth it."""
        for attempt in range(TRIES):
            tx: PostgresTx | None = None
            try:
                tx = PostgresTx(self.connection(), self)
                return self.transaction(f, tx)
            except AGAIN as error:
                if attempt == TRIES - 1:
                    raise explained(error, self.url) from error
                time.sleep(random.uniform(0, 0.01 * 2**attempt))
            except psycopg.Error as error:
                lost = is_lost(error)
                if lost:
                    self.drop()
                if not lost or attempt > 0 or (tx is not None and tx.committing and not again):
                    raise explained(error, self.url) from error
        raise AssertionError("unreachable")

    def transaction(self, f: Callable[[Tx], R], tx: PostgresTx) -> R:
        try:
            with tx.connection.pipeline():
                result = f(tx)
                if tx.begun:
                    tx.committing = True
                    tx.connection.execute("COMMIT")
            return cast("R", result.read()) if isinstance(result, Deferred) else result
        except BaseException:
            self.roll_back(tx.connection)
            raise
        finally:
            if tx.changes_tables:
                self.drop()

    def roll_back(self, connection: psycopg.Connection[Row]) -> None:
        try:
            connection.rollback()
        except psycopg.Error:
            self.drop()

    # hearing of others

    def listen(self) -> None:
        if self.listener is None:
            self.listener = Listener(self)

    @property
    def early(self) -> bool:
        return self.settled and self.listener is not None and self.listener.connected  # poolers pass on no notification

    # the end

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        if self.listener is not None:
            self.listener.close()
        self.threads.stop()
        for connection in list(self.connections):
            connection.close()

    def forked(self) -> None:
        _parents.extend(self.connections)  # closing them here would end the parent's sessions
        if self.listener is not None and self.listener.connection is not None:
            _parents.append(self.listener.connection)
        self.listener = None
        self.prepare_threads()


_parents: list[psycopg.Connection[Row]] = []


class Listener:
    """One connection that waits for ``NOTIFY holdfast``, and comes back when it was lost."""

    def __init__(self, store: PostgresStore) -> None:
        self.store = store
        self.connection: psycopg.Connection[Row] | None = None
        self.connected = False
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.work, name="holdfast-listen", daemon=True)
        self.thread.start()

    def work(self) -> None:
        while not self.stopping.is_set():
            try:
                self.hear()
            except Exception:  # a listener that has ended hears nothing ever again
                self.connected = False
                self.stopping.wait(random.uniform(0.5, 1.5))

    def hear(self) -> None:
        with self.store.connect() as connection:
            self.connection = connection
            connection.execute("LISTEN holdfast")
            self.connected = True
            self.store.wakeups.wake()  # whatever was said meanwhile was not heard
            while not self.stopping.is_set():
                for _ in connection.notifies(timeout=LISTEN_SECONDS, stop_after=1):
                    self.store.wakeups.wake()
                connection.execute("SELECT 1")

    def close(self) -> None:
        """End at once: the thread waits for the server's next word, so that wire is cut."""
        self.stopping.set()
        if self.connection is not None:
            with (
                contextlib.suppress(OSError, psycopg.Error),
                socket.fromfd(self.connection.fileno(), socket.AF_INET, socket.SOCK_STREAM) as wire,
            ):
                wire.shutdown(socket.SHUT_RDWR)
        self.thread.join(1)


def conninfo(url: str) -> str:
    """What libpq needs, with the time limits that a lost network asks for. Raises ``DatabaseUrlInvalid``."""
    try:
        given = conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        raise DatabaseUrlInvalid(
            "This is not a PostgreSQL URL",
            seen=f"{hide_password(url)}: {error}",
            do="Write postgresql://user:password@host:5432/name.",
        ) from error
    defaults = {
        "connect_timeout": "10",
        "keepalives_idle": "10",
        "keepalives_interval": "5",
        "keepalives_count": "3",
    }
    return make_conninfo(
        "",
        **(defaults | {"tcp_user_timeout": "20000", "application_name": "holdfast"} | given),
    )


def open_connection(info: str, options: str | None) -> psycopg.Connection[Row]:
    more = {"options": f"{conninfo_to_dict(info).get('options', '')} {options}".strip()} if options else {}
    return psycopg.Connection.connect(make_conninfo(info, **more), autocommit=True, prepare_threshold=0)


def has_settings(connection: psycopg.Connection[Row]) -> bool:
    """Whether the server took our settings with the connection."""
    row = connection.execute("SELECT current_setting('enable_seqscan')").fetchone()
    return row is not None and row[0] == "off"


def hide_password(url: str) -> str:
    """The URL as it may be shown."""
    url = re.sub(r"([?&](?:ssl)?password=)[^&]*", r"\1***", url)
    head, at, tail = url.rpartition("@")
    scheme, separator, user = head.partition("://")
    return f"{scheme}{separator}{user.partition(':')[0]}@{tail}" if at else url


def is_lost(error: psycopg.Error) -> bool:
    """Whether the connection is gone, or the server is: starting, stopping, or no longer the primary."""
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return error.sqlstate.startswith(("08", "57P")) or error.sqlstate in ("25006", "53300")


def explained(error: psycopg.Error, url: str) -> Exception:
    """What PostgreSQL said, in our words."""
    seen = f"{url}: {' '.join(str(error).split())}"
    if isinstance(error, pg.LockNotAvailable) and "idempotency" in (error.diag.context or ""):
        return IdempotencyBusy(
            "This idempotency key is held by another transaction that is still open",
            seen=seen,
            do="Try again when it has ended.",
        )
    if isinstance(error, AGAIN):
        return RowBusy(
            "Transactions kept getting in each other's way",
            seen=seen,
            do="Try again; find who locks many rows at once (pg_stat_activity).",
        )
    if isinstance(error, pg.LockNotAvailable):
        return RowBusy(
            "Another transaction that is still open holds a row this needs",
            seen=seen,
            do="Find what keeps a transaction open (pg_stat_activity).",
        )
    if isinstance(error, pg.ReadOnlySqlTransaction):
        return DatabaseReadOnly(
            "This server only reads",
            seen=seen,
            do="Connect to the primary (target_session_attrs=read-write).",
        )
    if isinstance(error, pg.InsufficientPrivilege):
        return DatabaseReadOnly(
            "This user may not do that",
            seen=seen,
            do="Grant it the rights, or run `holdfast migrate --sql` as an owner.",
        )
    if isinstance(error, pg.DiskFull):
        return DatabaseFull(
            "The server's disk is full, nothing of this was stored",
            seen=seen,
            do="Make room; work goes on by itself.",
        )
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return DatabaseUnavailable(
            "PostgreSQL does not answer",
            seen=seen,
            do="Check that it runs and that the URL is right.",
        )
    return DatabaseError("PostgreSQL refused a statement", seen=seen, do="Please report this.")
