"""What users and strangers have written is shown as text, wherever it stands."""

from __future__ import annotations

from pathlib import Path

from holdfast import Holdfast
from tests.dashboard.conftest import Served

NAME = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{7*7}}</pre></textarea>"
MARKUP = NAME + "\x00\u202e\x1b[31m"


async def test_markup_in_every_field_is_text_on_every_page(tmp_path: Path, served: Served) -> None:
    home = Holdfast(database=f"sqlite:///{tmp_path}/holdfast.db")
    run = home.trigger(NAME, {MARKUP: [MARKUP]}, queue=NAME, tags=[NAME], concurrency_key=NAME, idempotency_key=NAME)
    async with served(home) as http:
        for path in (
            "/",
            "/runs",
            f"/runs/{run.id}",
            "/runs?task=%3Cscript%3E",
            "/runs?status=%3Cscript%3E",
            "/runs?q=stats:%3Cscript%3E",
        ):
            answer = await http.get(path)
            assert answer.status_code in (200, 422), path
            assert "<script>alert" not in answer.text, path
            assert "<img" not in answer.text, path
    await home.aclose()
