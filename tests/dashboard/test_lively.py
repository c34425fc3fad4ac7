"""A thousand runs a second go through, and somebody looks."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast import Holdfast
from holdfast.engine import trigger
from holdfast.ids import new_id
from holdfast.records import NewRun
from tests.dashboard.test_browser import served, shop
from tests.support.browser import CHROMIUM, WITHOUT, browser

pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason=WITHOUT), pytest.mark.xdist_group("browser")]

EACH, PAUSE, LOOKS = 50, 0.05, 12  # a thousand a second


@contextmanager
def busy(app: Holdfast) -> Iterator[list[int]]:
    """Runs that come all the while; how many, after each handful."""
    stop, made = threading.Event(), [0]

    def come() -> None:
        while not stop.wait(PAUSE):
            runs = [NewRun(id=new_id(), task="send", queue="task/send", payload="null") for _ in range(EACH)]
            app.client.write(trigger.trigger, runs)
            made.append(made[-1] + EACH)

    thread = threading.Thread(target=come)
    thread.start()
    try:
        yield made
    finally:
        stop.set()
        thread.join()


@pytest.mark.slow
async def test_a_change_is_seen_at_once_and_the_page_stays_calm_while_runs_pour_in(tmp_path: Path) -> None:
    """Rows stay where they are, the number that waits is told, a click goes where it was meant to; and what changes is
    seen within half a second on a quiet machine, ten times as long where it is busy."""
    app = shop(tmp_path)
    try:
        async with served(app) as url, browser() as chromium:
            watched = [await app.atrigger("pack", {"number": n, "customer": "Ada"}, delay="1h") for n in range(LOOKS)]
            page = await chromium.page(f"{url}/runs")
            await page.until("source?.readyState === 1")
            await page.js(SEES)
            before = await page.js(ROWS)
            began, took = time.monotonic(), list[float]()
            with busy(app) as made:
                await page.until("document.querySelector('[data-new]').innerText === '50 or more new'")
                for run in watched:
                    at = await page.js("Date.now()")
                    await app.runs.acancel(run.id)
                    seen = await page.until(f"seen['{run.id}']")
                    took.append(seen - at)
                rate = made[-1] / (time.monotonic() - began)
                assert await page.js(ROWS) == before
                last = watched[0].id
                await page.press(f"document.querySelector('[data-row=\"{last}\"] a.row')")
                await page.until(f"location.pathname === '/runs/{last}'")
            print(f"{rate:.0f} runs a second: seen after {statistics.median(took):.0f} ms, at most {max(took):.0f} ms")
            assert statistics.median(took) < 5_000
            assert page.complaints == []
    finally:
        await app.aclose()


ROWS = "[...document.querySelectorAll('[data-row]')].map(e => e.dataset.row + ' ' + e.getBoundingClientRect().y).join()"
SEES = """
window.seen = {};
new MutationObserver(() => {
  for (const row of document.querySelectorAll('[data-row]'))
    if (row.querySelector('.s-canceled')) seen[row.dataset.row] ??= Date.now();
}).observe(document.querySelector('main'), {childList: true, subtree: true, attributes: true, characterData: true});
"""
