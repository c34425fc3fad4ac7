"""The pages as a whole: every link leads somewhere, every page is led to, and the reference is that of the code."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def links(page: Path) -> list[str]:
    """Where a page leads to within the repository."""
    text = FENCE.sub("", page.read_text("utf-8"))
    found = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|srcset)="([^"]+)"', text)
    return [each for each in found if not re.match(r"\w+:", each)]


def anchors(page: Path) -> list[str]:
    """What GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text("utf-8")), re.MULTILINE)
    plain = [re.sub(r"\[(.*?)\]\(.*?\)", r"\1", heading).lower() for heading in headings]
    return [re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    names = anchors(page)
    assert [name for name in names if names.count(name) > 1] == []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_led_to() -> None:
    index = ROOT / "docs" / "README.md"
    led_to = {(index.parent / link.partition("#")[0]).resolve() for link in links(index)}
    assert [page.name for page in (ROOT / "docs").glob("*.md") if page not in led_to | {index}] == []


def test_the_reference_is_that_of_the_code() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "reference.py"), run_name="reference")
    written = script["PAGE"].read_text("utf-8")
    assert written == script["page"](), "write it anew: python scripts/reference.py"
