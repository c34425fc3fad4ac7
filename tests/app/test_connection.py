"""``connection=``: a trigger in the caller's transaction. Rolled back means never happened.

Every library on PostgreSQL, through each of its ways to commit and to roll back; on SQLite, what ``app.connection()``
lends. What a transaction that stays open may not do to others is in test_open_transaction.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import psycopg
import pytest
from psycopg.rows import class_row, dict_row, namedtuple_row

from holdfast import (
    DatabaseError,
    DatabaseUnavailable,
    Holdfast,
    HoldfastError,
    InvalidOption,
    Queue,
    ResultTimeout,
    RunNotFound,
)
from holdfast.storage.callers import recognise

on_postgres = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def app(database_url: str) -> Iterator[Holdfast]:
    app = Holdfast(database_url)

    @app.task
    def greet(name: str) -> str:
        return name

    app.client.open()
    yield app
    app.close()


@pytest.fixture
def greet(app: Holdfast) -> Any:
    return app.tasks["greet"]


def exists(handle: Any) -> bool:
    try:
        handle.retrieve()
    except RunNotFound:
        return False
    return True


def traces(app: Holdfast) -> int:
    """The rows that triggers leave, but for names."""
    prefix = "holdfast." if app.client.store.kind == "postgres" else "holdfast_"
    tables = ["run", "tag", "blob", "idempotency", "debounce", "lane_due"]
    tables += ["joined", "name_due"] if prefix == "holdfast." else []
    text = " UNION ALL ".join(f"SELECT count(*) FROM {prefix}{table}" for table in tables)

    def count(tx: Any) -> int:
        rows = tx.connection.execute(text if prefix == "holdfast_" else text.encode()).fetchall()
        return sum(row[0] for row in rows)

    def read(tx: Any) -> int:
        tx.now()  # which begins the transaction
        return count(tx)

    return app.client.store.read_sync(read)


# -- PostgreSQL: every library ----------------------------------------------------------------------------------------


class Work(NamedTuple):
    """A transaction of a caller's that is open: what is given as ``connection``, how SQL is run in it, how it ends."""

    connection: Any
    execute: Callable[[str], Any]
    commit: Callable[[], Any]
    rollback: Callable[[], Any]


Opener = Callable[[str], AbstractContextManager[Work]]


@contextmanager
def by_psycopg(url: str, **options: Any) -> Iterator[Work]:
    with closing(psycopg.connect(url, **options)) as connection:
        yield Work(connection, connection.execute, connection.commit, connection.rollback)


def with_options(**options: Any) -> Opener:
    return lambda url: by_psycopg(url, **options)


class Row(NamedTuple):
    only: Any


@contextmanager
def by_psycopg_in_pipeline_mode(url: str) -> Iterator[Work]:
    with closing(psycopg.connect(url)) as connection, connection.pipeline():
        yield Work(connection, connection.execute, connection.commit, connection.rollback)


@contextmanager
def by_psycopg_with_a_raw_cursor(url: str) -> Iterator[Work]:
    with closing(psycopg.connect(url, cursor_factory=psycopg.RawCursor)) as connection:
        yield Work(connection, connection.execute, connection.commit, connection.rollback)


@contextmanager
def by_psycopg_with_a_client_cursor(url: str) -> Iterator[Work]:
    with closing(psycopg.connect(url, cursor_factory=psycopg.ClientCursor)) as connection:
        yield Work(connection, connection.execute, connection.commit, connection.rollback)


@contextmanager
def by_psycopg_in_a_block(url: str) -> Iterator[Work]:
    """Autocommit, and a transaction block."""
    with closing(psycopg.connect(url, autocommit=True)) as connection, contextlib.ExitStack() as stack:
        block = connection.transaction()
        stack.enter_context(block)
        undo = psycopg.Rollback(block)
        yield Work(connection, connection.execute, stack.close, lambda: stack.__exit__(type(undo), undo, None))


def engine(url: str, driver: str) -> Any:
    sqlalchemy = pytest.importorskip("sqlalchemy")
    pytest.importorskip(driver)
    info = psycopg.conninfo.conninfo_to_dict(url)
    query = {"host": info["host"]} | ({"port": str(info["port"])} if "port" in info else {})
    where: dict[str, Any] = {"username": info.get("user"), "database": info["dbname"], "password": info.get("password")}
    more: dict[str, Any] = {}
    if driver == "pg8000":
        query, more = {}, {"connect_args": {"unix_sock": f"{info['host']}/.s.PGSQL.{info.get('port', 5432)}"}}
        if not str(info["host"]).startswith("/"):
            where, more = where | {"host": info["host"], "port": info.get("port")}, {}
    return sqlalchemy.create_engine(sqlalchemy.URL.create(f"postgresql+{driver}", query=query, **where), **more)


