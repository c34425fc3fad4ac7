"""The demo's past: runs as the shop would have made them, over which every page reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast import Holdfast
from holdfast.demo.past import fill
from holdfast.errors import InvalidOption
from tests.dashboard.conftest import Served, served

__all__ = ["served"]

PAGES = ("/", "/?range=24h", "/runs", "/errors", "/tasks", "/queues", "/queues/packing", "/hosts", "/tasks/charge-card")


async def test_a_past_is_written_once_and_every_page_reads_over_it(tmp_path: Path, served: Served) -> None:
    url = f"sqlite:///{tmp_path}/holdfast.db"
    made = fill(url, hours=1)
    home = Holdfast(database=url)
    open_ones = home.runs.list(status=["queued", "pending_version"], limit=1000)
    async with served(home) as http:
        for path in PAGES:
            assert (await http.get(path)).status_code == 200, path
    final = home.runs.list(status=["completed", "failed", "canceled", "expired"], limit=1000)
    assert made > 40  # few orders come in at night
    assert sum(run.status == "completed" for run in final) > len(final) / 2 > 5
    assert {run.task for run in open_ones} >= {"newsletter", "sync-warehouse", "refund"}
    assert home.queues.retrieve("newsletter").paused
    await home.aclose()
    with pytest.raises(InvalidOption, match="empty database"):
        fill(url, hours=1)
