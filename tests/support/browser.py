"""A headless Chromium, driven over its own DevTools protocol: no driver to install, no browser to download.

    async with browser() as chromium:
        page = await chromium.page(url)
        await page.click("text of a button")
        await page.until("document.title === 'Runs'")
        assert not page.complaints          errors on the console, breaches of the content security policy

Waiting is for conditions. Skips where there is no Chromium.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
WITHOUT = "there is no Chromium: on Debian and Ubuntu, apt install chromium"
PATIENCE = 30.0
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-background-networking",
    "--no-first-run",
    "--hide-scrollbars",
    "--mute-audio",
    "--remote-debugging-port=0",
)


class Heard(NamedTuple):
    """Something that a screen reader says: what it is, how it is called, and its properties."""

    role: str
    name: str
    properties: dict[str, Any]


def heard_of(node: dict[str, Any]) -> Heard:
    properties = {each["name"]: each["value"].get("value") for each in node.get("properties", [])}
    return Heard(node["role"]["value"], node.get("name", {}).get("value", ""), properties)


class Page:
    """A tab."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.numbers = itertools.count(1)
        self.answers: dict[int, asyncio.Future[Any]] = {}
        self.complaints: list[str] = []
        self.hearing = asyncio.create_task(self.hear())

    async def hear(self) -> None:
        async for message in self.socket:
            told = json.loads(message.data)
            waiting = self.answers.pop(told.get("id", 0), None)
            if waiting is not None and not waiting.done():
                waiting.set_result(told)
            self.note(told.get("method"), told.get("params", {}))

    def note(self, method: str | None, told: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            details = told["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.complaints.append(" ".join(str(each.get("value")) for each in told["args"]))

    async def send(self, method: str, **params: Any) -> Any:
        number = next(self.numbers)
        self.answers[number] = asyncio.get_running_loop().create_future()
        await self.socket.send_json({"id": number, "method": method, "params": params})
        answer = await asyncio.wait_for(self.answers[number], PATIENCE)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    async def start(self) -> None:
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.send(f"{domain}.enable")

    async def open(self, url: str) -> None:
        """Go there, and wait until it is there."""
        await self.js("window.leaving = true")
        await self.send("Page.navigate", url=url)
        await self.arrived()

    async def arrived(self) -> None:
        """Wait until another document is there, complete."""
        await self.until("!window.leaving && document.readyState === 'complete'")

    async def js(self, expression: str) -> Any:
        """What an expression is; a promise is awaited."""
        answer = await self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise AssertionError(details.get("exception", {}).get("description") or details["text"])
        return answer["result"].get("value")

    async def until(self, expression: str, timeout: float = PATIENCE) -> Any:
        """Wait until an expression is true; answers it. While a page changes for another there is nothing to ask."""
        deadline = asyncio.get_running_loop().time() + timeout
        problem = ""
        while asyncio.get_running_loop().time() < deadline:
            try:
                if value := await self.js(expression):
                    return value
            except AssertionError as error:
                problem = str(error)
            await asyncio.sleep(0.02)
        seen = await self.js("document.body && document.body.innerText.slice(0, 3000)")
        raise AssertionError(f"{expression} was never true. {problem}\n{seen}")

    async def click(self, text: str, among: str = "button, a, summary, label") -> None:
        """Click what says this, as a person would: where it is."""
        await self.until(f"!!({found(text, among)})")
        await self.press(found(text, among))

    async def press(self, element: str) -> None:
        """Click in the middle of an element that an expression finds."""
        await self.point(element, "mouseMoved", "mousePressed", "mouseReleased")

    async def point(self, element: str, *kinds: str) -> None:
        """What a mouse does there, part by part."""
        place = await self.js(
            f"(() => {{ const e = {element}; e.scrollIntoView({{block: 'center'}});"
            " const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2] })()"
        )
        for kind in kinds:
            button = {} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}
            await self.send("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], **button)

    async def write(self, selector: str, text: str) -> None:
        """Replace what is in a field by typing."""
        await self.until(f"!!document.querySelector({json.dumps(selector)})")
        await self.js(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.focus(); e.select?.() }})()"
        )
        await self.send("Input.insertText", text=text)

    async def key(self, key: str) -> None:
        """Press a key, wherever the focus is."""
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        code = {"Enter": 13, "Tab": 9}.get(key, 0)
        down = {"text": text} if text else {}
        await self.send("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **down)
        await self.send("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    async def heard(self) -> list[Heard]:
        """What a screen reader is told of this page, in its order."""
        nodes = (await self.send("Accessibility.getFullAXTree"))["nodes"]
        return [heard_of(node) for node in nodes if not node.get("ignored")]

    async def text(self) -> str:
        """What is to be read."""
        return str(await self.js("document.body.innerText"))

    async def size(self, width: int, height: int) -> None:
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    async def always(self, script: str) -> None:
        """Run this on each page before all others; no policy of a page stops it."""
        await self.send("Page.addScriptToEvaluateOnNewDocument", source=script)

    async def theme(self, dark: bool) -> None:
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        await self.send("Emulation.setEmulatedMedia", features=features)

    async def picture(self, file: Path, *, whole: bool = False) -> None:
        """What is to be seen, as a PNG."""
        taken = await self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        await asyncio.to_thread(file.write_bytes, base64.b64decode(taken["data"]))


class Browser:
    """Chromium, and its tabs."""

    def __init__(self, address: str, http: aiohttp.ClientSession) -> None:
        self.address, self.http = address, http
        self.pages: list[Page] = []

    async def page(self, url: str = "about:blank") -> Page:
        """A new tab, with nothing on it yet or this page."""
        async with self.http.put(f"{self.address}/json/new?about:blank") as answer:
            target = await answer.json()
        page = Page(await self.http.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0))
        self.pages.append(page)
        await page.start()
        await page.size(1280, 800)
        if url != "about:blank":
            await page.open(url)
        return page

    async def close(self) -> None:
        for page in self.pages:
            page.hearing.cancel()
            await page.socket.close()


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """Chromium with a profile of its own, which is thrown away."""
    assert CHROMIUM is not None, WITHOUT
    profile = tempfile.mkdtemp(prefix="holdfast-chromium-")
    process = await asyncio.create_subprocess_exec(
        CHROMIUM,
        *FLAGS,
        f"--user-data-dir={profile}",
        "about:blank",
        stderr=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        port = await listening(Path(profile) / "DevToolsActivePort", process)
        async with aiohttp.ClientSession() as http:
            chromium = Browser(f"http://127.0.0.1:{port}", http)
            try:
                yield chromium
            finally:
                await chromium.close()
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        shutil.rmtree(profile, ignore_errors=True)


async def listening(file: Path, process: asyncio.subprocess.Process) -> int:
    """The port it listens on, which it writes to a file when it does."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while asyncio.get_running_loop().time() < deadline:
        assert process.returncode is None, f"Chromium has ended with {process.returncode}"
        if lines := await asyncio.to_thread(lines_of, file):
            return int(lines[0])
        await asyncio.sleep(0.02)
    raise AssertionError("Chromium does not listen")


def lines_of(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def found(text: str, among: str) -> str:
    """The expression that finds the first visible element which says this."""
    return (
        f"[...document.querySelectorAll({json.dumps(among)})]"
        f".find(e => e.checkVisibility() && e.innerText.trim() === {json.dumps(text)})"
    )
