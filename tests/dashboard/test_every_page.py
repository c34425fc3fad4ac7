"""Every page there is: what a browser says about it, what axe says, and what is left of it without JavaScript."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.support.browser import CHROMIUM, WITHOUT, Page, browser
from tests.support.every_page import Shown, pages, shop

AXE: Final = "4.14.1"
BARE: Final = ("/schedules/preview",)  # a part of a page
ALL: Final = "{resultTypes: ['violations']}"
COLOURS: Final = "{resultTypes: ['violations'], runOnly: ['color-contrast']}"  # all that a theme changes
ASSETS: Final = re.compile(r'(?:href|src)="(/assets/[^"]+)"')
FORBIDDEN: Final = re.compile(
    r"<style|<script(?! src=)|\sstyle=|\son[a-z]+=|javascript:|<iframe|(src|action)=.https?:|<a [^>]*></a>"
)


@pytest.fixture
async def shown(tmp_path: Path) -> AsyncIterator[Shown]:
    async with shop(tmp_path) as made:
        yield made


async def test_every_page_reads_well_as_it_comes_from_the_server(shown: Shown) -> None:
    """It has a heading, nothing that its policy forbids, nothing that only a script would say, and with its style, its
    scripts and its icon it is less than 100 KB over the wire."""
    assert pages(shown.served) <= {route.partition(" ")[0] for route in shown.addresses}, "give it an address"
    async with httpx.AsyncClient(base_url=shown.url, follow_redirects=True) as http:
        form = (await http.get("/login")).text.partition('name="mark" value="')[2].partition('"')[0]
        await http.post("/login", data={"mark": form, "key": shown.key})
        weights: dict[str, int] = {}
        for route, address in shown.addresses.items():
            answer = await http.get(address)
            text, main = answer.text, answer.text.partition("<main")[2]
            assert answer.status_code == (404 if "unknown" in route else 200), address
            assert not (wrong := FORBIDDEN.search(text)), f"{address}: {wrong}"
            assert "…</time>" not in text, address
            if route not in BARE:
                assert main.count("<h1") == 1, address
                weight = answer.num_bytes_downloaded
                assets = set(ASSETS.findall(text))
                assert len(assets) >= 3, address
                for asset in assets:
                    if asset not in weights:
                        weights[asset] = (await http.get(asset)).num_bytes_downloaded
                    weight += weights[asset]
                assert weight < 100_000, f"{address} weighs {weight}"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(CHROMIUM is None, reason=WITHOUT)
@pytest.mark.xdist_group("browser")
async def test_a_browser_and_axe_find_nothing_wrong_with_any_page_in_either_theme(shown: Shown, axe: str) -> None:
    async with browser() as chromium:
        page = await chromium.page()
        await page.always(axe)
        await logged_in(page, shown)
        found: dict[str, str] = {}
        for dark in (False, True):
            await page.theme(dark)
            for address in whole(shown):
                await page.open(shown.url + address)
                for each in await page.js(f"axe.run({COLOURS if dark else ALL}).then(said)"):
                    found.setdefault(each, f"{address}{' dark' if dark else ''}")
        await page.size(390, 800)
        for address in whole(shown):
            await page.open(shown.url + address)
            if await page.js("document.documentElement.scrollWidth") > 390:
                found[f"{address} is wider than a phone"] = address
        missing = [each for each in page.complaints if "404" not in each]
    assert not found, "\n".join(f"{where}: {what}" for what, where in found.items())
    assert not missing, missing


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason=WITHOUT)
@pytest.mark.xdist_group("browser")
async def test_nothing_stands_on_a_page_that_does_nothing_without_a_script(shown: Shown) -> None:
    async with browser() as chromium:
        page = await chromium.page()
        await page.send("Emulation.setScriptExecutionDisabled", value=True)
        await logged_in(page, shown)
        for address in whole(shown):
            await page.open(shown.url + address)
            assert await page.js(f"{IDLE}.filter(each => each.checkVisibility()).length") == 0, address
            assert await page.js("document.querySelector('main').innerText.length > 40"), address
        assert [each for each in page.complaints if "404" not in each] == []


def whole(shown: Shown) -> list[str]:
    """The addresses of whole pages."""
    return [address for route, address in shown.addresses.items() if route not in BARE]


async def logged_in(page: Page, shown: Shown) -> None:
    await page.open(f"{shown.url}/login")
    await page.write("#key", shown.key)
    await page.click("Log in")
    await page.until("location.pathname === '/' && document.readyState === 'complete'")


IDLE: Final = "[...document.querySelectorAll('button[type=button]')]"
SAID: Final = """
function said(results) {
  return results.violations.flatMap(each => each.nodes.map(node =>
    `${each.id}: ${node.html.slice(0, 200)} ${(node.any[0] || node.all[0] || node.none[0])?.message}`));
}
"""


@pytest.fixture(scope="session")
def axe() -> str:
    """The npm package ``axe-core``, as a script, from a folder of the user's cache."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not here, and axe is a package for it")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "holdfast" / "npm"
    script = cache / f"axe-core-{AXE}" / "node_modules" / "axe-core" / "axe.min.js"
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "axe-core.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not script.exists():
            install(cache)
    return script.read_text() + SAID


def install(cache: Path) -> None:
    with tempfile.TemporaryDirectory(dir=cache) as made:
        options = ("--no-audit", "--no-fund", "--ignore-scripts", "--prefix", made)
        command = ["npm", "install", *options, f"axe-core@{AXE}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=110)
        if done.returncode != 0:
            pytest.skip(f"the npm registry does not give axe: {done.stderr[-200:]}")
        shutil.copytree(made, cache / f"axe-core-{AXE}", symlinks=True)
