"""``inside``: an app and workers for it in this process. ``host``: starts worker processes under a supervisor."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import ledger
from tests.support.host import Host, hosts
from tests.support.inside import Inside


@pytest.fixture
async def inside(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Inside]:
    for pace in ("ORDERS_SECONDS", "ROUTES_SECONDS", "POLL_SECONDS"):  # what is looked at now and then, sooner
        monkeypatch.setattr(f"holdfast.worker.worker.{pace}", 0.2)
    here = Inside(database_url)
    yield here
    await here.close()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a test shares with its tasks, in whatever process they run."""
    place = tmp_path / "shared"
    place.mkdir()
    monkeypatch.setenv(ledger.VARIABLE, str(place))
    return place


@pytest.fixture
def host(database_url: str, folder: Path) -> Iterator[Callable[..., Host]]:
    with hosts(database_url, folder) as start:
        yield start


@pytest.fixture
def eventually_async() -> Callable[..., Awaitable[Any]]:
    """As ``eventually``, for an assertion that is awaited."""

    async def holds(assertion: Callable[[], Awaitable[Any]], timeout: float = 10.0) -> Any:
        deadline = time.monotonic() + timeout
        while True:
            try:
                return await assertion()
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(0.02)

    return holds
