"""Connections of callers: how one statement of ours joins a transaction of theirs, on PostgreSQL.

    psycopg      Connection, AsyncConnection
    SQLAlchemy   Connection, Session, AsyncConnection, AsyncSession, over any driver of PostgreSQL
    Django       django.db.connection, django.db.connections["…"]

Which library a connection is of is told by where its class comes from, so that nothing is imported here that the caller
has not imported before. The statement goes through the library's own front door, which begins what it would begin for
one of the caller's. Nothing is committed, rolled back or set, no cursor stays open, and what comes back is one text, so
that no row factory can turn it into something else.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any, Final, NamedTuple, NoReturn

import psycopg
from psycopg.rows import tuple_row

from holdfast.errors import (
    AttemptLost,
    DatabaseError,
    DatabaseReadOnly,
    HoldfastError,
    IdempotencyBusy,
    InvalidOption,
    shown,
)
from holdfast.storage.base import RowBusy

Parameters = dict[str, Any]

JOIN: Final = "SELECT holdfast.join_runs(CAST(%(runs)s AS text), CAST(%(home)s AS text), CAST(%(at)s AS bigint))"
NAMED: Final = re.sub(r"%\((\w+)\)s", r":\1", JOIN)
GIVE: Final = "Give a connection or a session of psycopg, SQLAlchemy or Django."
IN_SQL: Final = "Go through SQLAlchemy or Django, or execute SELECT holdfast.trigger('task', '{…}') on it."
# Whoever retries a transaction of theirs waits for the driver's own error: it goes through as it is.
THEIRS_TO_RETRY: Final = {"40001", "40P01"}


class Caller(NamedTuple):
    """A caller's connection, and how a statement is sent on it. ``asynchronous``: what is sent must be awaited."""

    connection: Any
    send: Callable[[Any, Parameters], Any]
    asynchronous: bool

    def ask(self, **parameters: Any) -> str:
        """What ``join_runs`` answers. Raises what the database says, in our words."""
        try:
            return str(self.send(self.connection, parameters))
        except Exception as error:
            refuse(error)

    async def aask(self, **parameters: Any) -> str:
        """`ask`, for an asynchronous connection."""
        try:
            return str(await self.send(self.connection, parameters))
        except Exception as error:
            refuse(error)


# -- one way for each library -----------------------------------------------------------------------------------------


def by_psycopg(connection: psycopg.Connection[Any], parameters: Parameters) -> Any:
    # Not the connection's own cursor(): its class, its placeholders and its rows are the caller's choice.
    with psycopg.Cursor(connection, row_factory=tuple_row) as cursor:
        return only(cursor.execute(JOIN, parameters, prepare=False).fetchone())


async def by_async_psycopg(connection: psycopg.AsyncConnection[Any], parameters: Parameters) -> Any:
    async with psycopg.AsyncCursor(connection, row_factory=tuple_row) as cursor:
        await cursor.execute(JOIN, parameters, prepare=False)
        return only(await cursor.fetchone())


def by_sqlalchemy(connection: Any, parameters: Parameters) -> Any:
    refuse_other_databases(connection.dialect.name)
    return connection.execute(sys.modules["sqlalchemy"].text(NAMED), parameters).scalar_one()


def by_session(session: Any, parameters: Parameters) -> Any:
    return by_sqlalchemy(session.connection(), parameters)


async def by_async_sqlalchemy(connection: Any, parameters: Parameters) -> Any:
    refuse_other_databases(connection.dialect.name)
    return (await connection.execute(sys.modules["sqlalchemy"].text(NAMED), parameters)).scalar_one()


async def by_async_session(session: Any, parameters: Parameters) -> Any:
    return await by_async_sqlalchemy(await session.connection(), parameters)


def by_django(connection: Any, parameters: Parameters) -> Any:
    refuse_other_databases(connection.vendor)
    with connection.cursor() as cursor:
        cursor.execute(JOIN, parameters)
        return only(cursor.fetchone())


def only(row: tuple[Any, ...] | None) -> Any:
    return None if row is None else row[0]


