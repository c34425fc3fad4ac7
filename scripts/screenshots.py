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

from holdfast import views
from holdfast.api.app import application
from holdfast.cli.dev.serve import Server, listen, url_of
from holdfast.demo.past import fill
from holdfast.demo.shop import Order, app, fulfil
from holdfast.engine import keys
from holdfast.ids import new_api_key
from tests.support.browser import Page, browser

WIDE = (1280, 800)
LOW = (1280, 600)
NARROW = (390, 760)
PAGES = {
    "login": ("/login", LOW),
    "home": ("/?range=24h", WIDE),
    "runs": ("/runs", WIDE),
    "run": ("/runs/{waiting}", WIDE),
    "failed-run": ("/runs/{failed}", WIDE),
    "replay": ("/runs/{failed}/replay", WIDE),
    "errors": ("/errors", WIDE),
    "error": ("/errors/{error}", WIDE),
    "tokens": ("/tokens", LOW),
    "token": ("/tokens/{token}", WIDE),
    "tasks": ("/tasks", WIDE),
    "task": ("/tasks/charge-card", WIDE),
    "test": ("/tasks/fulfil-order/test", WIDE),
    "queues": ("/queues", WIDE),
    "queue": ("/queues/packing", WIDE),
    "schedules": ("/schedules", WIDE),
    "schedule": ("/schedules/{schedule}", WIDE),
    "workers": ("/workers", WIDE),
    "hosts": ("/hosts", WIDE),
    "webhooks": ("/webhook-deliveries", WIDE),
    "alerts": ("/alerts", LOW),
    "audit": ("/audit", LOW),
    "home-narrow": ("/?range=24h", NARROW),
    "runs-narrow": ("/runs", NARROW),
    "run-narrow": ("/runs/{failed}", NARROW),
    "keys": ("/keys", LOW),
}
KEYS = {"deploys": ["trigger"], "billing": ["read", "trigger:charge-card"], "grace": ["admin"]}


async def main(folder: Path, wanted: list[str]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        database = f"sqlite:///{scratch}/holdfast.db"
        fill(database)
        app.settings.use_flags(database=database)
        server = Server(lambda: application(lambda: app.client), listening := listen("127.0.0.1", 0))
        try:
            async with app.running(), browser() as chromium:
                key = make_keys()
                waiting = await fulfil.atrigger(Order(number=81_161, customer="ada"), tags=["customer:ada", "vip"])
                await asyncio.sleep(40)
                ids = {
                    "waiting": waiting.id,
                    "failed": app.runs.list(task="charge-card", status="failed", limit=1)[0].id,
                    "error": app.client.read(views.errors).errors[0].fingerprint,
                    "token": app.tokens.list(status="open", limit=1)[0].id,
                    "schedule": next(each.id for each in app.schedules.list() if each.task == "nightly-report"),
                }
                page = await chromium.page()
                await log_in(page, url_of(listening), key)
                await take(page, url_of(listening), folder, wanted, ids)
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


def make_keys() -> str:
    """Answers the one of who may do everything."""
    key = ""
    for name, scopes in KEYS.items():
        app.client.write(keys.create, key := new_api_key(), name, scopes, 90 * 86_400_000)
    return key


async def log_in(page: Page, url: str, key: str) -> None:
    await page.open(f"{url}/login")
    await page.write("#key", key)
    await page.click("Log in")
    await page.until("location.pathname === '/' && document.readyState === 'complete'")


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/dashboard")
    target.mkdir(parents=True, exist_ok=True)
    asyncio.run(main(target, sys.argv[2:]))