def by_connection_of(driver: str) -> Opener:
    @contextmanager
    def opened(url: str) -> Iterator[Work]:
        from sqlalchemy import text

        pool = engine(url, driver)
        with pool.connect() as connection:
            yield Work(connection, lambda sql: connection.execute(text(sql)), connection.commit, connection.rollback)
        pool.dispose()

    return opened


def by_session_of(driver: str) -> Opener:
    @contextmanager
    def opened(url: str) -> Iterator[Work]:
        from sqlalchemy import text
        from sqlalchemy.orm import Session

        pool = engine(url, driver)
        with Session(pool) as session:
            yield Work(session, lambda sql: session.execute(text(sql)), session.commit, session.rollback)
        pool.dispose()

    return opened


@contextmanager
def by_scoped_session(url: str) -> Iterator[Work]:
    from sqlalchemy import text
    from sqlalchemy.orm import scoped_session, sessionmaker

    pool = engine(url, "psycopg")
    session = scoped_session(sessionmaker(pool))
    yield Work(session, lambda sql: session.execute(text(sql)), session.commit, session.rollback)
    session.remove()
    pool.dispose()


def by_django(named: bool) -> Opener:
    @contextmanager
    def opened(url: str) -> Iterator[Work]:
        connection = django_connection(url, named)
        from django.db import transaction

        stack = contextlib.ExitStack()
        stack.enter_context(transaction.atomic())

        def execute(sql: str) -> None:
            with connection.cursor() as cursor:
                cursor.execute(sql)

        def rollback() -> None:
            transaction.set_rollback(True)
            stack.close()

        yield Work(connection, execute, stack.close, rollback)
        stack.close()
        connection.close()

    return opened


def django_connection(url: str, named: bool = False) -> Any:
    django = pytest.importorskip("django")
    from django.conf import settings
    from django.db import connection, connections

    if not settings.configured:
        settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.postgresql"}})
        django.setup()
    if (
        "postgresql" not in connections.settings["default"]["ENGINE"]
    ):  # an example in this process has settings of its own
        connections.settings = connections.configure_settings({"default": {"ENGINE": "django.db.backends.postgresql"}})
        with contextlib.suppress(AttributeError):  # nobody has asked for it yet
            del connections["default"]
    connection.close()
    info = psycopg.conninfo.conninfo_to_dict(url)
    connections["default"].settings_dict |= {
        "NAME": info["dbname"],
        "HOST": info["host"],
        "PORT": info.get("port", ""),
        "USER": info.get("user"),
        "PASSWORD": info.get("password", ""),
    }
    return connections["default"] if named else connection


WAYS: dict[str, Opener] = {
    "psycopg": by_psycopg,
    "psycopg, dict rows": with_options(row_factory=dict_row),
    "psycopg, named rows": with_options(row_factory=namedtuple_row),
    "psycopg, class rows": with_options(row_factory=class_row(Row)),
    "psycopg, never prepares": with_options(prepare_threshold=None),
    "psycopg, prepares at once": with_options(prepare_threshold=0),
    "psycopg, pipeline mode": by_psycopg_in_pipeline_mode,
    "psycopg, raw cursor": by_psycopg_with_a_raw_cursor,
    "psycopg, client cursor": by_psycopg_with_a_client_cursor,
    "psycopg, autocommit in a block": by_psycopg_in_a_block,
    "SQLAlchemy connection, psycopg": by_connection_of("psycopg"),
    "SQLAlchemy connection, psycopg2": by_connection_of("psycopg2"),
    "SQLAlchemy connection, pg8000": by_connection_of("pg8000"),
    "SQLAlchemy session, psycopg": by_session_of("psycopg"),
    "SQLAlchemy session, psycopg2": by_session_of("psycopg2"),
    "SQLAlchemy scoped session": by_scoped_session,
    "Django's connection": by_django(named=False),
    "Django's connections[…]": by_django(named=True),
}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Opener:
    return WAYS[request.param]


ALL_OPTIONS: dict[str, Any] = {
    "delay": "1h",
    "ttl": "1d",
    "queue": Queue("slow", concurrency_limit=1),
    "concurrency_key": "größe",
    "priority": 2.5,
    "idempotency_key": "k",
    "tags": ["a", "ü"],
    "metadata": {"n": 1},
    "max_attempts": 7,
    "max_duration": "1m",
}


@on_postgres
def test_a_commit_makes_the_run(database_url: str, greet: Any, way: Opener) -> None:
    with way(database_url) as work:
        work.execute("CREATE TABLE orders (id int)")
        handle = greet.trigger("Ada", connection=work.connection)
        assert handle.created
        assert not exists(handle)
        work.execute("INSERT INTO orders VALUES (1)")
        work.commit()
        assert handle.retrieve().payload == "Ada"