# The class, by its package and its name; how to send; and whether that must be awaited.
WAYS: Final[dict[tuple[str, str], tuple[Callable[[Any, Parameters], Any], bool]]] = {
    ("psycopg", "Connection"): (by_psycopg, False),
    ("psycopg", "AsyncConnection"): (by_async_psycopg, True),
    ("sqlalchemy", "Connection"): (by_sqlalchemy, False),
    ("sqlalchemy", "Session"): (by_session, False),
    ("sqlalchemy", "scoped_session"): (by_session, False),
    ("sqlalchemy", "AsyncConnection"): (by_async_sqlalchemy, True),
    ("sqlalchemy", "AsyncSession"): (by_async_session, True),
    ("sqlalchemy", "async_scoped_session"): (by_async_session, True),
    ("django", "BaseDatabaseWrapper"): (by_django, False),
    ("django", "ConnectionProxy"): (by_django, False),
}


def recognise(connection: Any) -> Caller:
    """How to send a statement on what was given as ``connection=``. Raises InvalidOption for what is none."""
    for cls in connection.__class__.__mro__:  # not type(): a proxy says what it stands for
        way = WAYS.get((cls.__module__.partition(".")[0], cls.__name__))
        if way is not None:
            send, asynchronous = way
            return Caller(connection, send, asynchronous)
    raise unknown(connection)


# -- what is refused --------------------------------------------------------------------------------------------------


def refuse_other_databases(name: str) -> None:
    if name != "postgresql":
        raise InvalidOption(
            "connection is to another kind of database",
            seen=name,
            do="The app's runs are in PostgreSQL: only a connection to that can take a trigger into its transaction.",
        )


def unknown(connection: Any) -> InvalidOption:
    """Why this cannot be joined, and what can."""
    package = type(connection).__module__.partition(".")[0]
    what, do = "connection is nothing that Holdfast can join", GIVE
    if package in ("sqlite3", "aiosqlite", "apsw"):
        what, do = "connection is of SQLite, and this app's database is PostgreSQL", GIVE
    elif package in ("psycopg2", "asyncpg", "pg8000"):
        what, do = "connection is of a driver that Holdfast does not speak", IN_SQL
    elif package in ("psycopg", "psycopg_pool", "sqlalchemy", "django"):
        what, do = "connection is not itself a connection", "Give the connection or the session that it is used with."
    return InvalidOption(what, seen=shown(connection), do=do)


def refuse(error: Exception) -> NoReturn:
    """Raise what a caller's connection said, in our words."""
    if isinstance(error, HoldfastError):
        raise error
    code = sqlstate(error)
    if code in THEIRS_TO_RETRY:
        error.add_note("Holdfast's trigger was a statement of this transaction: run it again from the start.")
        raise error
    raise explained(error, code) from error


def explained(error: Exception, code: str | None) -> HoldfastError:
    seen = f"{type(error).__name__}: {str(error).strip()}"
    match code:
        case "HF001":
            return AttemptLost(do="Let this attempt end: its run has been taken over, or is finished.", seen=seen)
        case "HF002":
            return IdempotencyBusy(seen=seen, do="Try again, or use keys that fewer runs share.")
        case "HF003":
            what = "connection is to another database than the app"
            return InvalidOption(
                what, seen=seen, do="Give a connection to the database that HOLDFAST_DATABASE_URL names."
            )
        case "3F000" | "42883":
            what = "connection is to a database without Holdfast's tables and functions"
            return InvalidOption(what, seen=seen, do="Give a connection to the app's database; see holdfast migrate.")
        case "55P03" if "idempotency" in str(error):
            return IdempotencyBusy(seen=seen, do="Roll back, and try again when that transaction has ended.")
        case "55P03":
            what = "Another transaction that is still open holds what this trigger's debounce key stands for"
            return RowBusy(what, seen=seen, do="Roll back, and try again when that transaction has ended.")
        case "25P02":
            what = "The transaction that the trigger should join was aborted by an earlier error"
            return DatabaseError(what, seen=seen, do="Roll it back, or back to a savepoint, before you trigger.")
        case "42501":
            what = "This user may not trigger"
            do = "GRANT USAGE ON SCHEMA holdfast, and EXECUTE ON FUNCTION holdfast.join_runs, to it."
            return DatabaseReadOnly(what, seen=seen, do=do)
    what = "The connection did not take the trigger into its transaction"
    return DatabaseError(what, seen=seen, do="See the error that this one was raised from.")


def sqlstate(error: BaseException | None) -> str | None:
    """PostgreSQL's code for an error, however the libraries on the way have wrapped it."""
    while error is not None:
        for name in ("sqlstate", "pgcode"):
            if isinstance(code := getattr(error, name, None), str):
                return code
        if error.args and isinstance(fields := error.args[0], dict):  # pg8000
            return fields.get("C")
        error = getattr(error, "orig", None) or error.__cause__
    return None
