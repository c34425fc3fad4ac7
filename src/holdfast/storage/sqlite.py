"""SQLite: one file, one writer thread, a few readers, and a commit that is on disk.

The file is opened with apsw, which brings its own SQLite: those from 3.7.0 to 3.51.2 can corrupt a WAL database
(sqlite.org/wal.html#walresetbug). ``synchronous=FULL`` makes a commit durable, and the writer thread makes it cheap:
it runs whatever has arrived while the last commit ran in one transaction, each caller inside a savepoint of its own,
so that they share the disk's time but not each other's fate.

Several processes may share the file. Whoever writes holds the write lock for one short transaction; the others ask
again every millisecond instead of sleeping for longer and longer, which is what SQLite's own busy handler does.

One process must open the file with one library only: two drop each other's locks (sqlite.org, How To Corrupt, 2.2.1).
A file that this process already holds open otherwise is therefore refused.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextvars import ContextVar
from operator import attrgetter
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast
from weakref import WeakKeyDictionary

import apsw

from holdfast.clock import Clock, SystemClock
from holdfast.errors import (
    DatabaseError,
    DatabaseForeign,
    DatabaseFull,
    DatabaseNotOurs,
    DatabaseReadOnly,
    DatabaseUnavailable,
    HoldfastError,
)
from holdfast.storage import statements
from holdfast.storage.base import Batch, Deferred, Row, Store, Threads, Tx, settle
from holdfast.storage.watch import FileWatch

R = TypeVar("R")

BUSY_SECONDS = 20.0  # how long a writer waits for another process before it says so
TOGETHER = 64  # callers in one commit
READERS = 2
SMALLEST = 512  # bytes of a database
PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -16000",
    "PRAGMA wal_autocheckpoint = 4000",
    "PRAGMA journal_size_limit = 67108864",
)


class Lent(Protocol):
    """The write lock, lent to whoever runs here (see lending.py)."""

    def holds_up(self, store: Store) -> bool: ...
    def run(self, f: Callable[[Tx], Any]) -> Any: ...


lent_here: ContextVar[Lent | None] = ContextVar("holdfast_lent_here", default=None)


class Answer:
    """Rows that are here already: nothing travels."""

    __slots__ = ("found",)

    def __init__(self, found: list[Row]) -> None:
        self.found = found

    def rows(self) -> list[Row]:
        return self.found


class SQLiteTx(Tx):
    """A transaction on a connection of ours."""

    kind = "sqlite"

    def __init__(self, connection: apsw.Connection, store: SQLiteStore) -> None:
        self.connection, self.store = connection, store
        self.at: int | None = None

    def now(self) -> int:
        if self.at is None:  # one moment for the whole transaction
            self.at = self.store.clock_now()
        return self.at

    def send(self, name: str, /, **parameters: Any) -> Answer:
        statement = self.store.statements[name]
        for key, value in parameters.items():
            if isinstance(value, list | tuple):
                parameters[key] = json.dumps(value)
        if "now" in statement.parameters:
            parameters["now"] = self.now()
        return Answer(self.connection.execute(statement.text, parameters).fetchall())

    def batch(self, name: str, rows: Batch, /, **parameters: Any) -> Answer:
        statement = self.store.statements[name]
        if "now" in statement.parameters:
            parameters["now"] = self.now()
        last = tuple(parameters[key] for key in sorted(statement.parameters))
        values = columns_of(rows, statement.columns)
        bound: Iterator[Sequence[Any]] = (value + last for value in values) if last else values
        return Answer(self.connection.executemany(statement.text, bound).fetchall())

    alone = batch

    def script(self, text: str) -> None:
        self.connection.execute(text)


def columns_of(rows: Batch, columns: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    """The values of the records in the order of the columns."""
    if len(columns) == 1:
        one = attrgetter(columns[0])
        return ((one(row),) for row in rows)
    return map(attrgetter(*columns), rows)


def finished(tx: SQLiteTx, f: Callable[[Tx], Any]) -> Any:
    """Carry a caller's function out to the end: the rows are here already, and an error in reading them undoes it."""
    result = f(tx)
    return result.read() if isinstance(result, Deferred) else result


def in_savepoint(tx: SQLiteTx, f: Callable[[Tx], Any]) -> Any:
    """The same for one of several callers; answers the error that is its own."""
    tx.connection.execute("SAVEPOINT caller")
    try:
        result = finished(tx, f)
    except (apsw.FullError, apsw.IOError):
        raise  # these end the whole transaction
    except Exception as error:
        tx.connection.execute("ROLLBACK TO caller")
        result = error
    tx.connection.execute("RELEASE caller")
    return result