@on_postgres
def test_rolled_back_means_never_happened(database_url: str, app: Holdfast, greet: Any, way: Opener) -> None:
    with way(database_url) as work:
        work.execute("CREATE TABLE orders (id int)")
        handle = greet.trigger("Ada" * 5000, connection=work.connection, **ALL_OPTIONS)
        batch = greet.batch_trigger(["Ada", greet.item("Grace", tags=["t"])], connection=work.connection)
        work.rollback()
    assert not any(map(exists, [handle, *batch.runs]))
    assert traces(app) == 0
    assert greet.trigger("Ada", idempotency_key="k").created


@on_postgres
def test_all_options_arrive(database_url: str, greet: Any, way: Opener) -> None:
    with way(database_url) as work:
        handle = greet.trigger("Ada \0 🐙" * 3000, connection=work.connection, **ALL_OPTIONS)
        again = greet.trigger("Grace", connection=work.connection, **ALL_OPTIONS)
        work.commit()
    assert (again.id, again.created) == (handle.id, False)
    run = handle.retrieve()
    assert (run.payload, run.queue, run.tags, run.metadata) == ("Ada \0 🐙" * 3000, "slow", ["a", "ü"], {"n": 1})
    assert (run.status, run.concurrency_key, run.priority, run.idempotency_key) == ("delayed", "größe", 2.5, "k")
    assert run.due_at is not None
    assert run.expires_at is not None
    assert [round((at - run.created_at).total_seconds()) for at in (run.due_at, run.expires_at)] == [3600, 90_000]


@on_postgres
def test_a_batch_is_in_the_transaction_as_a_whole(database_url: str, app: Holdfast, greet: Any, way: Opener) -> None:
    with way(database_url) as work:
        batch = greet.batch_trigger((str(n) for n in range(1100)), connection=work.connection)
        mixed = app.batch_trigger([greet.item("x", idempotency_key="k")] * 2, connection=work.connection)
        assert not exists(batch.runs[0])
        work.commit()
    assert [run.created for run in mixed.runs] == [True, False]
    assert [batch.runs[n].retrieve().payload for n in (0, 999, 1000, 1099)] == ["0", "999", "1000", "1099"]
    assert len(app.client.store.read_sync(lambda tx: tx.rows("batch_runs", batch_id=batch.id))) == 1100


@on_postgres
def test_a_task_of_other_code_by_its_name(database_url: str, app: Holdfast, way: Opener) -> None:
    with way(database_url) as work:
        handle = app.trigger("elsewhere", {"n": 1}, connection=work.connection)
        assert not exists(handle)
        work.commit()
    assert handle.retrieve().queue == "task/elsewhere"


@on_postgres
@pytest.mark.parametrize(
    "options",
    [{}, {"row_factory": dict_row}, {"autocommit": True}, {"prepare_threshold": None}, {"prepare_threshold": 0}],
)
def test_nothing_of_the_caller_s_connection_is_changed(database_url: str, greet: Any, options: Any) -> None:
    with closing(psycopg.connect(database_url, **options)) as connection:
        cursor = psycopg.Cursor(connection, row_factory=psycopg.rows.tuple_row)
        with connection.transaction():
            cursor.execute("DO 'BEGIN END'")  # the language has settings of its own
            cursor.execute("SET LOCAL lock_timeout = '7s'")
            before = picture(connection, cursor)
            greet.trigger("Ada", connection=connection, idempotency_key="k")
            greet.batch_trigger(["Ada", "Grace"], connection=connection)
            assert picture(connection, cursor) == before
            assert connection.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS


def picture(connection: Any, cursor: Any) -> Any:
    """What of a connection could be told apart."""
    settings = cursor.execute("SELECT name, setting FROM pg_settings ORDER BY name").fetchall()
    prepared = cursor.execute("SELECT count(*) FROM pg_prepared_statements WHERE statement ~ 'holdfast'").fetchall()
    own = (connection.row_factory, connection.autocommit, connection.cursor_factory, connection.prepare_threshold)
    return settings, prepared, own, connection.isolation_level


@on_postgres
def test_a_connection_in_autocommit_mode_makes_it_durable_at_once(database_url: str, greet: Any) -> None:
    with closing(psycopg.connect(database_url, autocommit=True)) as connection:
        assert exists(greet.trigger("Ada", connection=connection))
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


@on_postgres
def test_a_savepoint_is_rolled_back_alone(database_url: str, greet: Any) -> None:
    with closing(psycopg.connect(database_url)) as connection:
        kept = greet.trigger("Ada", connection=connection, idempotency_key="a")
        with connection.transaction(force_rollback=True):
            lost = greet.trigger("Grace", connection=connection, idempotency_key="b")
        connection.commit()
    assert [exists(kept), exists(lost)] == [True, False]
    assert greet.trigger("Grace", idempotency_key="b").created


