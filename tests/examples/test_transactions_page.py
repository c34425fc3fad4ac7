"""docs/transactions.md: its SQL runs as it stands there, and so does its Python on SQLite."""

from __future__ import annotations

import re
import textwrap
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from holdfast import Holdfast
from holdfast.storage import Store
from tests.engine.making import Hand, know

PAGE = (Path(__file__).parents[2] / "docs" / "transactions.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_the_sql(store: Store, database_url: str) -> None:
    know(store, tasks=("ship", "send-mail"))
    with closing(psycopg.connect(database_url)) as connection:
        connection.execute("CREATE ROLE app")
        connection.execute("CREATE TABLE orders (id int, customer text)")
        for block in blocks("sql"):
            connection.execute(block.encode())
        connection.execute("GRANT INSERT ON orders TO app")
        connection.execute("SET LOCAL ROLE app")
        connection.execute("INSERT INTO orders VALUES (1, 'Ada')")
        connection.execute("RESET ROLE")
        connection.execute("DROP OWNED BY app")
        connection.execute("DROP ROLE app")
        connection.commit()
    claimed = Hand(store, "ship", "send-mail").claim()
    assert sorted((run.task, run.concurrency_key) for run in claimed) == [("send-mail", None), ("ship", "Ada")]


def test_the_first_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("HOLDFAST_DATABASE_URL", str(tmp_path / "holdfast.db"))
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(blocks("python")[0], "docs/transactions.md", "exec", dont_inherit=True), names)
    (run,) = names["app"].runs.list()
    assert (run.id, run.task) == (capsys.readouterr().out.strip(), "ship")
    names["app"].close()


def test_the_python_on_sqlite(tmp_path: Path) -> None:
    app = Holdfast(f"sqlite:///{tmp_path}/app.db")

    @app.task
    def ship(order: int) -> int:
        return order

    with app.connection() as connection:
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
    (block,) = [block for block in blocks("python") if "async with app.connection()" in block]
    names: dict[str, Any] = {"app": app, "ship": ship}
    exec(f"async def page():\n{textwrap.indent(block, '    ')}", names)
    import asyncio

    asyncio.run(names["page"]())
    with app.connection() as connection:
        assert connection.execute("SELECT id FROM orders").fetchall() == [(1,), (2,)]
    assert [run.payload for run in Hand(app.client.store, "ship").claim()] == ["1", "2"]
    app.close()


def test_every_option_of_the_function_is_told() -> None:
    text = (Path(__file__).parents[2] / "src/holdfast/storage/migrations/0013_machines.sql").read_text()
    body = text[text.index("FUNCTION {s}trigger(") :]
    options = set(re.findall(r"WHEN '(\w+)' THEN", body)) - {"idempotency_scope"}
    table = PAGE[PAGE.index("| option | |") : PAGE.index("What cannot be used is refused")]
    assert options == set(re.findall(r"`(\w+)`", re.sub(r"(?m)\|[^|]*\|$", "|", table)))
