"""What people do in a real browser who watch, who may only read, who have no mouse, and who listen to a page."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from holdfast import AsyncContext, Holdfast
from holdfast.api.app import application
from holdfast.cli.dev.serve import Server, listen, url_of
from holdfast.engine import keys
from tests.dashboard.test_browser import served, shop
from tests.support.browser import CHROMIUM, WITHOUT, Heard, Page, browser

pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason=WITHOUT), pytest.mark.xdist_group("browser")]

CONTROLS = {"button", "link", "textbox", "searchbox", "combobox", "checkbox", "radio", "spinbutton"}
LINES = "document.querySelector('[data-logs]:not(.stream)')"


async def test_what_a_run_streams_and_logs_is_seen_as_it_comes(tmp_path: Path) -> None:
    """Word by word, without pressing anything. The log follows its end for whoever is there, and leaves in peace who
    reads further up; the end is announced, once and politely."""
    app, tell = Holdfast(database=f"sqlite:///{tmp_path}/holdfast.db"), asyncio.Queue[str]()

    @app.task
    async def answers(question: str, ctx: AsyncContext) -> str:
        said = ""
        while word := await tell.get():
            said += word
            ctx.stream("words").write(word)
            for n in range(40):
                logging.getLogger("model").info("%s %d", word, n)
        return said

    try:
        async with served(app) as url, browser() as chromium, app.running():
            run = await answers.atrigger("how are you?")
            page = await chromium.page(f"{url}/runs/{run.id}")
            await page.until("source?.readyState === 1")
            for word in ("Quite", "well", "today"):
                tell.put_nowait(word)
                await page.until(f"document.querySelector('.stream')?.textContent.includes('{word}')")
                await page.until(f"{LINES}?.textContent.includes('{word} 39')")
            await page.js(f"{LINES}.scrollTop = {LINES}.scrollHeight")
            tell.put_nowait("and")
            await page.until(f"{LINES}.textContent.includes('and 39')")
            await page.until(f"{LINES}.scrollTop + {LINES}.clientHeight >= {LINES}.scrollHeight - 8")
            await page.js(f"{LINES}.scrollTop = 100")
            tell.put_nowait("tomorrow")
            await page.until(f"{LINES}.textContent.includes('tomorrow 39')")
            assert await page.js(f"{LINES}.scrollTop") == 100
            tell.put_nowait("")
            await page.until("document.querySelector('[role=status]').textContent.trim() === 'completed'")
            spoken = [each for each in await page.heard() if each.properties.get("live") not in (None, "off")]
            assert [(each.role, each.properties["live"]) for each in spoken if each.role == "status"] == [
                ("status", "polite")
            ]
            assert page.complaints == []
    finally:
        await app.aclose()


@pytest.mark.slow
async def test_who_may_only_read_finds_nothing_to_press_and_is_told_why(tmp_path: Path) -> None:
    """On no page; and a form that was sent all the same, from a page of before, comes back with what to do."""
    app = shop(tmp_path)
    app.client.write(keys.create, "reads", "reader", ["read"], None)
    listening = listen("127.0.0.1", 0)
    server = Server(lambda: application(lambda: app.client, key="secret"), listening)
    try:
        run = await app.atrigger("pack", {"number": 1, "customer": "Ada"}, delay="1h")
        async with browser() as chromium:
            page, url = await chromium.page(f"{url_of(listening)}/runs"), url_of(listening)
            await page.write("#key", "reads")
            await page.click("Log in")
            await page.until("document.body.innerText.includes('pack') && location.pathname === '/runs'")
            for path in (
                "/",
                "/runs",
                f"/runs/{run.id}",
                "/tasks",
                "/queues",
                "/queues/packing",
                "/schedules",
                "/workers",
            ):
                await page.open(url + path)
                forms = await page.js("[...document.querySelectorAll('form[method=post]')].map(e => e.action)")
                assert [form for form in forms if not form.endswith("/logout")] == [], path
            await page.js(
                "(() => { const form = document.querySelector('form[action=\"/logout\"]');"
                f" form.action = '/runs/{run.id}/cancel'; window.leaving = true; form.submit() }})()"
            )
            await page.arrived()
            told = await page.text()
            assert "write" in told, told
            assert app.runs.retrieve(run.id).status == "delayed"
    finally:
        await asyncio.to_thread(server.stop)
        await app.aclose()


async def test_a_run_is_found_and_canceled_without_a_mouse(tmp_path: Path) -> None:
    """What has the focus is to be seen, and the first stop leads past the menu."""
    app = shop(tmp_path)
    try:
        async with served(app) as url, browser() as chromium:
            for number in (1, 2, 3):
                run = await app.atrigger("pack", {"number": number, "customer": "Ada"}, delay="1h")
            page = await chromium.page(f"{url}/runs")
            await page.key("Tab")
            assert await page.js("document.activeElement.innerText") == "Skip to the content"
            await page.key("Enter")
            await page.until("location.hash === '#main'")
            await page.key("/")
            await page.until("document.activeElement.matches('[data-search]')")
            await page.send("Input.insertText", text="task:pack")
            await page.js("window.leaving = true")
            await page.key("Enter")
            await page.arrived()
            await page.key("j")
            await page.until("document.activeElement.matches('a.row')")
            assert await page.js("getComputedStyle(document.activeElement).outlineStyle") == "solid"
            await page.key("Enter")
            await page.until(f"location.pathname === '/runs/{run.id}' && document.readyState === 'complete'")
            await stops_at(page, "Cancel")
            await page.key("Enter")
            await page.until("document.querySelector('.title .status').textContent.trim() === 'canceled'")
    finally:
        await app.aclose()


async def stops_at(page: Page, words: str) -> None:
    for _ in range(60):
        await page.key("Tab")
        if await page.js("document.activeElement.innerText.trim()") == words:
            return
    raise AssertionError(f"Tab never came to {words}")


async def test_a_page_can_be_listened_to(tmp_path: Path) -> None:
    """It has one main part and one first heading, and what can be pressed or filled in has a name. What changes by
    itself is no live region but for a few words, said politely: a list that grows would never be silent."""
    app = shop(tmp_path)
    try:
        async with served(app) as url, browser() as chromium, app.running():
            handle = await app.atrigger("pack", {"number": 1, "customer": "Ada"})
            await handle.aresult(timeout="30s")
            page = await chromium.page(url)
            for path in ("/", "/runs", f"/runs/{handle.id}", "/tasks", "/tasks/pack/test", "/workers", "/errors"):
                await page.open(url + path)
                check_what_is_heard(path, await page.heard())
            await page.open(f"{url}/runs")
            await page.until("source?.readyState === 1")
            await page.js(
                "window.said = []; new MutationObserver(() => said.push(document.querySelector('[data-heard]')"
                ".textContent)).observe(document.querySelector('[data-heard]'), {childList: true})"
            )
            for n in range(3):
                await app.atrigger("pack", {"number": 1, "customer": "Ada"}, delay="1h")
                await page.until(f"document.querySelector('[data-new]').innerText === '{n + 1} new'")
            assert await page.js("said") == ["There are new runs"]
    finally:
        await app.aclose()


def check_what_is_heard(path: str, heard: list[Heard]) -> None:
    roles = [each.role for each in heard]
    assert roles.count("main") == 1, path
    assert "navigation" in roles, path
    assert [each.name for each in heard if each.role == "heading" and each.properties.get("level") == 1], path
    nameless = [each for each in heard if each.role in CONTROLS and not each.name.strip()]
    assert nameless == [], f"{path}: {nameless}"
    live = [
        each for each in heard if each.properties.get("live") in ("polite", "assertive") and each.role != "StaticText"
    ]
    assert all(each.properties["live"] == "polite" for each in live if each.role == "status"), path
    assert {each.role for each in live} & {"table", "row", "list", "log"} == set(), f"{path}: {live}"
