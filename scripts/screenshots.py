"""Pictures of the dashboard for docs/, light and dark, from the demo's data: needs Chromium.

    python scripts/screenshots.py [FOLDER] [PAGE…]        default: docs/dashboard, all pages

The shop works for half a minute first, so that the pages have something to show.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from holdfast.api.app import application
from holdfast.cli.dev.serve import Server, listen, url_of
from holdfast.demo.past import fill
from holdfast.demo.shop import Order, app, fulfil
from tests.support.browser import Page, browser

WIDE = (1280, 800)
NARROW = (390, 760)
PAGES = {
    "home": ("/?range=24h", WIDE),
    "runs": ("/runs", WIDE),
    "run": ("/runs/{waiting}", WIDE),
    "failed-run": ("/runs/{failed}", WIDE),
    "replay": ("/runs/{failed}/replay", WIDE),
    "errors": ("/errors", WIDE),
    "tokens": ("/tokens/{token}", WIDE),
    "task": ("/tasks/charge-card", WIDE),
    "test": ("/tasks/fulfil-order/test", WIDE),
    "queues": ("/queues", WIDE),
    "queue": ("/queues/packing", WIDE),
    "schedules": ("/schedules", WIDE),
    "schedule": ("/schedules/{schedule}", WIDE),
    "workers": ("/workers", WIDE),
    "hosts": ("/hosts", WIDE),
    "home-narrow": ("/?range=24h", NARROW),
    "runs-narrow": ("/runs", NARROW),
    "run-narrow": ("/runs/{failed}", NARROW),
}


async def main(folder: Path, wanted: list[str]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        database = f"sqlite:///{scratch}/holdfast.db"
        fill(database)
        app.settings.use_flags(database=database)
        server = Server(lambda: application(lambda: app.client), listening := listen("127.0.0.1", 0))
        try:
            async with app.running(), browser() as chromium:
                waiting = await fulfil.atrigger(Order(number=81_161, customer="ada"), tags=["customer:ada", "vip"])
                await asyncio.sleep(40)
                ids = {
                    "waiting": waiting.id,
                    "failed": app.runs.list(task="charge-card", status="failed", limit=1)[0].id,
                    "token": app.tokens.list(status="open", limit=1)[0].id,
                    "schedule": next(each.id for each in app.schedules.list() if each.task == "nightly-report"),
                }
                await take(await chromium.page(), url_of(listening), folder, wanted, ids)
        finally:
            await asyncio.to_thread(server.stop)
            await app.aclose()


async def take(page: Page, url: str, folder: Path, wanted: list[str], ids: dict[str, str]) -> None:
    for name, (path, size) in PAGES.items():
        if wanted and name not in wanted:
            continue
        for theme in ("light", "dark"):
            await page.size(*size)
            await page.theme(theme == "dark")
            await page.open(url + path.format(**ids))
            await asyncio.sleep(0.3)
            await page.picture(folder / f"{name}-{theme}.png")
    assert not page.complaints, page.complaints


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/dashboard")
    target.mkdir(parents=True, exist_ok=True)
    asyncio.run(main(target, sys.argv[2:]))
