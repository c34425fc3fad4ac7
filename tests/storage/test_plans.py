"""No statement of the hot path reads the whole of `run` or `done`, whatever is in them: asked of an empty database."""

from __future__ import annotations

import apsw
import pytest

from holdfast.storage.sqlite import SQLiteStore

HOT = (
    "claim_these",
    "claim_heads",
    "complete",
    "complete_delete",
    "put_back",
    "outlook",
    "orphans",
    "expired",
    "canceled",
    "ungrant",
    "held",
    "promote",
    "next_lane",
    "lane_used",
    "queue_used",
    "take_notes",
    "push_back",
    "prunable",
    "runs",
    "finished",
)


@pytest.fixture
def memory() -> SQLiteStore:
    from holdfast.storage import open as open_store

    store = open_store("sqlite://:memory:")
    assert isinstance(store, SQLiteStore)
    return store


def plan(store: SQLiteStore, name: str) -> list[str]:
    statement = store.statements[name]
    named = dict.fromkeys(statement.parameters)
    numbered = [None] * (len(statement.columns) + len(statement.parameters))
    connection: apsw.Connection = store.write_connection()
    return [
        str(row[3])
        for row in connection.execute("EXPLAIN QUERY PLAN " + statement.text, numbered if statement.columns else named)
    ]


@pytest.mark.parametrize("name", HOT)
def test_a_hot_statement_searches_and_does_not_scan(memory: SQLiteStore, name: str) -> None:
    tables = ("SCAN holdfast_run", "SCAN holdfast_done", "SCAN r", "SCAN d")
    through_a_small_index = ("holdfast_run_cancel", "holdfast_run_mine")  # they hold only what is asked for
    scans = [
        step for step in plan(memory, name) if step.startswith(tables) and not step.endswith(through_a_small_index)
    ]
    assert scans == []


@pytest.mark.parametrize("name", ["due_heads", "overdue", "delayed_by_queue", "outlook"])
def test_what_is_due_is_looked_for_by_its_time(memory: SQLiteStore, name: str) -> None:
    """Not along the index of the list of what is put off: then all of it is read, and sorted."""
    steps = plan(memory, name)
    assert any("holdfast_run_due" in step for step in steps), steps
    assert not any("holdfast_run_put_off" in step for step in steps), steps


def test_a_list_of_what_is_put_off_has_an_index_of_its_own(memory: SQLiteStore) -> None:
    assert any("holdfast_run_put_off" in step for step in plan(memory, "list_put_off"))
