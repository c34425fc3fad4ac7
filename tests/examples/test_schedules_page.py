"""What docs/schedules.md shows works as it stands, and its table of changing clocks is right."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from holdfast import Cron, RRule, recurrence

PAGE = (Path(__file__).parents[2] / "docs" / "schedules.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
ROWS = re.findall(r"^\| `((?:Cron|RRule)\(.*?\))` \| (\S+) \| (\S+), .*? \| (.*?) \|$", PAGE, re.MULTILINE)


def test_its_code_runs() -> None:
    names: dict[str, Any] = {"__name__": "reports", "UTC": UTC, "datetime": datetime}
    exec(BLOCKS[0], names)
    with names["app"].testing():
        exec(BLOCKS[1], names)
    exec(BLOCKS[2], names)
    names["test_reminders"]()


def test_the_table_is_there() -> None:
    assert len(ROWS) == 8


@pytest.mark.parametrize(("rule", "zone", "day", "slots"), ROWS)
def test_where_clocks_change(rule: str, zone: str, day: str, slots: str) -> None:
    made = eval(rule[:-1] + f', timezone="{zone}")', {"Cron": Cron, "RRule": RRule})
    midnight = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone))
    since = int((midnight - timedelta(minutes=1)).timestamp() * 1000)
    found = recurrence.upcoming(made.rule(int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000)), since, 9)
    local = [datetime.fromtimestamp(each / 1000, ZoneInfo(zone)) for each in found]
    assert ", ".join(f"{each:%H:%M %z}" for each in local if f"{each:%Y-%m-%d}" == day) == slots
