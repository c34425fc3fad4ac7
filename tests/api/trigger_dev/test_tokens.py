"""Public tokens of the official package: what an app gives to a browser, and what that may do with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from holdfast.engine import keys
from holdfast.ids import new_api_key
from tests.api.trigger_dev.conftest import Making
from tests.api.trigger_dev.test_trigger import an_app


async def test_browsers_may_do_what_their_tokens_say(tmp_path: Path, official: Making) -> None:
    app = an_app(str(tmp_path / "holdfast.db"))
    there = await official(app, mount="/jobs")
    key = new_api_key()
    await app.client.awrite(keys.create, key, "web", ["admin"], None)
    async with app.running():
        said = await there.does("tokens", key)
    what_they_may(said["operators"])
    what_they_may(said["stored"])
    assert (said["operators"]["over"], said["stored"]["over"]) == (401, 422)


def what_they_may(said: dict[str, Any]) -> None:
    mine, _ = said["ids"]
    payload, output = {"name": "Ada"}, {"hello": "Ada", "at": None, "many": "None"}
    seen = ["COMPLETED", output, payload]
    assert said["own"] == [seen, output]
    assert said["forRun"] == [seen, 403, 403, 403]
    assert said["forTag"] == [["COMPLETED", output, None], 403, [mine]]
    assert said["once"] == ["run_", 422, 403]
    assert said["often"][1]["hello"] == "Fay"
    assert said["many"] == [2, True]
    assert (said["batch"][0]["hello"], said["batch"][1]) == ("H", 1)
    assert (said["token"], said["schedules"], said["stream"]) == (403, 403, True)
