"""Streams that are written from outside of their run, as the official package writes them."""

from __future__ import annotations

from holdfast import AsyncContext, Holdfast, codec
from holdfast.engine import audit
from tests.api.trigger_dev.conftest import Making


async def test_a_run_is_answered_by_way_of_a_stream(database_url: str, official: Making) -> None:
    app = Holdfast(database_url)

    @app.task
    async def asks(ctx: AsyncContext) -> list[object]:
        ctx.stream("own").write("question")
        heard: list[object] = []
        async for _, piece in app.client.achunks(ctx.run.id, "answers", 0):
            heard.append(codec.decode(piece.value))
            if heard[-1] == "end":
                break
        return heard

    there = await official(app)
    async with app.running():
        said = await there.does("writing")
    everything = [{"n": 1}, "two", [3], None, "plain text", "a", "b", "c", "end"]
    assert said["parts"] == everything
    assert said["added"] == {"ok": True}
    assert (said["statuses"], said["far"]) == ([200, 200], ["2", "-1"])
    refused = said["refused"]
    assert (refused["own"], refused["unknown"]["status"], refused["parent"], refused["large"]) == (422, 404, 404, 413)
    assert (said["late"]["kind"], said["late"]["status"]) == ("BadRequestError", 400)
    (run,) = await app.runs.alist()
    assert (await app.runs.aretrieve(run.id)).output == everything
    assert "PUT" not in str(await app.client.aread(audit.page)), "pieces are no changes"
