"""What people do, in a real browser: with scripts, without, and while the server goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pydantic import BaseModel

from holdfast import AsyncContext, Holdfast, Queue
from holdfast.api.app import application
from holdfast.cli.dev.serve import Server, listen, url_of
from tests.support.browser import CHROMIUM, WITHOUT, Page, browser

pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason=WITHOUT), pytest.mark.xdist_group("browser")]


class Order(BaseModel):
    number: int
    customer: str


class Approval(BaseModel):
    approved: bool
    by: str


def shop(folder: Path) -> Holdfast:
    app = Holdfast(database=f"sqlite:///{folder}/holdfast.db")
    packing = Queue("packing", concurrency_limit=2)

    @app.task(queue=packing)
    def pack(order: Order) -> str:
        if order.number < 0:
            raise ValueError(f"there is no order {order.number}")
        return f"order {order.number} is packed"

    @app.task
    async def refund(order: Order, ctx: AsyncContext) -> str:
        answer = await ctx.wait_for(await ctx.token(Approval))
        return answer.by if answer.approved else "refused"

    return app


@asynccontextmanager
async def served(app: Holdfast, port: int = 0) -> AsyncIterator[str]:
    listening = listen("127.0.0.1", port)
    server = Server(lambda: application(lambda: app.client), listening)
    try:
        yield url_of(listening)
    finally:
        await asyncio.to_thread(server.stop)


async def test_what_people_do(tmp_path: Path) -> None:
    app = shop(tmp_path)
    try:
        async with served(app) as url, browser() as chromium, app.running():
            page = await chromium.page(url)
            await tries_a_task(page)
            await mends_what_failed(page, url, app)
            await pauses_a_queue(page, url, app)
            await makes_a_schedule(page, url, app)
            await completes_a_token(page, url, app)
            await cancels_a_hundred(page, url, app)
            assert page.complaints == []
    finally:
        await app.aclose()


async def tries_a_task(page: Page) -> None:
    """Who comes for the first time runs a task, and watches it end without pressing anything."""
    await page.click("Run pack")
    await page.write("[name='value.number']", "7")
    await page.write("[name='value.customer']", "Ada")
    await page.click("Run it")
    await page.until("document.querySelector('.title .status')?.textContent.trim() === 'completed'")
    await page.until("document.body.innerText.includes('order 7 is packed')")


async def mends_what_failed(page: Page, url: str, app: Holdfast) -> None:
    """One finds a run that failed, reads why, and replays it with another payload."""
    await app.atrigger("pack", {"number": -1, "customer": "Ada"}, max_attempts=1)
    await page.open(f"{url}/runs?status=failed")
    await page.until("!!document.querySelector('[data-row]')")  # an empty list, too, is kept up to date
    await page.press("document.querySelector('[data-row] a.row')")
    await page.until("document.body.innerText.includes('there is no order -1')")
    await page.click("Edit and replay")
    await page.write("[name='value.number']", "8")
    await page.until("document.querySelectorAll('.field.edited').length === 1")
    await page.click("Go on in JSON")
    await page.write("[name=json]", '{\n  "number": 8,\n  "customer": "Ada"\n}')
    await page.until("document.querySelector('[data-before] .less')?.textContent.includes('-1')")
    await page.click("Replay", among="button.primary")
    await page.until("document.body.innerText.includes('order 8 is packed')")


async def pauses_a_queue(page: Page, url: str, app: Holdfast) -> None:
    await page.open(f"{url}/queues/packing")
    await page.click("Pause")
    await page.until("document.body.innerText.includes('Resume')")
    assert app.queues.retrieve("packing").paused
    await page.click("Resume")
    await page.until("document.body.innerText.includes('Pause')")
    assert not app.queues.retrieve("packing").paused


async def makes_a_schedule(page: Page, url: str, app: Holdfast) -> None:
    """The preview follows what one writes, and says when the clocks of who looks change; it is edited, and run."""
    await page.send("Emulation.setTimezoneOverride", timezoneId="America/New_York")
    await page.open(f"{url}/schedules/new?task=pack")
    assert await page.js("document.querySelector('#timezone').value") == "America/New_York"
    await page.write("#timezone", "UTC")
    await page.write("#rule", "0 12 1 * *")
    await page.until("document.querySelector('.coming .clocks')?.textContent.startsWith('your clocks go')")
    await page.write("#timezone", "Europe/Berlin")
    await page.write("#rule", "30 2 * * *")
    await page.until("document.querySelectorAll('.coming li').length === 10")
    await page.write("#payload", '{"number": 1, "customer": "Ada"}')
    await page.click("Make it")
    await page.until("location.pathname.length > 20 && document.body.innerText.includes('Europe/Berlin')")
    await page.click("Edit")
    await page.write("#rule", "0 12 * * *")
    await page.until("document.querySelector('.coming').innerText.includes(' 12:00 C')")
    await page.click("Change it")
    await page.until("document.querySelector('h1').textContent === '0 12 * * *'")
    (made,) = app.schedules.list()
    assert (made.task, made.timezone, made.payload) == ("pack", "Europe/Berlin", {"number": 1, "customer": "Ada"})
    await page.click("Run now")
    await page.until("document.body.innerText.includes('order 1 is packed')")


async def completes_a_token(page: Page, url: str, app: Holdfast) -> None:
    run = await app.atrigger("refund", {"number": 1, "customer": "Ada"})
    await page.open(f"{url}/tokens")
    await page.until("!!document.querySelector('table a.row')")  # which comes by itself
    await page.press("document.querySelector('table a.row')")
    await page.until("!!document.querySelector('[name=\"value.approved\"]')")
    await page.press("document.querySelector('[name=\"value.approved\"]')")
    await page.write("[name='value.by']", "Grace")
    await page.key("Enter")  # which does what the form is for
    await page.until("document.body.innerText.includes('What it was completed with')")
    assert await run.aresult(timeout="30s") == "Grace"


async def cancels_a_hundred(page: Page, url: str, app: Holdfast) -> None:
    """By a filter, and how many they are is said before."""
    for _ in range(100):
        await app.atrigger("pack", {"number": 1, "customer": "Ada"}, delay="1h", tags=["old"])
    await page.open(f"{url}/runs?tag=old&status=delayed")
    await page.press("document.querySelector('[data-all]')")
    await page.click("Cancel …")
    await page.click("Cancel 100 runs")
    await page.until("document.body.innerText.includes('canceled at once')")
    assert len(app.runs.list(tag="old", status="canceled", limit=200)) == 100


async def test_new_runs_wait_to_be_asked_for_and_a_server_that_goes_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that newer ones have pushed from the page is kept up to date where it stands, and does not move."""
    monkeypatch.setattr("holdfast.dashboard.pages.runs.LIMIT", 3)
    app = shop(tmp_path)
    try:
        async with browser() as chromium:
            async with served(app) as url:
                first = await app.atrigger("pack", {"number": 1, "customer": "Ada"}, delay="1h")
                page = await chromium.page(f"{url}/runs")
                await page.until("!!source && source.readyState === 1")
                place = await page.js("document.querySelector('[data-row]').getBoundingClientRect().y")
                for _ in range(3):
                    await app.atrigger("pack", {"number": 2, "customer": "Ada"}, delay="1h")
                await app.runs.acancel(first.id)
                await page.until("document.querySelector('[data-new]')?.innerText === '3 new'")
                await page.until("document.querySelector('[data-row] .status').innerText === 'canceled'")
                assert await page.js("document.querySelectorAll('[data-row]').length") == 1
                assert await page.js("document.querySelector('[data-row]').getBoundingClientRect().y") == place
                await page.click("3 new")
                await page.until("document.querySelectorAll('[data-row]').length === 3")
            await page.until("!document.querySelector('[data-lost]').hidden")
            async with served(app, int(url.rpartition(":")[2])):
                await app.atrigger("pack", {"number": 3, "customer": "Ada"}, delay="1h")
                await page.until("document.querySelector('[data-lost]').hidden")
                await page.until("document.querySelector('[data-new]')?.innerText === '1 new'")
    finally:
        await app.aclose()


