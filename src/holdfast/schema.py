"""The state of a database's tables, and taking them further: for operators, who must be able to look before they leap.

Every other door (`Client.store`) makes sure that the tables fit before it opens; here a database is opened as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from holdfast import storage
from holdfast.storage import Store
from holdfast.storage import migrate as migration

__all__ = ["Schema", "edited", "migrate", "opened", "read", "ready", "script"]


class Schema(NamedTuple):
    """How far the tables are: ``version`` is the database's, ``needed`` this code's, ``compatible`` that of the oldest
    code that can work with it. Not ``ours`` are tables with our names that somebody else made."""

    version: int
    needed: int
    compatible: int
    ours: bool

    @property
    def current(self) -> bool:
        """Whether this code can work with it as it is."""
        return self.ours and self.version >= self.needed >= self.compatible

    @property
    def too_new(self) -> bool:
        """Whether newer code has taken it where this one cannot follow."""
        return self.ours and self.version > self.needed and self.compatible > self.needed


@contextmanager
def ready(url: str) -> Iterator[Store]:
    """A database as every other door opens it, for who needs a store and no client: a supervisor.

    Raises a DatabaseError if it cannot be opened, or if its operator has to migrate it first.
    """
    store = storage.open(url)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def opened(url: str) -> Iterator[Store]:
    """A database, open as it is. Raises a DatabaseError that says why it cannot be."""
    store = storage.connect(url)
    try:
        yield store
    finally:
        store.close()


def read(store: Store) -> Schema:
    """How far the tables are; changes nothing."""
    state = store.read_sync(migration.state)
    return Schema(state.version, migration.latest(), state.compatible, state.ours)


def edited(store: Store) -> list[str]:
    """The names of migrations whose text has changed since they were applied: the tables may not be what this code
    takes them for. Changes nothing; the tables must be ours."""
    return store.read_sync(migration.edited)


def migrate(store: Store) -> list[str]:
    """Apply what is missing, under a lock; answers the names of what was applied.

    Raises:
        DatabaseTooNew, DatabaseNotOurs: nothing was changed.
    """
    return store.run_sync(migration.apply)


def script(kind: str, since: int = 0) -> str:
    """What `migrate` would run on a ``"sqlite"`` or ``"postgres"`` database that is at ``since``, for a DBA; empty if
    there is nothing to do."""
    return migration.as_sql(kind, since)