@on_postgres
@pytest.mark.parametrize("level", [psycopg.IsolationLevel.REPEATABLE_READ, psycopg.IsolationLevel.SERIALIZABLE])
def test_a_stricter_transaction_is_joined_as_well(database_url: str, greet: Any, level: Any) -> None:
    with closing(psycopg.connect(database_url)) as connection:
        connection.isolation_level = level
        connection.execute("SELECT 1")
        handle = greet.trigger("Ada", connection=connection, idempotency_key="a", tags=["t"])
        connection.commit()
        assert exists(handle)
        # Somebody takes the key after this transaction's snapshot: it is the driver's error, which callers retry by.
        connection.execute("SELECT count(*) FROM holdfast.run")
        greet.trigger("Ada", idempotency_key="b")
        with pytest.raises(psycopg.errors.SerializationFailure) as caught:
            greet.trigger("Ada", connection=connection, idempotency_key="b")
        assert "run it again from the start" in str(getattr(caught.value, "__notes__", None))


# -- PostgreSQL, in async code ----------------------------------------------------------------------------------------


@asynccontextmanager
async def by_async_psycopg(url: str) -> AsyncIterator[Work]:
    async with await psycopg.AsyncConnection.connect(url, row_factory=dict_row) as connection:
        yield Work(connection, connection.execute, connection.commit, connection.rollback)


@asynccontextmanager
async def by_async_psycopg_in_pipeline_mode(url: str) -> AsyncIterator[Work]:
    async with await psycopg.AsyncConnection.connect(url) as connection, connection.pipeline():
        yield Work(connection, connection.execute, connection.commit, connection.rollback)


def async_engine(url: str, driver: str) -> Any:
    pytest.importorskip("greenlet")
    from sqlalchemy.ext.asyncio import create_async_engine

    return create_async_engine(engine(url, driver).url)


def by_async_connection_of(driver: str) -> Any:
    @asynccontextmanager
    async def opened(url: str) -> AsyncIterator[Work]:
        from sqlalchemy import text

        pool = async_engine(url, driver)
        async with pool.connect() as connection:
            yield Work(connection, lambda sql: connection.execute(text(sql)), connection.commit, connection.rollback)
        await pool.dispose()

    return opened


def by_async_session_of(driver: str) -> Any:
    @asynccontextmanager
    async def opened(url: str) -> AsyncIterator[Work]:
        from sqlalchemy import text
        from sqlalchemy.ext.asyncio import AsyncSession

        pool = async_engine(url, driver)
        async with AsyncSession(pool) as session:
            yield Work(session, lambda sql: session.execute(text(sql)), session.commit, session.rollback)
        await pool.dispose()

    return opened


@asynccontextmanager
async def by_async_scoped_session(url: str) -> AsyncIterator[Work]:
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import async_scoped_session, async_sessionmaker

    pool = async_engine(url, "psycopg")
    session = async_scoped_session(async_sessionmaker(pool), scopefunc=asyncio.current_task)
    yield Work(session, lambda sql: session.execute(text(sql)), session.commit, session.rollback)
    await session.remove()
    await pool.dispose()


ASYNC_WAYS: dict[str, Any] = {
    "psycopg": by_async_psycopg,
    "psycopg, pipeline mode": by_async_psycopg_in_pipeline_mode,
    "SQLAlchemy connection, psycopg": by_async_connection_of("psycopg"),
    "SQLAlchemy connection, asyncpg": by_async_connection_of("asyncpg"),
    "SQLAlchemy session, psycopg": by_async_session_of("psycopg"),
    "SQLAlchemy session, asyncpg": by_async_session_of("asyncpg"),
    "SQLAlchemy scoped session": by_async_scoped_session,
}


@pytest.fixture(params=ASYNC_WAYS)
def async_way(request: pytest.FixtureRequest) -> Any:
    return ASYNC_WAYS[request.param]


@on_postgres
async def test_a_commit_makes_the_run_in_async_code(
    database_url: str, app: Holdfast, greet: Any, async_way: Any
) -> None:
    async with async_way(database_url) as work:
        await work.execute("CREATE TABLE orders (id int)")
        handle = await greet.atrigger("Ada \0 🐙" * 3000, connection=work.connection, **ALL_OPTIONS)
        batch = await greet.abatch_trigger(["Ada", "Grace"], connection=work.connection)
        named = await app.atrigger("elsewhere", {"n": 1}, connection=work.connection)
        mixed = await app.abatch_trigger([greet.item("x")], connection=work.connection)
        handles = [handle, *batch.runs, named, *mixed.runs]
        assert not any(map(exists, handles))
        await work.execute("INSERT INTO orders VALUES (1)")
        await work.commit()
    assert all(map(exists, handles))
    assert handle.retrieve().payload == "Ada \0 🐙" * 3000
    assert handle.retrieve().tags == ["a", "ü"]


@on_postgres
async def test_rolled_back_means_never_happened_in_async_code(
    database_url: str, app: Holdfast, greet: Any, async_way: Any
) -> None:
    async with async_way(database_url) as work:
        handle = await greet.atrigger("Ada", connection=work.connection, **ALL_OPTIONS)
        await work.rollback()
    assert not exists(handle)
    assert traces(app) == 0


