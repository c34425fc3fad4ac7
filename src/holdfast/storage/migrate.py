"""Migrations: numbered ``.sql`` files, applied in order, each once, under a lock.

A file opens with ``-- compatible: N``: the oldest version of the code's schema that can still work with a database
that has it. That is what makes a rolling deploy possible: the new code migrates, and the old workers go on. A
database that went further than that is refused, and so is one whose tables are not ours.

What only one database needs stands between ``-- only: postgres`` and ``-- end``; the numbers are the same for both.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from importlib import resources
from typing import NamedTuple

from holdfast.errors import DatabaseNotOurs, DatabaseTooNew, MigrationNeeded
from holdfast.storage.base import Store, Tx

FRAGMENTS = {
    "sqlite": {
        "s": "holdfast_",
        "p": "holdfast_",
        "text": "TEXT",
        "serial": "INTEGER",
        "run_storage": "",
        "done_storage": "",
        "churn_storage": "",
    },
    "postgres": {
        "s": "holdfast.",
        "p": "",
        "text": 'TEXT COLLATE "C"',
        "serial": "BIGSERIAL",
        # What is hot is vacuumed early and without rest; what is only appended to needs no room for updates.
        "run_storage": " WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,"
        " autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 20000)",
        "done_storage": " WITH (autovacuum_vacuum_insert_scale_factor = 0.1)",
        "churn_storage": " WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0,"
        " autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0)",
    },
}
LEDGER = {
    "sqlite": "CREATE TABLE IF NOT EXISTS holdfast_migration (version INTEGER PRIMARY KEY, name TEXT NOT NULL,"
    " checksum TEXT NOT NULL, compatible INTEGER NOT NULL, applied_at BIGINT NOT NULL);\n",
    "postgres": "CREATE SCHEMA IF NOT EXISTS holdfast;\n"
    "CREATE TABLE IF NOT EXISTS holdfast.migration (version INTEGER PRIMARY KEY, name TEXT NOT NULL,"
    " checksum TEXT NOT NULL, compatible INTEGER NOT NULL, applied_at BIGINT NOT NULL);\n",
}
FILE = re.compile(r"(\d{4})_(\w+)\.sql")
COMPATIBLE = re.compile(r"^-- compatible: (\d+)$", re.MULTILINE)
ONLY = re.compile(r"^-- only: (\w+)\n(.*?)^-- end\n", re.MULTILINE | re.DOTALL)


class Migration(NamedTuple):
    """One file: its number, its name, the oldest schema whose code it leaves working, and its text."""

    version: int
    name: str
    compatible: int
    text: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]

    def sql(self, kind: str) -> str:
        """The text for one database."""
        fragments = FRAGMENTS[kind]
        text = ONLY.sub(lambda section: section[2] if section[1] == kind else "", self.text)
        return re.sub(r"\{(\w+)\}", lambda match: fragments[match[1]], text)


class State(NamedTuple):
    """What a database says of itself."""

    version: int
    compatible: int
    ours: bool


@cache
def migrations() -> tuple[Migration, ...]:
    """All migrations, in order."""
    found = []
    for file in resources.files("holdfast.storage").joinpath("migrations").iterdir():
        if match := FILE.fullmatch(file.name):
            text = file.read_text(encoding="utf-8")
            compatible = COMPATIBLE.search(text)
            if compatible is None:
                raise ValueError(f"{file.name} does not say what it is compatible with")
            if not FRAGMENTS.keys() >= {section[1] for section in ONLY.finditer(text)}:
                raise ValueError(f"{file.name} has a section for a database that nobody knows")
            found.append(Migration(int(match[1]), match[2], int(compatible[1]), text))
    if len({migration.version for migration in found}) < len(found):
        raise ValueError(f"two migrations have one number: {', '.join(sorted(each.name for each in found))}")
    return tuple(sorted(found))


def latest() -> int:
    return migrations()[-1].version


def state(tx: Tx) -> State:
    """Read how far this database is; changes nothing."""
    tables = {row[0] for row in tx.rows("our_tables")}
    if "migration" not in tables:
        return State(0, 0, not tables)
    version, compatible = tx.rows("migration_state")[0]
    return State(version, compatible, ours=True)


def edited(tx: Tx) -> list[str]:
    """The migrations of ours that were applied here with another text than they have now, by name."""
    ours = {migration.version: migration for migration in migrations()}
    return [
        f"{version:04}_{name}"
        for version, name, checksum in tx.rows("applied_migrations")
        if version in ours and ours[version].checksum != checksum
    ]


def apply(tx: Tx) -> list[str]:
    """Apply what is missing, under a lock; answers the names of what was applied."""
    tx.rows("be_patient")
    tx.rows("lock_migrations")
    tx.rows("be_quick_with_locks")
    before = state(tx)
    refuse(before, tx.kind)
    missing = [migration for migration in migrations() if migration.version > before.version]
    if missing and before.version == 0:
        tx.script(LEDGER[tx.kind])
    for migration in missing:
        tx.script(migration.sql(tx.kind))
        tx.rows(
            "record_migration",
            version=migration.version,
            name=migration.name,
            checksum=migration.checksum,
            compatible=migration.compatible,
        )
    return [f"{migration.version:04}_{migration.name}" for migration in missing]


def refuse(found: State, seen: str) -> None:
    """Raise for a database that is not ours, or that newer code has taken where we cannot follow."""
    if not found.ours:
        raise DatabaseNotOurs(
            "There are tables with our names that are not ours",
            seen=seen,
            do="Use another database, or rename those tables.",
        )
    if found.version > latest() and found.compatible > latest():
        raise DatabaseTooNew(
            "The database was migrated by a newer Holdfast",
            seen=f"schema {found.version}; this code knows {latest()}; the oldest that works is {found.compatible}",
            do="Upgrade this installation: pip install -U holdfast.",
        )


def ready(store: Store, *, migrate: bool | None) -> list[str]:
    """Make sure the database can be used. ``migrate``: True applies, False refuses, None applies where none can object.

    An SQLite file and an empty PostgreSQL database are set up without asking; a PostgreSQL database of an older
    version is for its operator to migrate. Raises ``MigrationNeeded``, ``DatabaseTooNew``, ``DatabaseNotOurs``.
    """
    found = store.read_sync(state)
    refuse(found, store.url)
    if found.version >= latest():
        return []
    if migrate or (migrate is None and (store.kind == "sqlite" or found.version == 0)):
        return store.run_sync(apply)
    raise MigrationNeeded(
        "the database is behind this code",
        seen=f"{store.url} has schema {found.version}, this code needs {latest()}",
        do="run `holdfast migrate`, or give `holdfast migrate --sql` to whoever may",
    )


def as_sql(kind: str, since: int = 0) -> str:
    """What ``apply`` would run, as a script for a DBA; empty if there is nothing."""
    if since >= latest():
        return ""
    parts = ["BEGIN;", LEDGER[kind].rstrip()] if since == 0 else ["BEGIN;"]
    prefix = FRAGMENTS[kind]["s"]
    now = "(extract(epoch FROM now()) * 1000)::bigint" if kind == "postgres" else "unixepoch() * 1000"
    for migration in migrations():
        if migration.version > since:
            parts.append(migration.sql(kind).rstrip())
            values = f"{migration.version}, '{migration.name}', '{migration.checksum}', {migration.compatible}, {now}"
            parts.append(
                f"INSERT INTO {prefix}migration (version, name, checksum, compatible, applied_at) VALUES ({values});"
            )
    return "\n\n".join([*parts, "COMMIT;"]) + "\n"