class SQLiteStore(Store):
    """An open SQLite file, or a database in memory that is this store's alone (``sqlite://:memory:``)."""

    kind = "sqlite"
    wakes_for_all = True

    def __init__(self, path: Path | None, *, clock: Clock | None = None) -> None:
        super().__init__(f"sqlite:///{path}" if path else "sqlite://:memory:", clock)
        self.path = path
        self.ticking = clock or SystemClock()
        self.statements = statements.load("sqlite", True)
        self.writing: list[tuple[Callable[[Tx], Any], Future[Any]]] = []
        self.scheduled = False
        self.closed = False
        self.watch: FileWatch | None = None
        self.prepare_threads()
        refuse_foreign(path)
        refuse_scrap(path)
        self.write_connection()  # whatever is wrong with the file is said here, where somebody reads it

    def prepare_threads(self) -> None:
        self.local = threading.local()
        self.connections: list[apsw.Connection] = []
        self.shared: apsw.Connection | None = None
        self.writers = Threads(1, "holdfast-write")
        self.readers = self.writers if self.path is None else Threads(READERS, "holdfast-read")
        self.queue_lock = threading.Lock()

    def clock_now(self) -> int:
        return self.ticking.now()

    # connections

    def write_connection(self) -> apsw.Connection:
        if self.shared is None:
            self.shared = self.connect()
        return self.shared

    def read_connection(self) -> apsw.Connection:
        if self.path is None:
            return self.write_connection()
        connection: apsw.Connection | None = getattr(self.local, "connection", None)
        if connection is None:
            connection = self.local.connection = self.connect()
        return connection

    def connect(self) -> apsw.Connection:
        connection: apsw.Connection | None = None
        try:
            connection = apsw.Connection(str(self.path) if self.path else ":memory:")
            connection.set_busy_handler(patient())
            for pragma in PRAGMAS:
                connection.execute(pragma).fetchall()
        except apsw.Error as error:
            if connection is not None:
                connection.close()
            raise explained(error, self.path) from error
        self.connections.append(connection)
        if self.path is not None:
            _ours[connection] = self.path
        return connection

    def disconnect(self, connection: apsw.Connection) -> None:
        with contextlib.suppress(ValueError):  # who has closed the store has closed it, too
            self.connections.remove(connection)
        connection.close()

    def lent_here(self) -> Lent | None:
        """The loan that holds our write lock, if it was made right here."""
        lent = lent_here.get()
        return lent if lent is not None and lent.holds_up(self) else None

    def refuse_waiting(self) -> None:
        if self.lent_here() is not None:
            raise HoldfastError(
                "This would wait for the transaction of app.connection() that is open right here",
                seen=self.url,
                do="Give it connection=, or do it after the with.",
            )

    # doors

    def submit(self, f: Callable[[Tx], R], *, write: bool = True, again: bool = False) -> Future[R]:
        future: Future[R] = Future()
        if not write and self.path is None and (lent := self.lent_here()) is not None:
            settle(future, lent.run(f))  # there is no other connection to read by
        elif not (self.schedule(f, future) if write else self.schedule_read(f, future)):
            future.set_exception(closed(self.url))
        return future

    def schedule_read(self, f: Callable[[Tx], R], future: Future[R]) -> bool:
        return not self.closed and self.readers.submit(lambda: self.read_one(f, future))

    def schedule(self, f: Callable[[Tx], R], future: Future[R]) -> bool:
        with self.queue_lock:
            if self.closed:
                return False
            self.writing.append((f, future))
            if not self.scheduled:
                self.scheduled = self.writers.submit(self.write)
        return True

    def write(self) -> None:
        """Carry out everything that waits, a commit for as many as have come."""
        while True:
            with self.queue_lock:
                jobs, self.writing = self.writing[:TOGETHER], self.writing[TOGETHER:]
                self.scheduled = bool(jobs)
            if not jobs:
                return
            if wanted := [job for job in jobs if job[1].set_running_or_notify_cancel()]:
                self.commit(wanted)

    def commit(self, jobs: list[tuple[Callable[[Tx], Any], Future[Any]]]) -> None:
        try:
            with self.quiet:  # SQLite has locks of the whole process
                results = self.transaction([f for f, _ in jobs])
        except BaseException as error:
            if len(jobs) > 1 and not isinstance(error, apsw.BusyError):
                for job in jobs:  # each alone: only those that cannot be done are told
                    self.commit([job])
                return
            results = [error] * len(jobs)
        for (_, future), result in zip(jobs, results, strict=True):
            settle(future, explained(result, self.path) if isinstance(result, BaseException) else result)

    def transaction(self, work: list[Callable[[Tx], Any]]) -> list[Any]:
        connection = self.write_connection()
        tx = SQLiteTx(connection, self)
        connection.execute("BEGIN IMMEDIATE")
        try:
            carry_out = finished if len(work) == 1 else in_savepoint
            results = [carry_out(tx, f) for f in work]
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self.changed()
        return results

    def changed(self) -> None:
        """Something was committed in this process: who listens hears it from the file, the others from us."""
        if self.watch is None or not self.watch.alive:
            self.wakeups.wake()

    def read_one(self, f: Callable[[Tx], R], future: Future[R]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            with self.quiet:
                result = self.reading(f)
        except BaseException as error:
            settle(future, explained(error, self.path))
        else:
            settle(future, result)

    def reading(self, f: Callable[[Tx], R]) -> R:
        connection = self.read_connection()
        connection.execute("BEGIN")
        try:
            return cast("R", finished(SQLiteTx(connection, self), f))
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    # hearing of others

    def listen(self) -> None:
        if self.path is not None and self.watch is None:
            self.watch = FileWatch(Path(f"{self.path}-wal"), self.wakeups.wake)

    @property
    def early(self) -> bool:
        return self.path is None or (self.watch is not None and self.watch.alive)

    # the end

    def close(self) -> None:
        with self.queue_lock:
            if self.closed:
                return
            self.closed = True
        if self.watch is not None:
            self.watch.close()
        self.writers.stop()
        self.readers.stop()
        for connection in self.connections:
            with contextlib.suppress(apsw.Error):
                connection.close()

    def forked(self) -> None:
        _parents.extend(self.connections)  # closing them here would drop the parent's locks
        self.watch = None
        self.writing, self.scheduled = [], False
        self.prepare_threads()


_parents: list[apsw.Connection] = []
_ours: WeakKeyDictionary[apsw.Connection, Path] = WeakKeyDictionary()  # a connection that is busy cannot be asked


def patient() -> Callable[[int], bool]:
    """A busy handler that asks again every millisecond for up to ``BUSY_SECONDS``."""
    began = 0.0

    def handler(attempts: int) -> bool:
        nonlocal began
        if attempts == 0:
            began = time.monotonic()
        time.sleep(0.001)
        return time.monotonic() - began < BUSY_SECONDS

    return handler


def refuse_foreign(path: Path | None) -> None:
    """Raise ``DatabaseForeign`` if this process has the file open, but not through us."""
    if path is None or not sys.platform.startswith("linux") or not path.exists():
        return
    ours = path.stat()
    known = {(entry.st_dev, entry.st_ino) for entry in open_files()}
    if (ours.st_dev, ours.st_ino) in known and not opened_by_us(path):
        raise DatabaseForeign(
            "This process already holds the database file open through another library",
            seen=str(path),
            do="Close that connection first, or share ours with app.connection(): "
            "two SQLite libraries in one process drop each other's locks and lose committed rows.",
        )


def refuse_scrap(path: Path | None) -> None:
    """Raise ``DatabaseNotOurs`` for a file too small to be a database: SQLite takes it for empty and writes it over."""
    if path is not None and path.is_file() and 0 < path.stat().st_size < SMALLEST:
        raise DatabaseNotOurs("This file is not a sound SQLite database", seen=str(path), do="Name another file.")


def open_files() -> Iterator[os.stat_result]:
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError, ValueError):
            yield os.fstat(int(descriptor))