@on_postgres
async def test_a_declared_task_joins_as_well(database_url: str, app: Holdfast) -> None:
    train: Any = app.declare("train", str, str)
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        handle = await train.atrigger("Ada", connection=connection)
        batch = await train.abatch_trigger(["Ada"], connection=connection)
        assert not exists(handle)
        await connection.commit()
    with closing(psycopg.connect(database_url)) as sync:
        more = [train.trigger("Ada", connection=sync), *train.batch_trigger(["Ada"], connection=sync).runs]
        assert not any(map(exists, more))
        sync.commit()
    assert all(map(exists, [handle, *batch.runs, *more]))


# -- what is refused on PostgreSQL ------------------------------------------------------------------------------------


@on_postgres
async def test_the_colour_of_the_connection_decides(database_url: str, app: Holdfast, greet: Any) -> None:
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        for call in (
            lambda: greet.trigger("Ada", connection=connection),
            lambda: greet.batch_trigger(["Ada"], connection=connection),
        ):
            with pytest.raises(InvalidOption, match=r"connection is asynchronous.*AsyncConnection.*Await atrigger"):
                call()
    with closing(psycopg.connect(database_url)) as sync:
        with pytest.raises(InvalidOption, match=r"connection is for sync code.*psycopg.Connection.*Call trigger"):
            await greet.atrigger("Ada", connection=sync)
        with pytest.raises(InvalidOption, match="connection is for sync code"):
            await greet.abatch_trigger(["Ada"], connection=sync)
    with pytest.raises(InvalidOption, match="connection is for sync code"):
        await greet.atrigger("Ada", connection=await asyncio.to_thread(django_connection, database_url))
    assert traces(app) == 0


@on_postgres
def test_a_connection_to_another_database_is_refused(
    database_url: str, greet: Any, postgres: Any, empty_postgres: str
) -> None:
    other = postgres.create("holdfast_other", postgres.template)
    try:
        with closing(psycopg.connect(other)) as connection:
            with pytest.raises(InvalidOption, match="connection is to another database than the app"):
                greet.trigger("Ada", connection=connection)
            connection.rollback()
            assert connection.execute("SELECT count(*) FROM holdfast.run").fetchone() == (0,)
    finally:
        postgres.drop("holdfast_other")
    with (
        closing(psycopg.connect(empty_postgres)) as connection,
        pytest.raises(InvalidOption, match="connection is to a database without Holdfast's tables"),
    ):
        greet.trigger("Ada", connection=connection)


@on_postgres
def test_a_role_without_the_right_is_told_which(database_url: str, greet: Any) -> None:
    with closing(psycopg.connect(database_url)) as connection:
        connection.execute("CREATE ROLE holdfast_guest")
        connection.execute("SET LOCAL ROLE holdfast_guest")
        with pytest.raises(DatabaseError, match=r"This user may not trigger(?s:.*)GRANT USAGE ON SCHEMA holdfast"):
            greet.trigger("Ada", connection=connection)


@on_postgres
@pytest.mark.parametrize("given", ["psycopg", "SQLAlchemy", "Django"])
def test_an_aborted_transaction_is_said_clearly(database_url: str, greet: Any, given: str) -> None:
    ways = {"psycopg": by_psycopg, "SQLAlchemy": by_connection_of("psycopg2"), "Django": by_django(named=False)}
    with ways[given](database_url) as work:
        with contextlib.suppress(Exception):
            work.execute("SELECT 1/0")
        with pytest.raises(DatabaseError) as caught:
            greet.trigger("Ada", connection=work.connection)
        assert "was aborted by an earlier error" in str(caught.value)
        assert "Roll it back" in str(caught.value)
        assert caught.value.__cause__ is not None
        work.rollback()


@on_postgres
def test_a_closed_connection_is_said_clearly(database_url: str, greet: Any) -> None:
    connection = psycopg.connect(database_url)
    connection.close()
    with pytest.raises(DatabaseError, match=r"did not take the trigger.*the connection is closed"):
        greet.trigger("Ada", connection=connection)


def some_engine() -> Any:
    return pytest.importorskip("sqlalchemy").create_engine("postgresql+psycopg://")


@on_postgres
@pytest.mark.parametrize(
    ("made", "message"),
    [
        (
            lambda: "postgresql://…",
            r"is nothing that Holdfast can join \('postgresql.*Give a connection or a session of",
        ),
        (object, "is nothing that Holdfast can join"),
        (lambda: 5, "is nothing that Holdfast can join"),
        (lambda: sqlite3.connect(":memory:"), "is of SQLite, and this app's database is PostgreSQL"),
        (lambda: apsw.Connection(":memory:"), "is of SQLite, and this app's database is PostgreSQL"),
        (some_engine, "is not itself a connection.*Give the connection or the session"),
        (lambda: __import__("sqlalchemy.orm").orm.sessionmaker(), "is not itself a connection"),
    ],
)
def test_what_is_no_connection_is_refused_with_the_reason(app: Holdfast, greet: Any, made: Any, message: str) -> None:
    for call in (
        lambda: greet.trigger("Ada", connection=made()),
        lambda: greet.batch_trigger(["Ada"], connection=made()),
        lambda: asyncio.run(greet.atrigger("Ada", connection=made())),
        lambda: app.trigger("other", connection=made()),
    ):
        with pytest.raises(InvalidOption, match=f"connection {message}"):
            call()
    assert traces(app) == 0


