"""Fixtures of the tests that have worker processes; their conftests import them.

``folder``: what a test shares with its tasks. ``host``: starts supervisors. ``app``: the app they run, to trigger with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast import Holdfast
from tests.support import jobs, ledger
from tests.support.host import Host, hosts


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a test shares with its tasks, in whatever process they run."""
    place = tmp_path / "shared"
    place.mkdir()
    monkeypatch.setenv(ledger.VARIABLE, str(place))
    return place


@pytest.fixture
def host(database_url: str, folder: Path, processes: None) -> Iterator[Callable[..., Host]]:
    with hosts(database_url, folder) as start:
        yield start


@pytest.fixture
def app(database_url: str) -> Iterator[Holdfast]:
    """The app of the worker processes, in the test's own process."""
    jobs.app.settings.use_flags(database=database_url)
    yield jobs.app
    jobs.app.close()
