"""Errors, each once, and the page of one."""

from __future__ import annotations

from pathlib import Path

from holdfast import Holdfast
from holdfast.engine import errors
from holdfast.errors import RunFailed
from tests.dashboard.conftest import Served, post


async def failing(home: Holdfast, *messages: str) -> list[str]:
    """Runs of a task that fails with these words."""

    @home.task
    async def charge(message: str) -> None:
        raise ValueError(message)

    ids = []
    async with home.running():
        for message in messages:
            handle = await charge.atrigger(message)
            try:
                await handle.aresult(timeout=30)
            except RunFailed:
                ids.append(handle.id)
    home.client.write(errors.group)
    return ids


async def test_runs_that_went_wrong_alike_are_one_error(tmp_path: Path, served: Served) -> None:
    home = Holdfast(database=f"sqlite:///{tmp_path}/holdfast.db")
    async with served(home) as http:
        assert "No run has ended badly" in (await http.get("/errors")).text
        ids = await failing(home, "no card 1", "no card 2")
        listing = (await http.get("/errors")).text
        assert listing.count("data-row=") == 1
        assert "ValueError" in listing
        assert "no card 2" in listing
        fingerprint = listing.partition('href="/errors/')[2].partition('"')[0]
        page = (await http.get(f"/errors/{fingerprint}")).text
        assert all(f"/runs/{run_id}" in page for run_id in ids)
        assert "2 runs of charge" in page
        assert "raise ValueError(message)" in page  # the traceback of the last one
        runs = (await http.get(f"/runs?error={fingerprint}")).text
        assert all(f"/runs/{run_id}" in runs for run_id in ids)
        assert "Replay all" in page
        fields = {"q.error": fingerprint, "all": "1", "verb": "replay"}
        assert "Replay 2 runs?" in (await post(http, f"/errors/{fingerprint}", "/runs/bulk", fields)).text
    await home.aclose()


async def test_what_is_not_there_and_what_is_no_cursor(tmp_path: Path, served: Served) -> None:
    home = Holdfast(database=f"sqlite:///{tmp_path}/holdfast.db")
    async with served(home) as http:
        gone = await http.get("/errors/0000")
        assert gone.status_code == 404
        assert "There is no such error" in gone.text
        assert (await http.get("/errors?cursor=nonsense")).status_code == 200
        assert (await http.get("/runs?error=0000")).status_code == 200
    await home.aclose()
