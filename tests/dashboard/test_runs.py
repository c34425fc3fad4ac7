"""The list of runs and the page of one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import BaseModel, SecretStr

from holdfast import AsyncContext, Holdfast, Retry
from holdfast.dashboard.live import events
from holdfast.engine import catalogue, read, trigger
from holdfast.ids import new_id
from holdfast.records import NewRun
from holdfast.secret import STARS
from tests.dashboard.conftest import Served, post


class User(BaseModel):
    name: str
    pin: SecretStr
    age: int
    admin: bool = False


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Holdfast]:
    app = Holdfast(database=f"sqlite:///{tmp_path}/holdfast.db")
    app.client.open()
    yield app
    await app.aclose()


async def test_the_address_says_which_runs_are_shown(database_url: str, served: Served) -> None:
    home = Holdfast(database=database_url)
    wanted = home.trigger("send", {"to": "Ada"}, tags=["web"], delay="1h")
    other = home.trigger("pack", tags=["web"], queue="packing")
    async with served(home) as http:
        everything = (await http.get("/runs")).text
        of_task = (await http.get("/runs", params={"task": "send"})).text
        delayed = (await http.get("/runs", params={"status": "delayed", "tag": "web"})).text
        packing = (await http.get("/runs", params={"queue": "packing"})).text
    await home.aclose()
    assert wanted.id in everything
    assert other.id in everything
    assert wanted.id in of_task
    assert other.id not in of_task
    assert wanted.id in delayed
    assert other.id not in delayed
    assert other.id in packing
    assert wanted.id not in packing


def link(page: str, rel: str) -> str:
    """Where a link of the pager leads to."""
    return page.split(f'rel="{rel}"')[0].rpartition('href="')[2].partition('"')[0].replace("&amp;", "&")


async def test_a_list_goes_on_where_it_ended_and_back(home: Holdfast, served: Served) -> None:
    handles = [NewRun(id=new_id(), task="send", queue="task/send", payload="null") for _ in range(60)]
    home.client.write(trigger.trigger, handles)
    async with served(home) as http:
        first = (await http.get("/runs")).text
        second = (await http.get(link(first, "next"))).text
        back = (await http.get(link(second, "prev"))).text
    shown = [[handle.id in page for handle in handles].count(True) for page in (first, second, back)]
    assert shown == [50, 10, 50]
    assert 'rel="prev"' not in first


async def test_a_search_for_what_hardly_exists_asks_whether_to_look_further(
    home: Holdfast, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.views.lists.FAR", 200)
    """Also where some are on the page already: they are not taken for all there are."""
    wanted = home.trigger("rare")
    many = [NewRun(id=new_id(), task="send", queue="task/send", payload="null") for _ in range(400)]
    home.client.write(trigger.trigger, many)
    newest = home.trigger("rare")
    async with served(home) as http:
        first = (await http.get("/runs?task=rare")).text
        page, looks = first, 0
        while wanted.id not in page and looks < 5:
            page, looks = (await http.get(link(page, "next"))).text, looks + 1
    assert "Look further" in first
    assert "there may be more like these" in first
    assert newest.id in first
    assert wanted.id not in first
    assert wanted.id in page


@pytest.mark.parametrize(
    ("words", "address"),
    [
        ("status:failed task:send", "/runs?status=failed&task=send"),
        ('tag:"a b" since:1h', "/runs?tag=a+b&since=1h"),
        ("send", "/runs?task=send"),
        ("packing", "/runs?queue=packing"),
        ("customer:7", "/runs?tag=customer%3A7"),
        ("", "/runs"),
    ],
)
async def test_the_search_box_says_the_same_in_words(home: Holdfast, served: Served, words: str, address: str) -> None:
    @home.task(queue="packing")
    def send() -> None: ...

    home.client.write(catalogue.announce, [send.entry()], [])
    async with served(home) as http:
        answer = await http.get("/runs", params={"q": words})
    assert (answer.status_code, answer.headers["location"]) == (303, address)


async def test_what_was_mistyped_stays_in_the_search_box(home: Holdfast, served: Served) -> None:
    async with served(home) as http:
        answer = await http.get("/runs", params={"q": "stauts:failed"})
    assert (answer.status_code, "Did you mean status:?" in answer.text) == (422, True)
    assert 'name="q" value="stauts:failed"' in answer.text


async def test_the_id_of_a_run_leads_to_its_page(home: Holdfast, served: Served) -> None:
    run = home.trigger("send")
    async with served(home) as http:
        answer = await http.get("/runs", params={"q": run.id})
    assert answer.headers["location"] == f"/runs/{run.id}"


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("/runs?status=faild", "Did you mean failed?"),
        ("/runs?since=soon", "neither a duration"),
        ("/runs?q=status%3A", "A qualifier has no value"),
    ],
)
async def test_what_cannot_be_asked_is_told(home: Holdfast, served: Served, address: str, told: str) -> None:
    async with served(home) as http:
        answer = await http.get(address)
    assert answer.status_code == 422
    assert told in answer.text


async def test_a_run_shows_why_it_is_not_running_and_what_it_was_given(home: Holdfast, served: Served) -> None:
    run = home.trigger("send", {"to": "Ada", "big": 2**80}, tags=["web"])
    async with served(home) as http:
        page = (await http.get(f"/runs/{run.id}")).text
        missing = await http.get("/runs/nothing")
    assert "No worker is alive" in page
    assert "holdfast worker" in page
    assert str(2**80) in page
    assert "Timeline" in page
    assert missing.status_code == 404
    assert "There is no such run" in missing.text


async def test_pages_carry_nothing_out_that_is_written_into_them(home: Holdfast, served: Served) -> None:
    run = home.trigger("send")
    async with served(home) as http:
        for path in ("/", "/runs", f"/runs/{run.id}"):
            answer = await http.get(path)
            policy = answer.headers["content-security-policy"]
            assert "unsafe" not in policy
            assert "default-src 'none'" in policy
            assert "style=" not in answer.text
            assert "<style" not in answer.text
            assert " onclick" not in answer.text
            for part in answer.text.split("://")[1:]:
                assert not part.startswith(("cdn", "fonts", "unpkg"))


async def test_files_are_kept_for_ever_under_names_that_change_with_them(home: Holdfast, served: Served) -> None:
    async with served(home) as http:
        page = (await http.get("/runs")).text
        address = page.partition('<link rel="stylesheet" href="')[2].partition('"')[0]
        style, other = await http.get(address), await http.get("/assets/style.000000000000.css")
        plain = await http.get(address, headers={"accept-encoding": "identity"})
    assert style.status_code == 200
    assert style.headers["content-type"].startswith("text/css")
    assert "immutable" in style.headers["cache-control"]
    assert (style.headers["content-encoding"], style.text) == ("gzip", plain.text)
    assert other.status_code == 404


async def test_a_form_of_another_site_changes_nothing(home: Holdfast, served: Served) -> None:
    run = home.trigger("send", delay="1h")
    async with served(home) as http:
        await http.get("/runs")
        answer = await http.post(f"/runs/{run.id}/cancel", data={"mark": "guessed"})
    assert answer.status_code == 400
    assert home.runs.retrieve(run.id).status == "delayed"


async def test_a_run_is_canceled_from_its_page(home: Holdfast, served: Served) -> None:
    run = home.trigger("send", delay="1h")
    async with served(home) as http:
        answer = await post(http, f"/runs/{run.id}", f"/runs/{run.id}/cancel")
    assert answer.headers["location"] == f"/runs/{run.id}"
    assert home.runs.retrieve(run.id).status == "canceled"


async def test_a_payload_is_edited_field_by_field_and_replayed_with_its_secrets(home: Holdfast, served: Served) -> None:
    @home.task
    def login(user: User) -> None: ...

    home.client.write(catalogue.announce, [login.entry()], [])
    run = login.trigger(User(name="Ada", pin=SecretStr("1234567"), age=36))
    async with served(home) as http:
        page = (await http.get(f"/runs/{run.id}/replay")).text
        fields = {"edited": "1", "value.name": "Grace", "value.pin": STARS, "value.age": "37"}
        answer = await post(http, f"/runs/{run.id}/replay", f"/runs/{run.id}/replay", fields)
    assert "1234567" not in page
    made = home.runs.retrieve(answer.headers["location"].removeprefix("/runs/"))
    assert made.payload == {"name": "Grace", "pin": STARS, "age": 37, "admin": False}
    (stored,) = home.client.read(read.runs, [made.id])
    assert "1234567" in stored.payload


async def test_what_does_not_fit_is_told_beside_what_was_written(home: Holdfast, served: Served) -> None:
    @home.task
    def login(user: User) -> None: ...

    home.client.write(catalogue.announce, [login.entry()], [])
    async with served(home) as http:
        fields = {"value.name": "Grace", "value.pin": "1", "value.age": "old"}
        wrong = await post(http, "/tasks/login/test", "/tasks/login/test", fields)
        missing = await post(http, "/tasks/login/test", "/tasks/login/test", {"json": '{"name": "Grace"}'})
        broken = await post(http, "/tasks/login/test", "/tasks/login/test", {"json": "{name}"})
        made = await post(
            http, "/tasks/login/test", "/tasks/login/test", fields | {"value.age": "3", "delay": "1h", "tags": "a, b"}
        )
    assert [answer.status_code for answer in (wrong, missing, broken, made)] == [422, 422, 422, 303]
    assert wrong.text.count("age is not valid JSON") == 2, "above the form, and beside the field"
    assert "Grace" in wrong.text
    assert "pin is missing" in missing.text or "pin" in missing.text
    assert "{name}" in broken.text
    run = home.runs.retrieve(made.headers["location"].removeprefix("/runs/"))
    assert (run.status, run.tags, run.payload["age"]) == ("delayed", ["a", "b"], 3)


async def test_many_are_counted_before_they_are_canceled(database_url: str, served: Served) -> None:
    home = Holdfast(database=database_url)
    keep = home.trigger("keep", delay="1h")
    runs = [home.trigger("send", delay="1h") for _ in range(7)]
    asked = {"verb": "cancel", "all": "1", "q.task": "send"}
    async with served(home) as http:
        counted = await post(http, "/runs", "/runs/bulk", asked)
        before = home.runs.retrieve(runs[0].id).status
        done = await post(http, "/runs", "/runs/bulk/do", asked)
        again = await post(http, "/runs", "/runs/bulk", asked)
        back = await post(http, "/runs", "/runs/bulk/do", {"verb": "replay", "id": runs[0].id})
    assert "Cancel 7 runs?" in counted.text
    assert before == "delayed"
    assert {home.runs.retrieve(run.id).status for run in runs} == {"canceled"}
    assert home.runs.retrieve(keep.id).status == "delayed"
    assert "nothing to cancel" in again.text
    assert "triggered once more" in back.text
    assert done.status_code == 200
    assert len(home.runs.list(task="send")) == 8
    await home.aclose()


async def test_pages_hear_of_commits(database_url: str, served: Served) -> None:
    home = Holdfast(database=database_url)
    home.client.open()
    stream = events(lambda: home.client)
    assert "retry" in await anext(stream)
    assert "hello" in await anext(stream)
    await home.atrigger("send")  # nothing is missed of what is committed after the hello
    assert "pulse" in await anext(stream)
    await stream.aclose()
    await home.aclose()


async def test_attempts_stand_side_by_side_and_runs_below_their_parents(tmp_path: Path, served: Served) -> None:
    app = Holdfast(database=f"sqlite:///{tmp_path}/holdfast.db")
    tries: list[int] = []

    @app.task
    def leaf() -> None: ...

    @app.task
    async def branch(ctx: AsyncContext) -> None:
        await ctx.trigger_and_wait(leaf)

    @app.task(retry=Retry(max_attempts=2, min_delay="20ms", max_delay="20ms"))
    async def top(ctx: AsyncContext) -> None:
        await ctx.trigger_and_wait(branch)
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionError("the harbour is <closed>")

    async with app.running(), served(app) as http:
        run = await app.atrigger("top")
        await run.aresult(timeout="60s")
        page = (await http.get(f"/runs/{run.id}")).text
        leaf_page = (await http.get(f"/runs/{app.runs.list(task='leaf')[0].id}")).text
    await app.aclose()
    assert "Until attempt 2" in page.partition("Timeline")[2]
    beside = page.partition("Attempts side by side")[2].partition("</table>")[0]
    assert "the harbour is &lt;closed&gt;" in beside
    assert beside.count("s-completed") == 1
    assert beside.count("s-retrying") + beside.count("s-failed") == 1
    for text, here in ((page, "t-0"), (leaf_page, "t-2")):
        tree = text.partition("Family")[2].partition("</ul>")[0]
        assert [tree.count(f'class="t-{depth}"') for depth in (0, 1, 2, 3)] == [1, 1, 1, 0]
        assert f'class="{here}" aria-current="true"' in tree
