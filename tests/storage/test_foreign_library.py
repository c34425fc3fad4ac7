"""A process must open a SQLite file with one library only: two drop each other's locks, and committed rows get lost."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from holdfast import storage
from holdfast.errors import DatabaseForeign
from tests.storage.notes import put

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what a process has open is known on Linux only")


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/holdfast.db"
    storage.open(url).close()
    return url


def test_a_file_that_another_library_holds_open_here_is_refused(url: str) -> None:
    with closing(sqlite3.connect(storage.sqlite_path(url) or "")) as foreign:
        foreign.execute("SELECT 1 FROM holdfast_run")
        with pytest.raises(DatabaseForeign, match="another library"):
            storage.open(url)


def test_another_name_of_the_same_file_is_the_same_file(url: str, tmp_path: Path) -> None:
    alias = tmp_path / "alias.db"
    alias.symlink_to(tmp_path / "holdfast.db")
    with closing(sqlite3.connect(alias)) as foreign:
        foreign.execute("SELECT 1 FROM holdfast_run")
        with pytest.raises(DatabaseForeign):
            storage.open(url)


def test_it_opens_once_the_other_library_has_closed_it(url: str) -> None:
    with closing(sqlite3.connect(storage.sqlite_path(url) or "")) as foreign:
        foreign.execute("SELECT 1 FROM holdfast_run")
    storage.open(url).close()


def test_another_library_may_hold_another_file(url: str, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "app.db")) as foreign:
        foreign.execute("CREATE TABLE t (x)")
        storage.open(url).close()


def test_two_stores_of_ours_may_share_a_file(url: str) -> None:
    one, two = storage.open(url), storage.open(url)
    one.run_sync(put, "a")
    assert two.run_sync(put, "b") == "b"
    one.close()
    assert two.run_sync(put, "c") == "c"
    two.close()