def opened_by_us(path: Path) -> bool:
    """Whether a connection of apsw holds the file: a store's, or one of the app's own."""
    return any(name.exists() and name.samefile(path) for name in map(file_of, apsw.connections()) if name)


def file_of(connection: apsw.Connection) -> Path | None:
    """The file of a connection: a store's, which may be busy and cannot be asked, or one of the app's own."""
    if path := _ours.get(connection):
        return path
    with contextlib.suppress(apsw.Error):
        return Path(connection.filename) if connection.filename else None
    return None


def closed(url: str) -> DatabaseError:
    return DatabaseUnavailable(
        "The database was closed",
        seen=url,
        do="Open a new app, or do not use it after close().",
    )


def sealed(error: BaseException, path: Path | None) -> bool:
    """Whether a file could not be opened because its folder cannot be written, where SQLite has to put its log."""
    return (
        isinstance(error, apsw.CantOpenError)
        and path is not None
        and path.is_file()
        and not os.access(path.parent, os.W_OK)
    )


def explained(error: BaseException, path: Path | None) -> BaseException:
    """What SQLite said, in our words; what is not SQLite's is left as it is."""
    seen = f"{path}: {error}"
    if isinstance(error, apsw.FullError):
        return DatabaseFull(
            "The disk is full, nothing of this was stored",
            seen=seen,
            do="Make room; work goes on by itself.",
        )
    if isinstance(error, apsw.ReadOnlyError | apsw.PermissionsError) or sealed(error, path):
        return DatabaseReadOnly(
            "The database cannot be written",
            seen=seen,
            do="Give this user write access to the file and its folder.",
        )
    if isinstance(error, apsw.NotADBError | apsw.CorruptError):
        return DatabaseNotOurs(
            "This file is not a sound SQLite database",
            seen=seen,
            do="Name another file, or restore a backup.",
        )
    if isinstance(error, apsw.CantOpenError):
        return DatabaseUnavailable(
            "The database file cannot be opened",
            seen=seen,
            do="Check that its folder exists and may be written.",
        )
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        return DatabaseUnavailable(
            f"Another process held the write lock for {BUSY_SECONDS:g} seconds",
            seen=seen,
            do="Find what keeps a transaction open: fuser -v names the processes that have the file open.",
        )
    if isinstance(error, apsw.IOError):
        return DatabaseFull(
            "The disk refused a write, nothing of this was stored",
            seen=seen,
            do="Check the disk; work goes on by itself.",
        )
    if isinstance(error, apsw.Error):
        return DatabaseError(
            "SQLite refused a statement",
            seen=seen,
            do="Please report this with the statement's name.",
        )
    return error
