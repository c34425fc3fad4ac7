"""``inside``: an app and workers for it in this process; and the fixtures of tests with processes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from tests.support.fixtures import app, folder, host
from tests.support.inside import Inside

__all__ = ["app", "eventually_async", "folder", "host", "inside"]


@pytest.fixture
async def inside(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Inside]:
    for pace in ("ORDERS_SECONDS", "ROUTES_SECONDS", "POLL_SECONDS"):  # what is looked at now and then, sooner
        monkeypatch.setattr(f"holdfast.worker.worker.{pace}", 0.2)
    here = Inside(database_url)
    yield here
    await here.close()


@pytest.fixture
def eventually_async() -> Callable[..., Awaitable[Any]]:
    """As ``eventually``, for an assertion that is awaited."""

    async def holds(assertion: Callable[[], Awaitable[Any]], timeout: float = 30.0) -> Any:
        deadline = time.monotonic() + timeout
        while True:
            try:
                return await assertion()
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(0.02)

    return holds
