"""What an app's version is, and where its runs go on, with real workers."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from holdfast import Holdfast, InvalidOption, Retry
from holdfast.version import digest, version_of
from tests.conftest import Eventually
from tests.support.looking import worker_states

Load = Callable[[str, str], None]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Imports a module of the project, so to say, with this text."""

    def load(place: str, text: str) -> None:
        file = tmp_path / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        module = ModuleType(place)
        module.__file__ = str(file)
        monkeypatch.setitem(sys.modules, f"versions_{place}", module)

    return load


def test_the_version_is_what_the_deploy_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_VERSION", "2026-07-01")
    assert version_of(Holdfast()) == "2026-07-01"


def test_without_that_it_is_a_digest_of_the_source(tmp_path: Path, load: Load) -> None:
    load("tasks.py", "a = 1")
    load("shop/orders.py", "b = 2")
    before = digest(tmp_path)
    assert before == digest(tmp_path)
    load("shop/orders.py", "b = 3")
    assert digest(tmp_path) != before
    load("shop/orders.py", "b = 2")
    assert digest(tmp_path) == before


def test_what_is_installed_or_not_imported_does_not_count(tmp_path: Path, load: Load) -> None:
    load("tasks.py", "a = 1")
    before = digest(tmp_path)
    load(".venv/lib/python3.12/site-packages/other.py", "c = 3")
    (tmp_path / "unused.py").write_text("d = 4")
    assert digest(tmp_path) == before


@pytest.mark.parametrize(("said", "pins"), [("true", True), ("1", True), ("no", False), ("", False)])
def test_pinning_may_be_said_outside(monkeypatch: pytest.MonkeyPatch, said: str, pins: bool) -> None:
    monkeypatch.setenv("HOLDFAST_PIN_VERSIONS", said)
    assert Holdfast().settings.get("pin_versions").value is pins


def test_pinning_is_yes_or_no() -> None:
    with pytest.raises(InvalidOption, match="neither true nor false"):
        Holdfast(pin_versions="perhaps")  # type: ignore[arg-type]


async def test_an_old_worker_serves_its_version_while_it_drains(
    database_url: str, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    """It goes on with what nobody else may, until that is done; and takes nothing that has not begun."""
    monkeypatch.setenv("HOLDFAST_VERSION", "one")
    app = Holdfast(database_url, pin_versions=True)
    draining, began, tried, done = (asyncio.Event() for _ in range(4))
    attempts: list[int] = []

    @app.task
    async def long(_: None = None) -> str:
        began.set()
        await done.wait()
        return "long"

    @app.task(retry=Retry(max_attempts=2, min_delay="1ms", max_delay="1ms"))
    async def flaky(_: None = None) -> str:
        attempts.append(1)
        tried.set()
        if len(attempts) == 1:
            await draining.wait()
            raise ValueError("once")
        done.set()
        return "flaky"

    @app.task
    async def fresh(_: None = None) -> str:
        return "fresh"

    running = app.running(drain="60s")
    await running.__aenter__()
    first, second = await long.atrigger(), await flaky.atrigger()
    await asyncio.wait_for(began.wait(), 30)
    await asyncio.wait_for(tried.wait(), 30)
    leaving = asyncio.create_task(running.__aexit__(None, None, None))
    async with asyncio.timeout(30):
        while "draining" not in await asyncio.to_thread(worker_states, app):  # noqa: ASYNC110 - other threads write it
            await asyncio.sleep(0.01)
    new = await fresh.atrigger()
    draining.set()
    await asyncio.wait_for(leaving, 50)
    assert [(await run.aretrieve()).status for run in (first, second)] == ["completed", "completed"]
    assert (await new.aretrieve()).status == "pending_version"
    await app.aclose()


@pytest.mark.parametrize("pins", [False, True])
def test_a_run_that_was_handed_back_goes_on_where_it_may(
    database_url: str, monkeypatch: pytest.MonkeyPatch, eventually: Eventually, pins: bool
) -> None:
    app = Holdfast(database_url, pin_versions=pins)
    began: list[int] = []

    @app.task
    async def wait(_: None = None) -> int:
        began.append(1)
        if len(began) == 1:
            await asyncio.sleep(3600)
        return len(began)

    def begun() -> None:
        assert began

    def pending() -> None:
        assert handle.retrieve().status == "pending_version"

    monkeypatch.setenv("HOLDFAST_VERSION", "one")
    with app.running(drain="10ms"):
        handle = wait.trigger()
        eventually(begun, timeout=30)
    monkeypatch.setenv("HOLDFAST_VERSION", "two")
    with app.running():
        if pins:
            fresh = wait.trigger()
            assert fresh.result(timeout="30s") == 2  # it is alive, and takes what has not begun
            assert fresh.retrieve().version == "two"
            eventually(pending, timeout=30)
        else:
            assert handle.result(timeout="30s") == 2
    if pins:
        monkeypatch.setenv("HOLDFAST_VERSION", "one")
        with app.running():
            assert handle.result(timeout="30s") == 3
    assert (handle.retrieve().version, handle.retrieve().attempts) == ("one", 1)
    app.close()
