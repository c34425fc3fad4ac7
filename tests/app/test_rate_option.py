"""``Queue(rate_limit="100/m", rate_limit_per_key="10/s")``: read where it is written, kept where runs start."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import Holdfast, InvalidOption, Queue
from holdfast.engine import catalogue
from holdfast.rate import Rate, read_rate
from tests.support.inside import Inside


@pytest.mark.parametrize(
    ("written", "rate"),
    [
        ("100/m", (100, 60_000)),
        ("10/s", (10, 1_000)),
        ("1/h", (1, 3_600_000)),
        ("5/d", (5, 86_400_000)),
        ("5/30s", (5, 30_000)),
        ("5/1m30s", (5, 90_000)),
        ("7/1.5m", (7, 90_000)),
        (" 5 / 2 h ", (5, 7_200_000)),
        ("100000/s", (100_000, 1_000)),
        ("3/2w", (3, 14 * 86_400_000)),
    ],
)
def test_a_rate_is_a_number_and_a_window(written: str, rate: tuple[int, int]) -> None:
    assert read_rate(written, name="rate_limit") == Rate(*rate)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("100", r"is not a rate \('100'\). Write it like \"100/m\""),
        ("/m", "is not a rate"),
        ("a/m", "is not a rate"),
        ("1.5/m", "is not a rate"),
        ("-1/m", "is not a rate"),
        ("١/m", "is not a rate"),  # noqa: RUF001
        ("100/", "is not a rate"),
        ("100/min", "is not a rate"),
        ("100/month", "is not a rate"),
        ("100/m/h", "is not a rate"),
        ("100/-5s", "is not a rate"),
        ("100 per minute", "is not a rate"),
        ("", "is not a rate"),
        (100, "is not a rate"),
        (True, "is not a rate"),
        ((100, 60), "is not a rate"),
        ("0/m", r"is not between 1 and 100000 in a window \('0/m'\).*to stop a queue, pause it"),
        ("100001/m", "is not between 1 and 100000 in a window"),
        ("9" * 18 + "/m", "is not between 1 and 100000 in a window"),
        ("9" * 5000 + "/m", "is not a rate"),
        ("1/500ms", "has a window of less than a second"),
        ("1/0s", "has a window of less than a second"),
    ],
)
@pytest.mark.parametrize("option", ["rate_limit", "rate_limit_per_key"])
def test_what_is_no_rate_is_refused_where_it_is_written(option: str, written: Any, message: str) -> None:
    with pytest.raises(InvalidOption, match=f"{option} {message}"):
        Queue("mail", **{option: written})


def test_a_rate_is_a_keyword_and_part_of_the_value() -> None:
    assert Queue("mail", rate_limit="1/s") != Queue("mail")
    assert Queue("mail", rate_limit="1/s") == Queue("mail", rate_limit="1/s")
    with pytest.raises(TypeError):
        Queue("mail", None, None, "1/s")  # type: ignore[misc]


def test_the_entry_has_the_rates() -> None:
    entry = Queue("mail", rate_limit="100/m", rate_limit_per_key="5/30s").entry()
    assert (entry.rate, entry.rate_ms, entry.rate_per_key, entry.rate_per_key_ms) == (100, 60_000, 5, 30_000)
    entry = Queue("mail").entry()
    assert (entry.rate, entry.rate_ms, entry.rate_per_key, entry.rate_per_key_ms) == (None, None, None, None)


def test_a_trigger_enters_its_queue_with_the_rates(database_url: str) -> None:
    app = Holdfast(database_url)

    @app.task(queue=Queue("mail", rate_limit="100/m", rate_limit_per_key="5/30s"))
    def send(to: str) -> None: ...

    send.trigger("ada")
    rows = app.client.store.read_sync(lambda tx: tx.rows("queue_limits", ids=[catalogue.queue_id("mail")]))
    assert [tuple(row[3:]) for row in rows] == [(100, 60_000, 5, 30_000)]
    app.close()


async def test_runs_start_at_the_rate_and_no_faster(database_url: str) -> None:
    """Through a worker: no window of a second, wherever it begins, holds more starts than the rate says."""
    inside = Inside(database_url)

    @inside.app.task(queue=Queue("mail", rate_limit="4/s"))
    async def send(n: int) -> int:
        return n

    inside.start()
    batch = await send.abatch_trigger(range(10))
    runs = await batch.aresults(timeout="30s")
    starts = sorted(run.started_at for run in runs if run.started_at)
    for first, fifth in zip(starts, starts[4:], strict=False):
        assert (fifth - first).total_seconds() >= 1
    assert (starts[-1] - starts[0]).total_seconds() < 20
    await inside.close()
