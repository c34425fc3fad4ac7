"""The app's own result store: an SQLite file with the entries, and a book of visits.

    entry    what was found out about a file, under the id of the run that found it
    visit    every start of an attempt, by which process, and how it ended: a visit without an end was cut short

A run may be carried out more than once (its process can die just before it could say that it was done), so an entry is
written under the run's id: written twice, it is still there once. Nothing here keeps a file from having two entries
under two runs; that this does not happen is what the demo has to show.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from reading import Entry

TABLES = """
CREATE TABLE IF NOT EXISTS entry (run_id TEXT PRIMARY KEY, file TEXT NOT NULL, entry TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS visit (
  id INTEGER PRIMARY KEY, run_id TEXT NOT NULL, attempt INTEGER NOT NULL, file TEXT NOT NULL,
  pid INTEGER NOT NULL, supervisor INTEGER NOT NULL, began_at REAL NOT NULL, ended_at REAL, outcome TEXT
);
"""


class Visit(NamedTuple):
    """An attempt that was started. ``outcome`` is done, busy, or None as long as it has not ended."""

    id: int
    run_id: str
    attempt: int
    file: str
    pid: int
    supervisor: int
    began_at: float
    ended_at: float | None
    outcome: str | None


class Look(NamedTuple):
    """How far the survey is: entries so far, visits without an end, and those that found the archive busy since."""

    at: float
    done: int
    in_hand: list[Visit]
    busy: list[Visit]


class Index:
    """The store in ``path``. Any number of processes may use it at once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, timeout=30)) as connection, connection:
            yield connection

    def create(self) -> None:
        with self.open() as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(TABLES)

    @contextmanager
    def visit(self, run_id: str, attempt: int, file: str) -> Iterator[None]:
        """Keep book of an attempt. If the process dies in the middle, the visit has no end."""
        with self.open() as connection:
            row = (run_id, attempt, file, os.getpid(), os.getppid(), time.time())
            visit = connection.execute(
                "INSERT INTO visit (run_id, attempt, file, pid, supervisor, began_at) VALUES (?, ?, ?, ?, ?, ?)", row
            ).lastrowid
        outcome = "busy"
        try:
            yield
            outcome = "done"
        finally:
            with self.open() as connection:
                ended = (time.time(), outcome, visit)
                connection.execute("UPDATE visit SET ended_at = ?, outcome = ? WHERE id = ?", ended)

    def add(self, run_id: str, entry: Entry) -> None:
        """Keep an entry. Twice from one run is once."""
        with self.open() as connection:
            row = (run_id, entry.file, entry.model_dump_json())
            connection.execute("INSERT INTO entry (run_id, file, entry) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", row)

    def entries(self) -> list[tuple[str, Entry]]:
        """All entries, each with the run that made it, in the order of the files."""
        with self.open() as connection:
            rows = connection.execute("SELECT run_id, entry FROM entry ORDER BY file").fetchall()
        return [(run_id, Entry.model_validate_json(text)) for run_id, text in rows]

    def visits(self) -> list[Visit]:
        with self.open() as connection:
            return [Visit(*row) for row in connection.execute("SELECT * FROM visit ORDER BY id")]

    def taken_up(self, pid: int) -> list[Visit]:
        """The later visits of the attempts that a dead process has left without an end."""
        statement = """
            SELECT v.* FROM visit v JOIN visit cut ON cut.run_id = v.run_id AND cut.attempt = v.attempt
            WHERE cut.pid = ? AND cut.ended_at IS NULL AND cut.id < v.id ORDER BY v.id
        """
        with self.open() as connection:
            return [Visit(*row) for row in connection.execute(statement, (pid,))]

    def look(self, since: float = 0.0) -> Look:
        """How far the survey is; ``since`` is the time of the last look."""
        with self.open() as connection:
            done = connection.execute("SELECT count(*) FROM entry").fetchone()[0]
            in_hand = connection.execute("SELECT * FROM visit WHERE ended_at IS NULL ORDER BY id").fetchall()
            statement = "SELECT * FROM visit WHERE outcome = 'busy' AND ended_at > ? ORDER BY ended_at"
            busy = connection.execute(statement, (since,)).fetchall()
        return Look(time.time(), done, [Visit(*row) for row in in_hand], [Visit(*row) for row in busy])