async def test_a_page_that_changes_leaves_in_peace_who_is_at_it(tmp_path: Path) -> None:
    """A click is not lost when its row is new meanwhile; the focus stays; rows stay under the pointer."""
    app = shop(tmp_path)
    try:
        async with served(app) as url, browser() as chromium:
            page = await chromium.page(f"{url}/tokens")
            await page.until("source?.readyState === 1")
            token = await app.tokens.acreate()
            await page.until(ROWS.format(1))
            await page.js("document.querySelector('a.row').focus()")
            await page.point("document.querySelector('a.row')", "mousePressed")
            await app.tokens.acreate()
            await page.until("again")
            assert await page.js(ROWS.format(1)), "nothing changes while a button is down"
            await page.point("document.querySelector('a.row')", "mouseReleased")
            await page.until(f"location.pathname === '/tokens/{token.id}'")

            await page.open(f"{url}/tokens")
            await page.point("document.querySelector('a.row')", "mouseMoved")
            await page.until("pointed > 0 && !!document.querySelector('tr:hover')")
            await page.js("pointed = Infinity")  # however long this test takes
            await page.js("document.querySelector('a.row').focus()")
            await app.tokens.acreate()
            await page.until("latest?.querySelectorAll('tbody tr').length === 3")
            assert await page.js(ROWS.format(2)), "rows stay where they are under the pointer"
            await page.js("pointed = -Infinity")
            await page.until(ROWS.format(3))
            assert await page.js("document.activeElement === document.querySelectorAll('a.row')[1]")

            await page.js("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
            await page.js("document.dispatchEvent(new Event('visibilitychange'))")
            assert await page.js("source.readyState === EventSource.CLOSED"), "a tab that nobody sees asks for nothing"
            await app.tokens.acreate()
            await page.js("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
            await page.until(ROWS.format(4))
            assert page.complaints == []
    finally:
        await app.aclose()


async def test_a_chart_is_zoomed_by_dragging_over_it(tmp_path: Path) -> None:
    app = shop(tmp_path)
    try:
        async with served(app) as url, browser() as chromium:
            await app.atrigger("pack", {"number": 1, "customer": "Ada"}, delay="1h")
            page = await chromium.page(f"{url}/?range=24h")
            left, width, top = await page.js(
                "(r => [r.left, r.width, r.top])(document.querySelector('[data-zoom] svg').getBoundingClientRect())"
            )
            at = {"y": top + 20, "button": "left", "clickCount": 1}
            await page.send("Input.dispatchMouseEvent", type="mousePressed", x=left + width / 2, **at)
            for part in (0.6, 0.75):
                await page.send("Input.dispatchMouseEvent", type="mouseMoved", x=left + width * part, **at)
            await page.until("document.querySelector('.band').getBoundingClientRect().width > 100")
            await page.send("Input.dispatchMouseEvent", type="mouseReleased", x=left + width * 0.75, **at)
            await page.until("location.search.startsWith('?since=') && document.readyState === 'complete'")
            hours = "(d => (d.until - d.since) / 3600000)(document.querySelector('[data-zoom]').dataset)"
            assert 5 <= await page.js(hours) <= 7, "a quarter of a day"
            await page.click("24h")
            await page.until("location.search === '?range=24h'")
            assert page.complaints == []
    finally:
        await app.aclose()


ROWS = "document.querySelectorAll('tbody tr').length === {}"
