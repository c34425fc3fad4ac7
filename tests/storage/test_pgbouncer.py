"""Behind PgBouncer in transaction mode, where no two transactions need have the same session."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from holdfast import AsyncContext, Holdfast, Retry
from holdfast.errors import RunFailed
from tests.conftest import PostgresServer, eventually_holds

CONFIG = """
[databases]
* = host={host} port={port} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
max_client_conn = 200
{more}
logfile = {folder}/log
pidfile = {folder}/pid
"""


@pytest.fixture(params=["refuses options", "ignores options"])
def pooled(request: pytest.FixtureRequest, postgres: PostgresServer) -> Iterator[str]:
    """The URL of a database through a pooler, as it comes and as it is told to overlook settings."""
    if (program := shutil.which("pgbouncer")) is None:
        pytest.skip("PgBouncer is not here (Debian's package pgbouncer)")
    name = f"holdfast_pooled_{os.getpid()}_{request.param.partition(' ')[0]}"
    url = postgres.create(name, postgres.template)
    parts = conninfo_to_dict(url)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        own = probe.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="holdfast-pgbouncer-"))  # which it can read as somebody else, too
    folder.chmod(0o777)
    config = folder / "pgbouncer.ini"
    more = "ignore_startup_parameters = options,extra_float_digits" if request.param == "ignores options" else ""
    config.write_text(
        CONFIG.format(
            host=parts.get("host", "127.0.0.1"),
            port=parts.get("port", 5432),
            user=parts.get("user", "postgres"),
            own=own,
            folder=folder,
            more=more,
        )
    )
    as_user = ["-u", user_of(str(parts.get("host", "")))] if os.geteuid() == 0 else []
    through = f"postgresql://{quote(str(parts.get('user', 'postgres')))}@127.0.0.1:{own}/{name}"
    with subprocess.Popen([program, *as_user, str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as it:
        try:
            eventually_holds(lambda: answers(through))
            yield through
        finally:
            it.kill()
    shutil.rmtree(folder)
    postgres.drop(name)


def user_of(host: str) -> str:
    """PgBouncer does not run as root: somebody who reaches the server's socket, if it has one."""
    return Path(host).owner() if host.startswith("/") else "nobody"


def answers(url: str) -> None:
    try:
        psycopg.connect(make_conninfo(url, connect_timeout=2)).close()
    except psycopg.OperationalError as error:
        raise AssertionError(f"no answer from the pooler: {error}") from error


async def test_runs_are_carried_out_behind_a_pooler(pooled: str) -> None:
    """Triggers, claims, retries, steps and children, with more of them at once than the pooler has sessions; settings
    that a session would carry are said in each transaction. Fails with statements that are prepared."""
    app = Holdfast(database=pooled)

    @app.task
    async def leaf(n: int) -> int:
        return n + 1

    @app.task
    async def twice(n: int, ctx: AsyncContext) -> int:
        once = await ctx.step(lambda: n + 1, name="once")
        return await ctx.trigger_and_wait(leaf, once)

    @app.task(retry=Retry(max_attempts=1))
    def fails() -> None:
        raise ValueError("on purpose")

    async with app.running(concurrency=20):
        handles = await asyncio.gather(*(twice.atrigger(n) for n in range(30)))
        assert [await handle.aresult(timeout=60) for handle in handles] == [n + 2 for n in range(30)]
        with pytest.raises(RunFailed):
            await (await fails.atrigger()).aresult(timeout=60)
        assert app.client.store.read_sync(lambda tx: tx.row("state", id=handles[0].id)) is None
    with psycopg.connect(pooled) as session:
        row = session.execute("SELECT count(*) FROM holdfast.done").fetchone()
    assert row == (61,)
    await app.aclose()
