"""Where runs are kept: one contract, two databases.

    open(url)                        a Store, ready to use; see ``base`` for what one can do
    caller_of(connection)            a caller's connection to PostgreSQL, as we may use it
    lend(store) · is_lent · loan_of  a connection of ours to SQLite, as a caller may use it

``sqlite:///relative.db``, ``sqlite:////absolute.db`` and a plain path name a file; ``sqlite://:memory:`` is a
database of this process alone; ``postgresql://…`` names a server.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.clock import Clock
from holdfast.errors import DatabaseUrlInvalid
from holdfast.storage import migrate as migration
from holdfast.storage.base import Deferred, Store, Tx, repeatable

if TYPE_CHECKING:
    from holdfast.storage.callers import Caller
    from holdfast.storage.lending import Loan

__all__ = [
    "Deferred",
    "Store",
    "Tx",
    "caller_of",
    "connect",
    "is_lent",
    "lend",
    "loan_of",
    "open",
    "repeatable",
    "sqlite_path",
]

SCHEME = re.compile(r"([a-zA-Z][\w+.-]+):")  # longer than a letter: C:\\jobs.db is a path


def open(  # noqa: A001 - it is the word
    url: str,
    *,
    clock: Clock | None = None,
    migrate: bool | None = None,
    base: Path | None = None,
) -> Store:
    """Open a database and make sure that its tables are there.

    ``base`` is where relative paths of SQLite start. ``migrate`` is as in ``storage.migrate.ready``. Raises a
    ``DatabaseError`` that says what is wrong with the URL, the file or the server.
    """
    store = connect(url, clock=clock, base=base)
    try:
        migration.ready(store, migrate=migrate)
    except BaseException:
        store.close()
        raise
    return store


def connect(url: str, *, clock: Clock | None = None, base: Path | None = None) -> Store:
    """Open a database as it is."""
    scheme = match[1] if (match := SCHEME.match(url)) else ""
    if scheme in ("postgresql", "postgres"):
        from holdfast.storage.postgres import PostgresStore

        return PostgresStore(url, clock=clock)
    if scheme in ("", "sqlite"):
        from holdfast.storage.sqlite import SQLiteStore

        return SQLiteStore(sqlite_path(url, base), clock=clock)
    raise DatabaseUrlInvalid(
        "No database is known by this scheme",
        seen=url,
        do="Write postgresql://… or sqlite:///path, or a plain path.",
    )


def sqlite_path(url: str, base: Path | None = None) -> Path | None:
    """The file an SQLite URL names, absolute; None for a database in memory."""
    if url.startswith("sqlite:") and "?" in url:
        raise DatabaseUrlInvalid("An SQLite URL has no options", seen=url, do="Write sqlite:///path/to/file.db.")
    rest = url.removeprefix("sqlite:").removeprefix("//")
    if rest.strip("/") == ":memory:":
        return None
    path = Path(rest.removeprefix("/") if url.startswith("sqlite:///") else rest)
    if not path.name:
        raise DatabaseUrlInvalid("The URL names no file", seen=url, do="Write sqlite:///path/to/file.db.")
    return (path if path.is_absolute() else (base or Path.cwd()) / path).resolve()


def caller_of(connection: object) -> Caller:
    """How to send a statement on a caller's connection to PostgreSQL. Raises InvalidOption for what is none."""
    from holdfast.storage import callers

    return callers.recognise(connection)


def lend(store: Callable[[], Store]) -> Loan:
    """A connection of ours to SQLite, for the length of a ``with``; the store is opened when that begins."""
    from holdfast.storage import lending

    return lending.Loan(store)


def is_lent(connection: object) -> bool:
    """Whether this is a connection to SQLite that is lent at present."""
    from holdfast.storage import lending

    return lending.lent(connection) is not None


def loan_of(connection: object, store: Store) -> Loan:
    """The loan that this connection to SQLite is. Raises InvalidOption for any other."""
    from holdfast.storage import lending

    return lending.loan_of(connection, store)
