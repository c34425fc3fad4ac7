"""A process that forks after it has imported and used the app: each child has connections and threads of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast import Holdfast
from tests.support.host import ROOT, Host
from tests.support.looking import open_runs

Hosts = Callable[..., Host]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_children_of_a_preloaded_server_and_the_server_itself_go_on(
    app: Holdfast, host: Hosts, folder: Path, database_url: str
) -> None:
    """While threads of the parent are in the middle of things. Broken by letting children use what the parent had open:
    answers went to the wrong process, and the file's locks were dropped."""
    host(processes=1, concurrency=50).ready()
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.preload", database_url, "6"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "fine\n"), done.stderr
    assert "Traceback" not in done.stderr
    store = app.client.store
    assert open_runs(app) == 0
    if store.kind == "sqlite":
        check = store.read_sync(lambda tx: tx.connection.execute("PRAGMA integrity_check").fetchall())  # type: ignore[attr-defined]
        assert check == [("ok",)]
