"""HTTP tasks in ``app.testing()``: nothing leaves the test."""

from __future__ import annotations

from pydantic import BaseModel

from holdfast import AsyncContext, Holdfast, PushResponse


class User(BaseModel):
    id: int


def test_requests_are_made_and_answered_but_not_sent() -> None:
    app = Holdfast()
    notify = app.http_task("notify", "https://no-such-name.invalid/", User)
    with app.testing() as jobs:
        handle = notify.trigger(User(id=1), delay="1h")
        pushed = app.push("https://no-such-name.invalid/", json={"n": 1})
        jobs.advance("1h")
        assert handle.result() == PushResponse(200)
        assert pushed.result() == PushResponse(200)
        assert jobs.payloads(notify) == [User(id=1)]


def test_a_test_says_what_the_app_would_answer() -> None:
    app = Holdfast()
    notify = app.http_task("notify", "https://no-such-name.invalid/", User)
    with app.testing() as jobs:
        jobs.replace(notify, PushResponse(201, body='{"ok": true}'))
        assert notify.trigger(User(id=1)).result().json() == {"ok": True}
        jobs.replace(notify, ConnectionError("nobody there"))
        run = jobs.run(notify, User(id=2))
        assert run.status == "delayed"
        jobs.advance("2d")
        assert jobs.run(notify, User(id=2)) is not None
        assert notify.handle(run.id).retrieve().status == "failed"
        assert notify.handle(run.id).retrieve().attempts == 8


def test_a_task_can_wait_for_a_request() -> None:
    app = Holdfast()
    notify = app.http_task("notify", "https://no-such-name.invalid/", User)

    @app.task
    async def onboard(user: User, ctx: AsyncContext) -> int:
        return (await ctx.trigger_and_wait(notify, user)).status

    with app.testing() as jobs:
        jobs.replace(notify, PushResponse(201))
        assert jobs.run(onboard, User(id=1)).output == 201
