"""Copying a run for elsewhere: each text makes the same run, whatever is in it."""

from __future__ import annotations

import ast
import json
import shlex
from pathlib import Path

import httpx

from holdfast import Holdfast, views
from holdfast.dashboard.snippets import snippets
from tests.dashboard.conftest import Served

PAYLOAD = {"a": 'it\'s "x" $HOME `id`\n</script>', "n": [1, None, True]}


async def test_each_text_makes_the_same_run(tmp_path: Path, served: Served) -> None:
    home = Holdfast(database=f"sqlite:///{tmp_path}/holdfast.db")
    run = home.trigger("pa ck/é", PAYLOAD, tags=["vip", "a b"], concurrency_key="ada's")
    seen = home.client.read(views.run, run.id)
    assert seen is not None
    texts = {each.name: each.text for each in snippets(seen, "http://127.0.0.1")}
    command = shlex.split(texts["Command line"])
    assert command[:3] == ["holdfast", "trigger", "pa ck/é"]
    assert json.loads(command[3]) == PAYLOAD
    assert command[4:] == ["--tag=vip", "--tag=a b", "--concurrency-key=ada's"]
    call = ast.parse(texts["Python"], mode="eval").body
    assert isinstance(call, ast.Call)
    assert [ast.literal_eval(each) for each in call.args] == ["pa ck/é", PAYLOAD]
    assert {each.arg: ast.literal_eval(each.value) for each in call.keywords} == {
        "tags": ["vip", "a b"],
        "concurrency_key": "ada's",
    }
    curl = shlex.split(texts["curl"].replace("\\\n", ""))
    async with served(home) as http:
        made: httpx.Response = await http.post(curl[1], content=curl[-1], headers={"Content-Type": "application/json"})
    again = home.runs.retrieve(made.json()["id"].removeprefix("run_"))
    await home.aclose()
    assert (again.task, again.payload, sorted(again.tags)) == ("pa ck/é", PAYLOAD, ["a b", "vip"])
    assert again.concurrency_key == "ada's"
    imports, _, script = texts["TypeScript"].partition("\n\n")
    assert imports == 'import { tasks } from "@trigger.dev/sdk";'
    assert json.loads(f"[{script.removeprefix('await tasks.trigger(').removesuffix(');')}]") == [
        "pa ck/é",
        PAYLOAD,
        {"tags": ["vip", "a b"], "concurrencyKey": "ada's"},
    ]
