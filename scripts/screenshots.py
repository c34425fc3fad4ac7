"""Pictures of the dashboard for docs/, light and dark, from the demo's data: needs Chromium.

    python scripts/screenshots.py [FOLDER] [PAGE…]        default: docs/dashboard, all pages

The shop works for half a minute first, in processes of its own, so that the pages have something to show.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import tempfile
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).parents[1]))

from holdfast import views
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
    "new-schedule": (
        "/schedules/new?task=nightly-report&timezone=Europe/Berlin&rule=30 2 28-31 MAR,OCT *",
        WIDE,
    ),
    "workers": ("/workers", WIDE),
    "hosts": ("/hosts", WIDE),
    "webhooks": ("/webhook-deliveries", WIDE),
    "alerts": ("/alerts", LOW),
    "docs": ("/docs", WIDE),
    "audit": ("/audit", LOW),
    "home-narrow": ("/?range=24h", NARROW),
    "runs-narrow": ("/runs", NARROW),
    "run-narrow": ("/runs/{failed}", NARROW),
    "workers-narrow": ("/workers", NARROW),
    "keys": ("/keys", LOW),
}
KEYS = {"deploys": ["trigger"], "billing": ["read", "trigger:charge-card"], "grace": ["admin"]}


async def main(folder: Path, wanted: list[str]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        database = f"sqlite:///{scratch}/holdfast.db"
        fill(database)
        app.settings.use_flags(database=database)
        key = make_keys()
        async with at_work(database) as url, browser() as chromium:
            waiting = await fulfil.atrigger(Order(number=81_161, customer="ada"), tags=["customer:ada", "vip"])
            page = await chromium.page()
            await page.open(f"{url}/login")
            await picture(page, url, folder, wanted, {}, ["login"])
            await log_in(page, url, key)
            await asyncio.sleep(40)
            ids = {
                "waiting": waiting.id,
                "failed": app.runs.list(task="charge-card", status="failed", limit=1)[0].id,
                "error": app.client.read(views.errors).errors[0].fingerprint,
                "token": app.tokens.list(status="open", limit=1)[0].id,
                "schedule": next(each.id for each in app.schedules.list() if each.task == "count-stock"),
            }
            await picture(page, url, folder, wanted, ids, [name for name in PAGES if name != "login"])
        await app.aclose()


@asynccontextmanager
async def at_work(database: str) -> AsyncIterator[str]:
    """The server and two workers, as somebody would start them. They are ended with what they are at."""
    port = str(free_port())
    command = ["holdfast", "start", "holdfast.demo.shop", "-p", "2", "--database", database, "--port", port]
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *command, "--drain-timeout", "1s", stdout=DEVNULL, stderr=DEVNULL
    )
    try:
        url = f"http://127.0.0.1:{port}"
        await until_ready(f"{url}/readyz")
        yield url
    finally:
        started.terminate()
        await started.wait()


async def until_ready(address: str) -> None:
    async with httpx.AsyncClient() as http:
        for _ in range(600):
            with contextlib.suppress(httpx.TransportError):
                if (await http.get(address)).status_code == 200:
                    return
            await asyncio.sleep(0.1)
    sys.exit(f"{address} is not ready")


def free_port() -> int:
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        port: int = tried.getsockname()[1]
        return port


async def picture(
    page: Page, url: str, folder: Path, wanted: list[str], ids: dict[str, str], names: Sequence[str]
) -> None:
    for name in names:
        path, size = PAGES[name]
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
