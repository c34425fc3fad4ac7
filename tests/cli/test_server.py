"""``holdfast server`` and ``holdfast start`` in processes of their own, and ``holdfast secret``."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from holdfast.sign import read_secret
from tests.cli.conftest import Cli
from tests.support.host import reached

START = "from holdfast.cli.main import main; main()"


@contextmanager
def running(*arguments: str, **environment: str) -> Iterator[dict[str, Any]]:
    """A command that serves: the document it prints once it does, and its process."""
    process = subprocess.Popen(
        [sys.executable, "-c", START, *arguments, "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        lines = ""
        while not lines.rstrip().endswith("}"):
            line = process.stdout.readline()
            assert line, "it ended before it served"
            lines += line
        yield {**json.loads(lines), "process": process}
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(20)
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture
def received() -> list[str]:
    return []


@pytest.fixture
def receiving(received: list[str]) -> Iterator[str]:
    """An app that says yes to every request."""

    class Yes(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.path)
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Yes)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_server_answers_needs_no_app_and_ends_when_it_is_told_to(database_url: str) -> None:
    with running("server", "--database", database_url) as server:
        with httpx.Client(base_url=server["url"], timeout=30) as http:
            assert http.get("/readyz").json()["status"] == "ready"
            made = http.post("/v2/tasks", json={"request": {"url": "http://127.0.0.1:1234/"}, "delay": "1h"})
            assert made.status_code == 201
            reached(lambda: http.get("/readyz").json()["workers"] == 1)  # its pusher
        server["process"].send_signal(signal.SIGTERM)
        assert server["process"].wait(30) == 0


def test_with_a_key_whoever_has_none_is_refused(database_url: str) -> None:
    with running("server", "--host", "0.0.0.0", "--database", database_url, HOLDFAST_API_KEY="k") as server:
        url = server["url"].replace("0.0.0.0", "127.0.0.1")
        assert httpx.get(f"{url}/v2/tasks", timeout=30).status_code == 401
        assert httpx.get(f"{url}/v2/tasks", timeout=30, headers={"Authorization": "Bearer k"}).status_code == 200
        assert httpx.get(f"{url}/healthz", timeout=30).status_code == 200


def test_without_a_key_no_other_machine_is_served(bare: Cli, tmp_path: Path) -> None:
    answer = bare("server", "--host", "0.0.0.0", "--port", "0", "--database", str(tmp_path / "x.db"))
    assert answer.code == 2
    assert "HOLDFAST_API_KEY" in answer.err


def test_what_an_app_declares_is_known_and_needs_no_worker(
    database_url: str, app_of: Callable[[str], str], received: list[str], receiving: str, bare: Cli
) -> None:
    code = (
        "from holdfast import Cron, Holdfast, Queue, alerts",
        f"app = Holdfast({database_url!r})",
        "slow = Queue('slow', concurrency_limit=3)",
        f'app.http_task("tick", "{receiving}/tick", schedule=Cron("* * * * * *"), queue=slow)',
        'app.alert("ops", alerts.Failures(), to=alerts.Mail("ops@example.com"))',
        '@app.webhook("/shop", verify=lambda request: True)',
        "def ordered() -> None: ...",
    )
    app = app_of("\n".join(code))
    with running("server", app, HOLDFAST_PUSH_ALLOW="127.0.0.1/32") as server:
        known = httpx.get(f"{server['url']}/api/v1/webhooks", timeout=30).json()["data"]
        assert [(each["path"], each["task"]) for each in known] == [("/shop", "ordered")]
        reached(lambda: received.count("/tick") >= 2)
    listed = bare("alerts", "list", "--json", "--database", database_url).json["alerts"]
    assert [each["name"] for each in listed] == ["ops"]
    queues = bare("queues", "list", "--json", "--database", database_url).json["queues"]
    assert [each["concurrency_limit"] for each in queues if each["name"] == "slow"] == [3]


def test_start_is_server_and_workers_in_one(database_url: str, app_of: Callable[[str], str]) -> None:
    code = (
        "from holdfast import Holdfast",
        f"app = Holdfast({database_url!r})",
        "@app.task",
        "def greet(name: str) -> str:",
        '    return f"Hello, {name}!"',
    )
    app = app_of("\n".join(code))
    with running("start", app) as server:
        with httpx.Client(base_url=server["url"], timeout=30) as http:
            reached(lambda: http.get("/readyz").json()["workers"] == 2)
        done = subprocess.run(
            [sys.executable, "-c", START, "trigger", "greet", '"Ada"', "--wait", "--database", database_url],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.stdout == '"Hello, Ada!"\n', done.stderr


def test_the_secret_is_printed_and_replaced(bare: Cli, database_url: str) -> None:
    first = bare("secret", "--database", database_url).out.strip()
    assert len(read_secret(first)) == 32
    assert bare("secret", "--database", database_url).out.strip() == first
    second = bare("secret", "--rotate", "--database", database_url).out.strip()
    assert second != first
    told = bare("secret", "--database", database_url, "--json").json
    assert told["secrets"] == [second, first]
