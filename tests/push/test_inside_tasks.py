"""A request that a task makes is made once, however often the task starts again."""

from __future__ import annotations

from holdfast import AsyncContext, Context, Holdfast, PushResponse, Retry


def test_a_replayed_task_pushes_nothing_twice() -> None:
    app = Holdfast()
    began: list[str] = []

    @app.task(retry=Retry(max_attempts=3, min_delay="1s"))
    async def remind(user: str, ctx: AsyncContext) -> str:
        began.append(user)
        handle = await app.apush("https://example.invalid/", json={"user": user}, name="remind")
        await ctx.sleep("1d")
        if len(began) < 3:
            raise ConnectionError("try again")
        return handle.id

    with app.testing() as jobs:
        run = jobs.run(remind, "ada")
        jobs.advance("2d")
        done = remind.handle(run.id).retrieve()
        assert (done.status, len(began)) == ("completed", 3)
        pushed = [each for each in app.runs.list() if each.task == "http"]
        assert [each.id for each in pushed] == [done.output]
        assert pushed[0].parent_id == run.id


def test_so_it_is_in_a_def_task_and_with_an_http_task() -> None:
    app = Holdfast()
    notify = app.http_task("notify", "https://example.invalid/", str)
    began: list[int] = []

    @app.task(retry=Retry(max_attempts=3, min_delay="1s"))
    def twice(n: int, ctx: Context) -> PushResponse:
        began.append(n)
        pushed = app.push("https://example.invalid/", json=n)
        handle = notify.trigger("ada")
        if len(began) < 2:
            raise ConnectionError("try again")
        assert handle.id != pushed.id
        return ctx.trigger_and_wait(notify, "grace")

    with app.testing() as jobs:
        run = jobs.run(twice, 1)
        jobs.advance("1m")
        assert twice.handle(run.id).retrieve().status == "completed"
        assert sorted(each.task for each in app.runs.list()) == ["http", "notify", "notify", "twice"]
