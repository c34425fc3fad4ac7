"""Pages of docs/ whose Python is one program, from the first block to the last: it runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOLDFAST_DATABASE_URL", str(tmp_path / "holdfast.db"))


def program(page: str) -> dict[str, Any]:
    """What the Python of a page defines."""
    names: dict[str, Any] = {"__name__": page}
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(block, f"docs/{page}.md", "exec", dont_inherit=True), names)
    return names


def test_hooks() -> None:
    page = program("hooks")
    order, fulfill = page["Order"], page["fulfill"]
    with page["app"].testing() as jobs:
        failed = jobs.run(fulfill, order(number=-1, email="ada@example.com"))
        assert failed.logs[-1].message == "write to ada@example.com: there is no such order"
        timed, noted = (line.message for line in jobs.run(fulfill, order(number=7, email="")).logs)
    assert timed.startswith("fulfill took 0.")
    assert noted == "fulfill: order 7 is on its way"


def test_dependencies() -> None:
    page = program("dependencies")
    with page["app"].testing() as jobs:
        assert [jobs.run(page["sell"], what).output for what in ("tea", "cake")] == [3, 5]
        assert jobs.run(page["takings"]).output == 8


def test_machines() -> None:
    page = program("machines")
    with page["app"].testing() as jobs:
        assert jobs.run(page["resize"], "large.tiff").output == "large.tiff is small now"


def test_tokens() -> None:
    page = program("tokens")
    with page["app"].testing() as jobs:
        answered, not_answered = (jobs.run(page["refund"], order) for order in (7, 8))
        (token,) = (each for each in page["app"].tokens.list(status="open") if each.run_id == answered.id)
        page["app"].tokens.complete(token.id, {"by": "Ada"})
        jobs.advance("2d")
        assert (answered.output, not_answered.output) == ("Ada", "nobody answered")


def test_secrets() -> None:
    page = program("secrets")
    with page["app"].testing() as jobs:
        run = jobs.run(page["sync_account"], page["Login"](user="ada", password="hunter2", pin=1234))
        assert [line.message for line in run.logs] == ["ada logs in with '**********'"]


def test_versions() -> None:
    assert program("versions")["app"].settings