@on_postgres
def test_raw_connections_of_other_drivers_are_told_of_the_function(database_url: str, greet: Any) -> None:
    psycopg2 = pytest.importorskip("psycopg2")
    with closing(psycopg2.connect(database_url)) as connection:
        with pytest.raises(InvalidOption, match=r"a driver that Holdfast does not speak.*SELECT holdfast.trigger"):
            greet.trigger("Ada", connection=connection)
        with connection.cursor() as cursor:
            cursor.execute("SELECT holdfast.trigger('greet', '\"Ada\"')")
            (run,) = cursor.fetchone()
        connection.commit()
    assert greet.handle(run).retrieve().payload == "Ada"


@on_postgres
def test_sqlalchemy_to_another_kind_of_database_is_refused(greet: Any) -> None:
    sqlalchemy = pytest.importorskip("sqlalchemy")
    with (
        sqlalchemy.create_engine("sqlite://").connect() as connection,
        pytest.raises(InvalidOption, match=r"connection is to another kind of database \(sqlite\)"),
    ):
        greet.trigger("Ada", connection=connection)


def test_a_proxy_is_what_it_stands_for() -> None:
    class Proxy:
        def __init__(self, of: type) -> None:
            self.of = of

        @property
        def __class__(self) -> type:  # type: ignore[override]
            return self.of

    assert not recognise(Proxy(psycopg.Connection)).asynchronous
    assert recognise(Proxy(psycopg.AsyncConnection)).asynchronous


def test_an_item_has_no_connection_of_its_own(greet: Any) -> None:
    with pytest.raises(InvalidOption, match=r"not an option of a single item .*Give it to batch_trigger"):
        greet.item("Ada", connection=object())
    assert greet.item("Ada", connection=None)


# -- SQLite: what app.connection() lends ------------------------------------------------------------------------------


@pytest.fixture(params=["a file", "in memory"])
def lending(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Holdfast]:
    """An app on SQLite, with a table of its own."""
    app = Holdfast("sqlite://:memory:" if request.param == "in memory" else f"sqlite:///{tmp_path}/app.db")

    @app.task
    def greet(name: str) -> str:
        return name

    with app.connection() as connection:
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
    yield app
    app.close()


def orders(app: Holdfast) -> list[Any]:
    def read(tx: Any) -> list[Any]:
        return [row[0] for row in tx.connection.execute("SELECT id FROM orders ORDER BY id")]

    return app.client.store.read_sync(read)


def test_a_loan_is_committed(lending: Holdfast) -> None:
    greet: Any = lending.tasks["greet"]
    with lending.connection() as connection:
        connection.execute("INSERT INTO orders VALUES (1)")
        handle = greet.trigger("Ada", connection=connection)
        batch = greet.batch_trigger(["Ada", "Grace"], connection=connection)
        assert connection.in_transaction
    assert orders(lending) == [1]
    assert all(map(exists, [handle, *batch.runs]))


def test_a_loan_that_fails_is_rolled_back_with_all_that_was_triggered(lending: Holdfast) -> None:
    greet: Any = lending.tasks["greet"]
    handles = []
    with pytest.raises(ZeroDivisionError), lending.connection() as connection:
        connection.execute("INSERT INTO orders VALUES (1)")
        handles.append(greet.trigger("Ada" * 5000, connection=connection, **ALL_OPTIONS))
        handles.append(lending.trigger("elsewhere", connection=connection))
        raise ZeroDivisionError
    assert orders(lending) == []
    assert not any(map(exists, handles))
    assert traces(lending) == 0
    assert greet.trigger("Ada", **ALL_OPTIONS).created  # the names were rolled back as well, and are made again
    assert greet.trigger("Grace", queue="slow").retrieve().queue == "slow"


async def test_a_loan_in_async_code(lending: Holdfast) -> None:
    greet: Any = lending.tasks["greet"]
    async with lending.connection() as connection:
        connection.execute("INSERT INTO orders VALUES (1)")
        handle = await greet.atrigger("Ada", connection=connection, **ALL_OPTIONS)
        batch = await greet.abatch_trigger(["Ada"], connection=connection)
    assert all(map(exists, [handle, *batch.runs]))
    with pytest.raises(ZeroDivisionError):
        async with lending.connection() as connection:
            connection.execute("INSERT INTO orders VALUES (2)")
            lost = await greet.atrigger("Ada", connection=connection)
            raise ZeroDivisionError
    assert not exists(lost)
    assert orders(lending) == [1]


