"""docs/typescript.md: its Python and its TypeScript run as they stand there, and say what it says they do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.api.trigger_dev.conftest import Making

PAGE = Path(__file__).parents[3] / "docs" / "typescript.md"


async def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, official: Making) -> None:
    monkeypatch.setenv("HOLDFAST_DATABASE_URL", str(tmp_path / "holdfast.db"))
    names: dict[str, Any] = {"__name__": "page"}
    text = PAGE.read_text(encoding="utf-8")
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), names)
    there = await official(names["app"])
    async with names["app"].running():
        said = await there.does("page", str(PAGE))
    assert said == re.findall(r"console\.log\(.*?; // (.*)", text)
