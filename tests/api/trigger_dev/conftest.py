"""``official``: the npm package ``@trigger.dev/sdk`` as it is published, under Node, against an app on a socket.

The package is installed once into a folder of the user's cache and used from there ever after. A test runs one process
of Node with a scenario (a ``.cjs`` file beside it), which prints what came of each call as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any, Final, Protocol

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from holdfast import Holdfast
from holdfast.api.app import application
from holdfast.cli.dev.serve import Server, listen, url_of

HERE: Final = Path(__file__).parent
VERSION: Final = "4.8.3"  # what the wire was studied with; raised on purpose
KEY: Final = "tr_dev_0123456789abcdef"


@pytest.fixture(scope="session")
def package() -> Path:
    """A folder with the package in it, from the npm registry."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node is not here, and the official client of Trigger.dev is a package for it")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "holdfast" / "npm"
    folder = cache / f"trigger.dev-sdk-{VERSION}"
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / f"{folder.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            install(cache, folder)
    return folder


def install(cache: Path, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=cache) as made:
        options = ("--no-audit", "--no-fund", "--ignore-scripts", "--prefix", made)
        command = ["npm", "install", *options, f"@trigger.dev/sdk@{VERSION}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=110)
        if done.returncode != 0:
            pytest.skip(f"the npm registry does not give the official client of Trigger.dev: {done.stderr[-200:]}")
        shutil.copytree(made, folder, symlinks=True)


class Official:
    """An app, its API on a socket, and the official client."""

    def __init__(self, app: Holdfast, package: Path, mount: str) -> None:
        self.app, self.package, self.mount = app, package, mount
        self.serve(0)

    def serve(self, port: int) -> None:
        listening = listen("127.0.0.1", port)
        self.url, self.port = url_of(listening), listening.getsockname()[1]
        served: Any = application(lambda: self.app.client, key=KEY)
        if self.mount:
            self.url, served = self.url + self.mount, Starlette(routes=[Mount(self.mount, served)])
        self.server = Server(lambda: served, listening)

    async def does(self, scenario: str, *arguments: str, timeout: float = 100) -> Any:
        """What a scenario prints."""
        said = {"TRIGGER_API_URL": self.url, "TRIGGER_SECRET_KEY": KEY, "NODE_PATH": f"{self.package}/node_modules"}
        process = await asyncio.create_subprocess_exec(
            *("node", str(HERE / f"{scenario}.cjs"), *arguments),
            env=os.environ | said,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            out, err = await asyncio.wait_for(process.communicate(), timeout)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            raise
        assert process.returncode == 0, err.decode()
        return json.loads(out)

    async def stop(self) -> None:
        """The server goes away; ``serve(port)`` brings another one, which knows nothing of what this one was asked."""
        await asyncio.to_thread(self.server.stop)

    async def close(self) -> None:
        await self.stop()
        await self.app.aclose()


class Making(Protocol):
    """Serves an app, perhaps below a path of another one, for the official client."""

    def __call__(self, app: Holdfast, mount: str = "") -> Awaitable[Official]: ...


@pytest.fixture
async def official(package: Path) -> AsyncIterator[Making]:
    """Makes an `Official` of an app; ``mount`` is the path of another web app at which its API is."""
    made: list[Official] = []

    async def make(app: Holdfast, mount: str = "") -> Official:
        made.append(Official(app, package, mount))
        return made[-1]

    yield make
    for each in made:
        await each.close()