async def test_who_forgets_the_connection_is_told_at_once(lending: Holdfast) -> None:
    """It would wait for its own transaction until one of them gives up."""
    greet: Any = lending.tasks["greet"]
    with lending.connection():
        for call in (
            lambda: greet.trigger("Ada"),
            lambda: greet.batch_trigger(["Ada"]),
            lambda: greet.handle("x").cancel(),
            lambda: lending.connection().__enter__(),
        ):
            with pytest.raises(HoldfastError, match=r"wait for the transaction of app.connection\(\).*connection="):
                call()
    async with lending.connection():
        with pytest.raises(HoldfastError, match=r"wait for the transaction of app.connection\(\)"):
            await greet.atrigger("Ada")
        with pytest.raises(HoldfastError, match=r"wait for the transaction of app.connection\(\)"):
            await asyncio.wait_for(asyncio.gather(greet.atrigger("Ada")), 30)
        with pytest.raises(HoldfastError, match=r"wait for the transaction of app.connection\(\)"):
            await asyncio.to_thread(greet.trigger, "Ada")
    assert exists(greet.trigger("Ada"))
    assert exists(await greet.atrigger("Ada"))


def test_others_wait_until_the_loan_ends(lending: Holdfast) -> None:
    greet: Any = lending.tasks["greet"]
    greet.trigger("first")
    made: list[Any] = []
    with lending.connection() as connection:
        other = threading.Thread(target=lambda: made.append(greet.trigger("other")))
        other.start()
        other.join(0.1)
        assert made == []
        mine = greet.trigger("mine", connection=connection)
    other.join(10)
    assert exists(made[0])
    assert exists(mine)


def test_a_worker_hears_of_what_a_loan_has_made(lending: Holdfast) -> None:
    greet: Any = lending.tasks["greet"]
    with lending.running():
        with lending.connection() as connection:
            handle = greet.trigger("Ada", connection=connection)
        assert handle.result(timeout="30s") == "Ada"


def test_the_borrower_s_traces_and_savepoints_are_his_own(lending: Holdfast) -> None:
    greet: Any = lending.tasks["greet"]
    with lending.connection() as connection:
        connection.row_trace = lambda _, row: {"row": row}
        connection.exec_trace = lambda *_: True
        connection.execute("SAVEPOINT mine")
        lost = greet.trigger("Ada", connection=connection, idempotency_key="a")
        connection.execute("ROLLBACK TO mine")
        kept = greet.trigger("Ada", connection=connection, idempotency_key="a")
        assert connection.execute("SELECT 1").fetchall() == [{"row": (1,)}]
        connection.row_trace = connection.exec_trace = None
    assert [exists(lost), exists(kept)] == [False, True]
    assert kept.created


def test_a_trigger_that_fails_leaves_the_rest_of_the_transaction(
    lending: Holdfast, monkeypatch: pytest.MonkeyPatch
) -> None:
    greet: Any = lending.tasks["greet"]

    def half_done(tx: Any, *_: Any) -> None:
        tx.connection.execute("INSERT INTO orders VALUES (99)")
        tx.connection.execute("INSERT INTO orders VALUES (99)")

    with lending.connection() as connection:
        connection.execute("INSERT INTO orders VALUES (1)")
        monkeypatch.setattr("holdfast.joining._make_named", half_done)
        with pytest.raises(DatabaseError, match="UNIQUE constraint failed"):
            greet.trigger("Ada", connection=connection)
        monkeypatch.undo()
        handle = greet.trigger("Ada", connection=connection)
    assert orders(lending) == [1]
    assert exists(handle)


def test_a_transaction_that_the_app_has_ended_is_not_joined(lending: Holdfast) -> None:
    greet: Any = lending.tasks["greet"]
    with lending.connection() as connection:
        connection.execute("INSERT INTO orders VALUES (1)")
        connection.execute("COMMIT")
        with pytest.raises(DatabaseError, match=r"The transaction of app.connection\(\) has been ended"):
            greet.trigger("Ada", connection=connection)
    assert orders(lending) == [1]


def test_a_loan_that_has_ended_is_not_joined(lending: Holdfast) -> None:
    greet: Any = lending.tasks["greet"]
    with lending.connection() as connection:
        pass
    with pytest.raises(InvalidOption, match=r"not one that app.connection\(\) lends, or its with has ended"):
        greet.trigger("Ada", connection=connection)


