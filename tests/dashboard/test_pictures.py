"""The pictures of the document: there is one of each page in either theme, and they can be made at any time."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.browser import CHROMIUM, WITHOUT

HERE = Path(__file__).parents[2]
PNG = b"\x89PNG"


def test_the_document_shows_the_pictures_that_there_are() -> None:
    there = {each.name for each in HERE.glob("docs/dashboard/*.png")}
    shown = set(re.findall(r"\(dashboard/([^)]+)\)", (HERE / "docs/dashboard.md").read_text("utf-8")))
    assert shown <= there
    assert {each.rpartition("-")[0] for each in shown} == {each.rpartition("-")[0] for each in there}


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.skipif(CHROMIUM is None, reason=WITHOUT)
@pytest.mark.xdist_group("browser")
def test_they_are_made_from_the_demo(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "scripts/screenshots.py", str(tmp_path)], cwd=HERE, check=True, timeout=390)
    made = {each.name: each.read_bytes() for each in tmp_path.glob("*.png")}
    assert set(made) == {each.name for each in HERE.glob("docs/dashboard/*.png")}
    assert all(each.startswith(PNG) and len(each) > 5_000 for each in made.values())
