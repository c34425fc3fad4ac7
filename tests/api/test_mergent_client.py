"""The official npm package ``mergent``, unchanged, against ``holdfast server``'s own application on a socket."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from holdfast.api.app import application
from holdfast.cli.dev.serve import Server, listen, url_of
from holdfast.sign import mergent_signature
from tests.push.conftest import Pushing, pushing, receiver
from tests.push.receiver import Receiver

__all__ = ["pushing", "receiver"]

HERE = Path(__file__).parent
PRELOAD = HERE.parents[1] / "examples" / "mergent" / "holdfast-mergent.cjs"
KEY = "12345"


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package in it, from the npm registry."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node is not here, and the official client of Mergent is a package for it")
    folder = tmp_path_factory.mktemp("mergent")
    command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), "mergent@1.7.0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    if done.returncode != 0:
        pytest.skip(f"the npm registry does not give the official client of Mergent: {done.stderr[-200:]}")
    return folder


@asynccontextmanager
async def serving(pushing: Pushing) -> AsyncIterator[str]:
    listening = listen("127.0.0.1", 0)
    server = Server(lambda: application(lambda: pushing.app.client, key=KEY), listening)
    try:
        yield url_of(listening)
    finally:
        await asyncio.to_thread(server.stop)


async def said_by(package: Path, url: str, *arguments: str) -> dict[str, Any]:
    script = package / "script.cjs"
    script.write_text((HERE / "mergent.cjs").read_text("utf-8"), "utf-8")
    process = await asyncio.create_subprocess_exec(
        *("node", "--require", str(PRELOAD), str(script), *arguments),
        env=os.environ | {"HOLDFAST_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 90)
    assert process.returncode == 0, err.decode()
    return json.loads(out)  # type: ignore[no-any-return]


async def test_the_official_client_does_all_that_it_can(package: Path, pushing: Pushing, receiver: Receiver) -> None:
    pushing.start(api_key=KEY)
    async with serving(pushing) as url:
        said = await said_by(package, url, receiver.url, KEY)
    the_tasks(said["tasks"], receiver)
    the_schedules(said["schedules"])
    assert said["stranger"]["message"] == "The API key is missing or wrong"
    first = receiver.received[0]
    assert (first.path, first.body, first.headers["X-From"]) == ("/tasks", b"Hello, world!", "node")
    assert first.headers["X-Mergent-Signature"] == said["signature"] == mergent_signature(KEY, b"Hello, world!")


def the_tasks(said: dict[str, Any], receiver: Receiver) -> None:
    assert said["sent"]["status"] in ("queued", "working", "success")
    assert said["sent"]["queue"] == "default"
    assert said["done"]["status"] == "success"
    delayed, updated = said["delayed"], said["updated"]
    assert (delayed["name"], delayed["queue"], delayed["status"]) == ("report", "mail", "queued")
    wait = datetime.fromisoformat(delayed["scheduled_for"]) - datetime.fromisoformat(delayed["created_at"])
    assert 3719 < wait.total_seconds() < 3730
    assert said["clash"]["param"] == "name"
    assert datetime.fromisoformat(updated["scheduled_for"]) == datetime.fromisoformat(said["at"])
    assert said["listed"] == [delayed["id"], said["sent"]["id"]]
    assert said["run"]["id"] == delayed["id"]
    assert said["busy"]["message"]
    assert said["deleted"]
    assert said["gone"]["message"] == "There is no such task"
    assert [each["param"] for each in said["invalid"]["errors"]] == ["name", "request.url"]
    assert [each.path for each in receiver.received].count("/tasks") == 2


def the_schedules(said: dict[str, Any]) -> None:
    cron = said["cron"]
    assert (cron["name"], cron["description"], cron["cron"]) == ("nightly", "every night", "0 2 * * *")
    assert (cron["rrule"], cron["paused"], cron["queue"]) == (None, False, "default")
    assert said["rule"]["queue"] == "mail"
    assert said["paused"]["paused"]
    assert said["paused"]["cron"] == "0 2 * * *"
    moved = said["moved"]
    assert (moved["cron"], moved["paused"], moved["name"]) == ("30 3 * * 1-5", False, "nightly")
    assert moved["scheduled_for"].endswith("T03:30:00.000Z")
    assert said["read"] == moved
    assert said["listed"] == [said["rule"]["id"], cron["id"]]
    assert said["deleted"]
    assert said["gone"]["message"] == "There is no such schedule"
    assert said["neither"]["message"] == "Cron or rrule is required"