def test_a_commit_that_is_refused_is_said_and_rolled_back(lending: Holdfast) -> None:
    greet: Any = lending.tasks["greet"]
    with pytest.raises(DatabaseError, match="FOREIGN KEY constraint failed"), lending.connection() as connection:
        connection.execute("COMMIT")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("CREATE TABLE parts (of INTEGER REFERENCES orders (id) DEFERRABLE INITIALLY DEFERRED)")
        connection.execute("INSERT INTO parts VALUES (99)")
        handle = greet.trigger("Ada", connection=connection)
    assert not exists(handle)
    assert exists(greet.trigger("Ada"))


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: sqlite3.connect(":memory:"), "two libraries in one process drop each other's locks.*app.connection()"),
        (lambda: apsw.Connection(":memory:"), r"not one that app.connection\(\) lends"),
        (some_engine, "two libraries in one process"),
        (lambda: object.__new__(psycopg.Connection), "is of PostgreSQL, and this app's database is SQLite"),
        (lambda: "app.db", "is nothing that Holdfast can join"),
    ],
)
def test_any_other_connection_is_refused_with_the_reason(lending: Holdfast, made: Any, message: str) -> None:
    greet: Any = lending.tasks["greet"]
    with contextlib.suppress(AttributeError):
        with pytest.raises(InvalidOption, match=f"connection .*{message}"):
            greet.trigger("Ada", connection=made())
        with pytest.raises(InvalidOption, match=f"connection .*{message}"):
            asyncio.run(greet.atrigger("Ada", connection=made()))
    assert traces(lending) == 0


def test_a_loan_of_another_app_is_refused(lending: Holdfast) -> None:
    other = Holdfast("sqlite://:memory:")
    with other.connection() as connection, pytest.raises(InvalidOption, match="connection is lent by another app"):
        lending.tasks["greet"].trigger("Ada", connection=connection)
    other.close()


async def test_a_loan_that_is_cancelled_while_it_waits_is_given_back(lending: Holdfast) -> None:
    greet: Any = lending.tasks["greet"]
    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with lending.connection():
            held.set()
            let_go.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    await asyncio.to_thread(held.wait, 30)
    waiting = asyncio.ensure_future(lending.connection().__aenter__())
    await asyncio.sleep(0.05)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    let_go.set()
    await asyncio.to_thread(holder.join, 30)
    async with asyncio.timeout(30):
        assert exists(await greet.atrigger("Ada"))


@on_sqlite
def test_a_lock_that_another_process_holds_is_waited_for_and_then_said(
    app: Holdfast, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.storage.sqlite.BUSY_SECONDS", 0.1)
    with closing(apsw.Connection(database_url.removeprefix("sqlite:///"))) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseUnavailable, match="held the write lock"), app.connection():
            pass
    with app.connection():
        pass


@on_postgres
async def test_app_connection_is_for_sqlite(app: Holdfast) -> None:
    with pytest.raises(InvalidOption, match=r"is for apps whose runs are in SQLite.*connection of your own"):
        app.connection().__enter__()
    with pytest.raises(InvalidOption, match="is for apps whose runs are in SQLite"):
        await app.connection().__aenter__()


# -- in a test of the app's own ---------------------------------------------------------------------------------------


@on_postgres
async def test_under_test_the_run_is_made_at_once(database_url: str, app: Holdfast, greet: Any) -> None:
    """The runs are in memory, and the transaction is elsewhere: what could be joined is taken, and nothing waits."""
    with closing(psycopg.connect(database_url)) as connection:
        with app.testing() as jobs:
            greet.trigger("Ada", connection=connection)
            greet.batch_trigger(["Grace"], connection=connection)
            connection.rollback()
            assert jobs.payloads(greet) == ["Ada", "Grace"]
            async with await psycopg.AsyncConnection.connect(database_url) as other:
                await greet.atrigger("Edsger", connection=other)
                await greet.abatch_trigger(["Barbara"], connection=other)
                with pytest.raises(InvalidOption, match="connection is asynchronous"):
                    greet.trigger("x", connection=other)
            with app.connection() as lent:
                greet.trigger("Alan", connection=lent)
            for nothing in (5, sqlite3.connect(":memory:")):
                with pytest.raises(InvalidOption, match="connection is"):
                    greet.trigger("x", connection=nothing)
            assert jobs.payloads(greet) == ["Ada", "Grace", "Edsger", "Barbara", "Alan"]
        greet.trigger("outside", connection=connection)
        assert traces(app) == 0


# -- the handle before the commit -------------------------------------------------------------------------------------


@on_postgres
def test_a_handle_before_the_commit(database_url: str, greet: Any) -> None:
    with closing(psycopg.connect(database_url)) as connection:
        handle = greet.trigger("Ada", connection=connection)
        with pytest.raises(RunNotFound):
            handle.retrieve()
        with pytest.raises((RunNotFound, ResultTimeout)):
            handle.result(timeout="100ms")
        connection.commit()
    with pytest.raises(ResultTimeout):
        handle.result(timeout="100ms")


@on_postgres
def test_waiting_begins_before_the_commit_and_ends_after_it(database_url: str, app: Holdfast, greet: Any) -> None:
    with closing(psycopg.connect(database_url)) as connection, app.running():
        handle = greet.trigger("Ada", connection=connection)
        threading.Timer(0.3, connection.commit).start()
        assert handle.result(timeout="30s") == "Ada"
