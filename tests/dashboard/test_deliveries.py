"""What others have sent, and what of it was refused."""

from __future__ import annotations

from pathlib import Path

from holdfast import Holdfast
from holdfast.engine import catalogue, webhooks
from holdfast.ids import new_id
from holdfast.records import Rejected, TaskEntry
from tests.dashboard.conftest import Served

MARKUP = "<script>alert(1)</script>"


def refuse(home: Holdfast, path: str, count: int) -> None:
    refused = [
        Rejected(
            id=new_id(), path=path, reason=f"no signature {MARKUP}", source="203.0.113.7", headers='{"x":"***"}',
            body=MARKUP, size=12,
        )
        for _ in range(count)
    ]  # fmt: skip
    home.client.write(webhooks.reject, refused)


async def test_deliveries_and_what_was_refused(tmp_path: Path, served: Served) -> None:
    """By path, page by page, and all that a stranger has written is text."""
    home = Holdfast(database=f"sqlite:///{tmp_path}/holdfast.db")
    async with served(home) as http:
        assert "No task takes webhooks yet" in (await http.get("/webhook-deliveries")).text
        entry = TaskEntry(id="paid", queue="task/paid", options="{}", webhook="/stripe", verified_by="Stripe")
        home.client.write(catalogue.announce, [entry], [])
        run = home.trigger("paid")
        refuse(home, "/stripe", 25)
        refuse(home, "/other", 1)
        page = (await http.get("/webhook-deliveries")).text
        assert f"/runs/{run.id}" in page
        assert "Stripe" in page
        assert page.count("no signature") == 20
        assert MARKUP not in page
        older = page.split('rel="next"')[0].rpartition('href="')[2].partition('"')[0].replace("&amp;", "&")
        assert (await http.get(older)).text.count("no signature") == 6
        assert (await http.get("/webhook-deliveries?path=/other")).text.count("no signature") == 1
        assert (await http.get("/webhook-deliveries?cursor=nonsense")).status_code == 200
    await home.aclose()
