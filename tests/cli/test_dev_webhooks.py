"""Webhooks under ``holdfast dev``: taken by the code as it is saved."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast import Holdfast
from holdfast.cli.dev.receive import Answered, Call, answer
from tests.cli.test_dev import SECONDS, Dev
from tests.cli.test_dev import dev as dev

TASKS = """
from holdfast import Holdfast, SharedSecret, Webhook

app = Holdfast()
print("imported")

@app.webhook("/shop", verify=SharedSecret("a token of ours", header="X-Token"))
def shop(hook: Webhook[dict[str, int]]) -> int:
    return hook.body["n"] + 1
"""


def post(url: str, token: str) -> tuple[int, str]:
    request = urllib.request.Request(
        url, json.dumps({"n": 1}).encode(), {"X-Token": token, "Content-Type": "application/json"}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.slow
def test_requests_become_runs_of_the_code_that_is_saved(dev: Callable[..., Dev], tmp_path: Path) -> None:
    running = dev(tasks=TASKS)
    url = running.until("Server").split()[1]
    running.until("ready")
    status, body = post(f"{url}/webhooks/shop", "a token of ours")
    assert status == 202, body
    app = Holdfast(f"{tmp_path}/holdfast.db")
    assert app.handle(json.loads(body)["run"]).result(timeout=SECONDS) == 2
    app.close()
    assert post(f"{url}/webhooks/shop", "another token")[0] == 401
    assert post(f"{url}/webhooks/new", "a token of ours")[0] == 404
    running.save(TASKS.replace("/shop", "/new"))
    assert post(f"{url}/webhooks/new", "a token of ours")[0] == 202


async def test_the_process_that_has_the_app_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop_of_dev.py").write_text(TASKS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    body = base64.b64encode(b'{"n": 1}').decode()

    async def sent(path: str, token: str) -> Answered:
        headers = [("x-token", token), ("content-type", "application/json")]
        return await answer(Call("shop_of_dev", f"{tmp_path}/holdfast.db", path, "", headers, body))

    taken = await sent("/webhooks/shop", "a token of ours")
    assert (taken.status, "run" in json.loads(base64.b64decode(taken.body))) == (202, True)
    assert (await sent("/webhooks/shop", "another token")).status == 401
    assert (await sent("/webhooks/new", "a token of ours")).status == 404
