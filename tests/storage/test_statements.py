"""One text for both databases: what its fragments become, and what is said when one is misspelt."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import apsw
import psycopg
import pytest

from holdfast.storage import Store, statements
from holdfast.storage.postgres import PostgresStore
from holdfast.storage.statements import POSTGRES, SQLITE, Statement, prepare

PACKAGE = Path(statements.__file__).parents[1]
SPEAKERS = ("engine", "storage", "views", "joining.py")  # who speaks SQL


def test_a_parameter_and_the_prefix() -> None:
    source = "SELECT a::bigint FROM {s}run WHERE id = :id AND b = ':'"
    assert prepare("x", source, POSTGRES).text == "SELECT a::bigint FROM holdfast.run WHERE id = %(id)s AND b = ':'"
    assert prepare("x", source, SQLITE).text == "SELECT a::bigint FROM holdfast_run WHERE id = :id AND b = ':'"


def test_the_clock_is_the_databases_unless_it_is_frozen() -> None:
    assert "statement_timestamp" in prepare("x", "SELECT {now}", POSTGRES).text
    frozen = prepare("x", "SELECT {now}", POSTGRES, frozen=True)
    assert (frozen.text, frozen.parameters) == ("SELECT CAST(%(now)s AS BIGINT)", {"now"})


def test_a_list_is_one_parameter_whatever_its_length() -> None:
    assert prepare("x", "id {in:ids}", POSTGRES).text == "id = ANY (%(ids)s)"
    assert prepare("x", "id {in:ids}", SQLITE).text == "id IN (SELECT value FROM json_each(:ids))"


def test_the_rows_of_a_batch() -> None:
    source = "SELECT a, :k FROM {rows(a text, b bigint)} WHERE c < {now}"
    one = prepare("x", source, POSTGRES)
    assert "json_to_recordset(%(rows)s::json) AS x(a text, b bigint)" in one.text
    other = prepare("x", source, SQLITE, frozen=True)
    assert other.columns == ("a", "b")
    assert "(SELECT ?1 AS a, ?2 AS b) AS x" in other.text
    assert "SELECT a, ?3" in other.text  # after the row come the parameters, in the order of their names
    assert "c < CAST(?4 AS BIGINT)" in other.text


def test_the_rows_of_a_batch_as_lines() -> None:
    source = "SELECT a FROM {lines(a text, b bigint)}"
    one = prepare("x", source, POSTGRES)
    assert (one.columns, one.parameters, one.lines) == (("a", "b"), {"a", "b"}, True)
    assert "unnest(string_to_array(%(b)s, E'\\n', '')::bigint[])) AS x(a, b)" in one.text
    other = prepare("x", source, SQLITE)
    assert other == prepare("x", source.replace("lines", "rows"), SQLITE)


def test_a_misspelt_fragment_fails_at_once() -> None:
    with pytest.raises(KeyError, match="npw"):
        prepare("x", "SELECT {npw}", SQLITE)


def test_both_databases_have_the_same_statements_but_those_that_only_one_needs() -> None:
    one, other = statements.load("sqlite", True), statements.load("postgres", False)
    assert other.keys() - one.keys() <= {"claim", "fitting_heads"}
    assert one.keys() - other.keys() <= {"complete_delete"}


def test_every_statement_is_asked_for_by_the_code() -> None:
    """One that nobody asks for any more is still planned, read and believed."""
    files = [path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] in SPEAKERS]
    said = {word for path in files for word in words(path)}
    twins = {f"{name}{end}" for name in said for end in ("_back", "_after")}
    assert statements.load("sqlite", True).keys() - said - twins == set()


def words(path: Path) -> Iterator[str]:
    """The strings that may name a statement: not those of ``__all__``, nor those that a keyword argument is."""
    left: list[ast.AST] = [ast.parse(path.read_text())]
    while left:
        node = left.pop()
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        named = isinstance(node, ast.keyword) and isinstance(node.value, ast.Constant)
        exports = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        if not (named or exports):
            left += ast.iter_child_nodes(node)


def test_every_statement_is_understood_by_its_database(store: Store) -> None:
    """Planned, not run: a misspelt column is found here and not at three in the morning."""
    problem = sqlite_problem if store.kind == "sqlite" else postgres_problem
    problems = {name: problem(store, statement) for name, statement in store.statements.items()}
    assert {name: said for name, said in problems.items() if said} == {}


def sqlite_problem(store: Store, statement: Statement) -> str | None:
    values: Any = dict.fromkeys(statement.parameters)
    if statement.columns:
        values = [None] * (len(statement.columns) + len(statement.parameters))
    try:
        with closing(apsw.Connection(store.url.removeprefix("sqlite:///"))) as connection:
            connection.execute(f"EXPLAIN {statement.text}", values).fetchall()
    except apsw.Error as error:
        return str(error)
    return None


def postgres_problem(store: Store, statement: Statement) -> str | None:
    try:
        with closing(psycopg.connect(cast("PostgresStore", store).conninfo, autocommit=True)) as connection:
            if statement.text.startswith("LOCK "):  # nothing that can be prepared
                connection.execute(f"BEGIN; {statement.text}; ROLLBACK".encode())
            else:
                connection.execute(f"PREPARE it AS {numbered(statement)}".encode())
    except psycopg.Error as error:
        return str(error)
    return None


def numbered(statement: Statement) -> str:
    """The text of a statement with $1, $2 … for its parameters."""
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", statement.text)))
    return re.sub(r"%\((\w+)\)s", lambda match: f"${names.index(match[1]) + 1}", statement.text)


ALONG = {"version": "done_version", "task": "done_task", "status": "done_status", "key": "done_key"}


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_no_planner_reads_history_for_what_is_rare_in_it(store: Store) -> None:
    """Where there are few values, it expects to meet any of them soon along the ids, and would read all of history."""
    with closing(psycopg.connect(cast("PostgresStore", store).conninfo, autocommit=True)) as connection:
        connection.execute("SET plan_cache_mode = force_generic_plan")
        connection.execute("SET enable_seqscan = off")
        connection.execute(
            "INSERT INTO holdfast.done (queue_id, priority_ms, created_at, finished_at, claim, attempt, crashes, id,"
            " status, task, version, concurrency_key) SELECT 1, 0, n, n, 1, 1, 0, lpad(n::text, 26, '0'),"
            " CASE WHEN n < 5 THEN 'crashed' ELSE 'failed' END, CASE WHEN n < 5 THEN 'old' ELSE 'new' END,"
            " CASE WHEN n < 5 THEN 'v1' ELSE 'v2' END, CASE WHEN n < 5 THEN 'ada' ELSE 'bob' END"
            " FROM generate_series(1, 20000) n"
        )
        connection.execute("ANALYZE holdfast.done")
        for name, index in ALONG.items():
            for end in ("", "_back"):
                statement = store.statements[f"list_done_of_{name}{end}"]
                connection.execute(f"PREPARE it AS {numbered(statement)}".encode())
                values = ", ".join(["'x'"] * (len(statement.parameters) - 1))
                plan = str(connection.execute(f"EXPLAIN EXECUTE it ({values}, 200)".encode()).fetchall())
                assert f"using {index}" in plan, (name, end, plan)
                connection.execute("DEALLOCATE it")
