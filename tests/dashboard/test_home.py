"""The page on which one sees whether anything is wrong, and the charts on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from holdfast import Holdfast
from holdfast.api.app import application
from holdfast.clock import SystemClock
from holdfast.dashboard.charts import COLUMNS, DAY, HOUR, MINUTE, RANGES, asked, ceiling, chart, window
from holdfast.dashboard.shapes import iso, moment
from holdfast.engine import catalogue
from holdfast.views.stats import Stat
from tests.dashboard.conftest import Served, post

NOON = 1_800_000_000_000 // 3_600_000 * 3_600_000


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Holdfast]:
    app = Holdfast(database=f"sqlite:///{tmp_path}/holdfast.db")
    app.client.open()
    yield app
    await app.aclose()


async def test_an_empty_database_says_how_to_begin(home: Holdfast, served: Served) -> None:
    async with served(home) as http:
        page = (await http.get("/")).text
    assert "Run the first task" in page
    assert "holdfast dev" in page


async def test_the_first_task_is_run_with_one_button(home: Holdfast, served: Served) -> None:
    @home.task
    def hello() -> None: ...

    home.client.write(catalogue.announce, [hello.entry()], [])
    async with served(home) as http:
        page = (await http.get("/")).text
        made = await post(http, "/", "/tasks/hello/test")
    assert "Run hello" in page
    assert home.runs.retrieve(made.headers["location"].removeprefix("/runs/")).task == "hello"


async def test_what_is_wrong_leads_to_where_one_mends_it(home: Holdfast, served: Served) -> None:
    home.trigger("send")
    async with served(home) as http:
        pages = [(await http.get(f"/?range={name}")).text for name in (*RANGES, "nonsense")]
    for page in pages:
        assert "No worker is alive, and runs wait" in page
        assert 'href="/workers"' in page.partition("<main")[2]
        assert "SQLite" in page


async def test_people_who_ask_for_a_page_that_there_is_not_find_home(home: Holdfast, served: Served) -> None:
    async with served(home) as http:
        page = await http.get("/<rnus>", headers={"Accept": "text/html,*/*;q=0.8"})
        program = await http.get("/rnus")
    assert (page.status_code, program.status_code) == (404, 404)
    assert "There is no such page <code>/&lt;rnus&gt;</code>" in page.text
    assert '<a href="/">Home</a>' in page.text
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert "message" in program.json() or "error" in program.json()


async def test_a_stranger_is_not_told_which_pages_there_are(home: Holdfast) -> None:
    transport = httpx.ASGITransport(app=application(lambda: home.client, key="k" * 32))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        page = await http.get("/rnus", headers={"Accept": "text/html"})
    assert page.status_code == 401
    assert 'name="to" value="/rnus"' in page.text


def test_a_chart_counts_each_run_once_in_its_column() -> None:
    hour = window("1h", NOON)
    since, until, step = hour.since, hour.until, hour.step
    assert (until - since, step) == (60 * MINUTE, MINUTE)
    found = [
        Stat(since, None, "completed", 3, 30, 0),
        Stat(since, None, "failed", 1, 10, 40),
        Stat(since + 30_000, None, "canceled", 1, 0, 0),
        Stat(until - MINUTE, None, "crashed", 2, 0, 0),
    ]
    drawn = chart(hour, found)
    first, last = drawn.columns[0], drawn.columns[-1]
    assert len(drawn.columns) == 60
    assert (first.good, first.bad, first.other, first.ran_ms, first.waited_ms) == (3, 1, 1, 8, 8)
    assert (last.good, last.bad) == (0, 2)
    assert (drawn.good, drawn.bad, drawn.failing) == (3, 3, 0.5)
    assert drawn.top == 6
    assert all(0 <= mark.share <= 1 for mark in (*drawn.times, *drawn.lines))


@pytest.mark.parametrize(
    ("back", "length", "step"),
    [
        (HOUR, 20 * MINUTE, MINUTE),
        (DAY, 3 * HOUR, 5 * MINUTE),
        (9 * DAY, 30 * MINUTE, HOUR),
        (90 * DAY, 80 * DAY, 168 * HOUR),
    ],
)
def test_a_stretch_of_a_chart_is_a_chart_of_whole_columns(back: int, length: int, step: int) -> None:
    """Of what is older than two days only full hours are known."""
    since = NOON - back
    found = asked({"since": f"{since}", "until": "x"}, "24h", NOON)
    assert found.range == "24h", "what is no time is not asked for"
    found = asked({"since": iso(since), "until": iso(since + length)}, "24h", NOON)
    assert (found.range, found.step) == ("", step)
    assert found.since <= since < since + length <= found.until
    assert found.since % step == found.until % step == 0
    assert 1 <= len(chart(found, []).columns) <= COLUMNS + 2
    assert len(chart(found, []).times) < 12
    assert found.before.until == found.since


async def test_a_problem_leads_to_the_very_thing_that_mends_it(home: Holdfast, served: Served) -> None:
    home.trigger("send", queue="a/b mail")
    home.queues.pause("a/b mail")
    async with served(home) as http:
        page = (await http.get("/")).text
    assert 'href="/queues/a%2Fb%20mail"' in page.partition('class="findings"')[2].partition("</ul>")[0]


@pytest.mark.parametrize(
    ("value", "top"), [(0, 1), (1, 1), (3, 4), (10, 10), (11, 20), (23, 30), (25, 30), (260, 300), (99_999, 100_000)]
)
def test_an_axis_ends_at_a_round_number(value: int, top: int) -> None:
    assert ceiling(value) == top


@pytest.mark.parametrize(("past", "said"), [(0, "0s"), (200_000, "3m"), (90_000_000, "1d")])
def test_how_long_ago_is_said_without_a_script(past: int, said: str) -> None:
    assert f">{said}</time>" in moment(SystemClock().now() - past, "since")
