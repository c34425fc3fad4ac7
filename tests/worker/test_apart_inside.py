"""Runs in processes of their own whose worker is inside another process."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from holdfast import Holdfast

SOURCE = """
import os
from holdfast import Holdfast

app = Holdfast({database!r})

@app.task(isolation="process")
def here() -> int:
    return os.getpid()
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: None) -> Iterator[ModuleType]:
    """A module with an app, on a path that only this process looks at."""
    (tmp_path / "a_shop.py").write_text(SOURCE.format(database=str(tmp_path / "shop.db")))
    monkeypatch.syspath_prepend(tmp_path)
    import a_shop  # type: ignore[import-not-found]

    yield a_shop
    a_shop.app.close()
    del sys.modules["a_shop"]


def test_a_worker_inside_another_process_has_them_too(shop: ModuleType) -> None:
    with shop.app.running():
        first, second = (shop.here.trigger().result(timeout=60) for _ in range(2))
    assert len({first, second, os.getpid()}) == 3


def test_an_app_that_nobody_could_import_shares_its_process_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = Holdfast(str(tmp_path / "script.db"))

    @app.task(isolation="process")
    def here() -> int:
        return os.getpid()

    with caplog.at_level(logging.WARNING, "holdfast"), app.running():
        assert here.trigger().result(timeout=60) == os.getpid()
    app.close()
    assert "should have a process of its own" in caplog.text
