"""Recurrence rules: what they may say, what is refused at once, and where they are put when the clocks change."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from dateutil.rrule import rrulestr
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from holdfast.errors import InvalidOption
from holdfast.recurrence import Rule, after, checked, upcoming
from tests.recurrence.clocks import ZONES, at, changes, changing, shown

START = at("UTC", "2026-01-05T09:30")  # a Monday
BERLIN = "Europe/Berlin"


def rule(text: str, timezone: str = "UTC", start: int = START) -> Rule:
    return Rule("rrule", text, timezone, start)


def first(text: str, n: int = 3, timezone: str = "UTC") -> list[str]:
    return [each[:11] for each in shown(timezone, upcoming(rule(text, timezone), START - 1000, n))]


# -- what a rule may say ----------------------------------------------------------------------------------------------


def test_without_dtstart_it_begins_when_it_is_made() -> None:
    assert first("FREQ=DAILY") == ["01-05 09:30", "01-06 09:30", "01-07 09:30"]
    assert first("RRULE:FREQ=WEEKLY;BYDAY=WE;BYHOUR=7;BYMINUTE=0") == ["01-07 07:00", "01-14 07:00", "01-21 07:00"]


@pytest.mark.parametrize(
    ("start", "begins"),
    [
        ("DTSTART:20260110T080000", "01-10 08:00"),
        ("DTSTART;TZID=Europe/Berlin:20260110T080000", "01-10 08:00"),
        ("DTSTART:20260110T070000Z", "01-10 08:00"),
        ("DTSTART;VALUE=DATE:20260110", "01-10 00:00"),
    ],
)
def test_dtstart_in_all_its_forms(start: str, begins: str) -> None:
    assert first(f"{start}\nRRULE:FREQ=DAILY", 1, BERLIN) == [begins]


def test_dates_are_added_and_left_out() -> None:
    text = "DTSTART:20260105T090000\nRRULE:FREQ=WEEKLY;COUNT=3\nRDATE:20260107T100000,20260101T080000"
    text += "\nEXDATE:20260112T090000"
    slots = upcoming(rule(text), at("UTC", "2025-12-01"), 9)
    assert [each[:11] for each in shown("UTC", slots)] == ["01-01 08:00", "01-05 09:00", "01-07 10:00", "01-19 09:00"]


def test_a_date_alone_leaves_out_its_whole_day() -> None:
    assert first("DTSTART:20260105T093000\nRRULE:FREQ=MINUTELY\nEXDATE;VALUE=DATE:20260105", 1) == ["01-06 00:00"]


def test_dates_may_be_all_there_is() -> None:
    assert first("RDATE:20260201T100000,20260301T100000") == ["02-01 10:00", "03-01 10:00"]


def test_long_lines_are_folded_and_case_does_not_matter() -> None:
    assert first("dtstart:20260105T090000\r\nrrule:freq=daily;\r\n byhour=7", 1) == ["01-06 07:00"]


def test_it_ends_where_it_says_so() -> None:
    assert first("FREQ=DAILY;UNTIL=20260106", 9) == ["01-05 09:30", "01-06 09:30"]
    assert first("FREQ=DAILY;UNTIL=20260106T093000Z", 9) == ["01-05 09:30", "01-06 09:30"]
    assert first("FREQ=DAILY;COUNT=2", 9) == ["01-05 09:30", "01-06 09:30"]


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "FREQ"),
        ("INTERVAL=2", "FREQ"),
        ("FREQ=FORTNIGHTLY", "FORTNIGHTLY"),
        ("FREQ=DAILY;INTERVAL=0", "INTERVAL"),
        ("FREQ=DAILY;INTERVAL=-1", "INTERVAL"),
        ("FREQ=DAILY;BYHOUR=24", "BYHOUR"),
        ("FREQ=DAILY;BYMONTHDAY=0", "BYMONTHDAY"),
        ("FREQ=DAILY;BYDAY=XX", "BYDAY"),
        ("FREQ=WEEKLY;BYDAY=2MO", "BYDAY"),
        ("FREQ=YEARLY;BYWEEKNO=20;BYDAY=1MO", "BYDAY"),
        ("FREQ=DAILY;COUNT=3;UNTIL=20270101", "COUNT and UNTIL"),
        ("FREQ=DAILY;FREQ=WEEKLY", "twice"),
        ("FREQ=DAILY;BYFOO=1", "BYFOO"),
        ("FREQ=MONTHLY;BYSETPOS=1", "BYSETPOS"),
        ("FREQ=DAILY;UNTIL=tomorrow", "UNTIL"),
        ("FREQ=DAILY;UNTIL=20261301", "UNTIL"),
        ("RRULE:FREQ=DAILY\nRRULE:FREQ=WEEKLY", "two RRULE"),
        ("EXRULE:FREQ=DAILY", "EXRULE"),
        ("DTSTART;TZID=Asia/Tokyo:20260105T090000\nRRULE:FREQ=DAILY", "another time zone"),
        ("FREQ=MINUTELY;COUNT=100000", "take too long"),
        ("RDATE:" + ",".join(["20260105T090000"] * 1001), "1000 dates"),
        ("FREQ=DAILY;" * 5000, "longer than"),
    ],
)
def test_what_is_no_rule_is_refused_with_what_is_wrong(text: str, wrong: str) -> None:
    with pytest.raises(InvalidOption, match=wrong):
        checked(rule(text), START)


@pytest.mark.parametrize(
    "text",
    [
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=MONTHLY;BYMONTH=2;BYMONTHDAY=31",
        "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=SECONDLY;BYMONTH=2;BYMONTHDAY=30;BYHOUR=3",
        "FREQ=MINUTELY;INTERVAL=60;BYMINUTE=7",
        "FREQ=SECONDLY;INTERVAL=60;BYSECOND=59",
        "FREQ=SECONDLY;INTERVAL=86397;BYHOUR=3;BYMINUTE=4;BYSECOND=5;BYDAY=MO",
        "FREQ=YEARLY;INTERVAL=100000;BYMONTH=1;BYMONTHDAY=1",
        "FREQ=DAILY;BYMONTHDAY=31;BYSETPOS=2",
        "DTSTART:20260105T090000\nRRULE:FREQ=DAILY;COUNT=1\nEXDATE:20260105T090000",
        "DTSTART:99991231T235959\nRRULE:FREQ=DAILY;BYHOUR=1",
    ],
)
def test_what_never_fires_or_takes_too_long_is_refused_at_once(text: str) -> None:
    began = time.process_time()
    with pytest.raises(InvalidOption, match=r"never fires|too long"):
        checked(rule(text), START)
    assert time.process_time() - began < 10


@pytest.mark.parametrize("text", ["FREQ=DAILY;UNTIL=20251231", "DTSTART:20200101T000000\nRRULE:FREQ=DAILY;COUNT=3"])
def test_what_never_fires_again_is_refused(text: str) -> None:
    with pytest.raises(InvalidOption, match=r"never fires"):
        checked(rule(text), START)


def test_a_rule_that_began_long_ago_costs_no_more_than_a_new_one() -> None:
    everything = ",".join(map(str, range(60)))
    texts = (
        "DTSTART:19100101T000000\nRRULE:FREQ=MINUTELY;INTERVAL=5",
        "DTSTART:19100101T000000\nRRULE:FREQ=SECONDLY;INTERVAL=7;BYHOUR=3",
        f"DTSTART:19100101T000000\nRRULE:FREQ=YEARLY;BYDAY=MO;BYMINUTE={everything};BYSECOND={everything}",
    )
    began = time.process_time()
    for text in texts:
        assert len(upcoming(rule(text), at("UTC", "2090-12-01"), 20)) == 20
    assert time.process_time() - began < 10


# -- the days on which the clocks change ------------------------------------------------------------------------------


def test_a_time_that_is_left_out_is_an_hour_later() -> None:
    """By the offset before the gap, as section 3.3.5 of the RFC says."""
    daily = rule("FREQ=DAILY;BYHOUR=2;BYMINUTE=30", BERLIN)
    spring = upcoming(daily, at(BERLIN, "2026-03-28T12:00"), 2)
    assert shown(BERLIN, spring) == ["03-29 03:30 +0200", "03-30 02:30 +0200"]
    autumn = upcoming(daily, at(BERLIN, "2026-10-24T12:00"), 2)
    assert shown(BERLIN, autumn) == ["10-25 02:30 +0200", "10-26 02:30 +0100"]


def test_what_is_moved_is_put_in_order_and_what_meets_is_one() -> None:
    text = "FREQ=DAILY;BYHOUR=2,3;BYMINUTE=0,45"
    slots = upcoming(rule(text, BERLIN), at(BERLIN, "2026-03-29T00:00"), 3)
    assert shown(BERLIN, slots) == ["03-29 03:00 +0200", "03-29 03:45 +0200", "03-30 02:00 +0200"]


def test_what_fires_in_every_hour_follows_the_clock_on_the_wall() -> None:
    hourly = rule("FREQ=HOURLY;BYMINUTE=30", BERLIN)
    assert shown(BERLIN, upcoming(hourly, at(BERLIN, "2026-10-25T02:00"), 3)) == [
        "10-25 02:30 +0200", "10-25 02:30 +0100", "10-25 03:30 +0100",
    ]  # fmt: skip
    assert shown(BERLIN, upcoming(hourly, at(BERLIN, "2026-03-29T01:00"), 2)) == [
        "03-29 01:30 +0100",
        "03-29 03:30 +0200",
    ]
    sixth = rule("DTSTART:20260101T000000\nRRULE:FREQ=HOURLY;INTERVAL=6", BERLIN)
    assert [each[:11] for each in shown(BERLIN, upcoming(sixth, at(BERLIN, "2026-03-28T20:00"), 4))] == [
        "03-29 00:00", "03-29 06:00", "03-29 12:00", "03-29 18:00",
    ]  # fmt: skip


# -- an oracle: dateutil from the beginning, and every local time placed by itself ------------------------------------

DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
LONG = ("YEARLY", "MONTHLY", "WEEKLY", "DAILY")


def numbers(least: int, most: int) -> st.SearchStrategy[str]:
    found = st.lists(st.integers(least, most).filter(bool), min_size=1, max_size=4, unique=True)
    return found.map(lambda each: ",".join(map(str, each)))


@st.composite
def rules(draw: st.DrawFn) -> str:
    freq = draw(st.sampled_from(LONG))
    parts = [f"FREQ={freq}", f"INTERVAL={draw(st.integers(1, 3))}", f"WKST={draw(st.sampled_from(DAYS))}"]
    number = st.sampled_from(["", "1", "2", "-1"]) if freq in ("MONTHLY", "YEARLY") else st.just("")
    days = st.lists(st.tuples(number, st.sampled_from(DAYS)).map("".join), min_size=1, max_size=3, unique=True)
    choices = {
        "BYMONTH": numbers(1, 12),
        "BYMONTHDAY": numbers(-31, 31),
        "BYDAY": days.map(",".join),
        "BYHOUR": st.one_of(numbers(1, 4), numbers(1, 23)),
        "BYMINUTE": numbers(1, 59),
    }
    if freq == "WEEKLY":
        del choices["BYMONTHDAY"]
    chosen = draw(st.lists(st.sampled_from(list(choices)), unique=True, max_size=3))
    return ";".join(parts + [f"{name}={draw(choices[name])}" for name in chosen])


@st.composite
def short_rules(draw: st.DrawFn) -> str:
    freq, most = draw(st.sampled_from([("HOURLY", 1), ("MINUTELY", 60), ("HOURLY", 7), ("MINUTELY", 200)]))
    parts = [f"FREQ={freq}", f"INTERVAL={draw(st.integers(1, most))}"]
    choices = {
        "BYDAY": st.just("SA,SU,MO"),
        "BYHOUR": numbers(1, 23),
        "BYMONTH": numbers(1, 12),
        "BYMONTHDAY": numbers(1, 31),
    }
    if freq == "HOURLY":
        choices["BYMINUTE"] = numbers(1, 59)
    chosen = draw(st.lists(st.sampled_from(list(choices)), unique=True, max_size=2))
    return ";".join(parts + [f"{name}={draw(choices[name])}" for name in chosen])


def by_dateutil(
    text: str, begins: datetime, since: datetime, until: datetime, zone: str, *, on_the_wall: bool
) -> list[int]:
    """The slots between two moments: all local times, each put on the time line by the arithmetic of ``datetime``."""
    named = rrulestr(text, dtstart=begins).between(
        since.replace(tzinfo=None) - timedelta(days=2), until.replace(tzinfo=None) + timedelta(days=2), inc=True
    )
    there, found = ZoneInfo(zone), set()
    for each in named:
        both = [each.replace(tzinfo=there, fold=fold).astimezone(UTC) for fold in (0, 1)]
        real = [moment for moment in both if moment.astimezone(there).replace(tzinfo=None, fold=0) == each]
        found.update(real if on_the_wall else both[:1])
    return sorted(int(each.timestamp() * 1000) for each in found if since < each < until)


def compare(
    text: str, begins: datetime, since: datetime, until: datetime, zone: str, *, on_the_wall: bool = False
) -> None:
    recurs = rule(f"DTSTART:{begins:%Y%m%dT%H%M%S}\nRRULE:{text}", zone)
    try:
        expected = by_dateutil(text, begins, since, until, zone, on_the_wall=on_the_wall)
        found, slot = [], after(recurs, int(since.timestamp() * 1000))
    except ValueError:
        assume(False)  # dateutil or we refuse a rule that cannot fire
    while slot is not None and slot < until.timestamp() * 1000:
        found.append(slot)
        slot = after(recurs, slot)
    assert found == expected, f"{recurs} from {since}"


def compare_long(text: str, zone: str, hours: int, years: int) -> None:
    begins = datetime(2025 - years, 11, 3, 1, 30) + timedelta(hours=hours)
    since = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hours)
    compare(text, begins, since, since + timedelta(days=366), zone)


def compare_short(text: str, zone: str, change: int, minutes: int) -> None:
    assume(zone not in ("Australia/Lord_Howe", "Australia/LHI"))  # half an hour that is left out is made up for
    days = changes(zone)
    since = days[change % len(days)] - timedelta(minutes=minutes)
    daily = "BYHOUR" in text or timedelta(hours=1) < timedelta(
        **{"hours" if "HOURLY" in text else "minutes": int(text.split("INTERVAL=")[1].split(";")[0])}
    )
    begins = since.replace(tzinfo=None, hour=0, minute=10, second=0) - timedelta(days=9)
    compare(text, begins, since, since + timedelta(hours=30), zone, on_the_wall=not daily)


@settings(max_examples=60, deadline=None)
@given(rules(), st.sampled_from(ZONES), st.integers(0, 5000), st.integers(0, 4))
def test_over_a_year_it_agrees_with_dateutil(text: str, zone: str, hours: int, years: int) -> None:
    compare_long(text, zone, hours, years)


@settings(max_examples=40, deadline=None)
@given(short_rules(), st.sampled_from(ZONES), st.integers(0, 3), st.integers(-120, 1500))
def test_by_the_hour_and_the_minute_where_clocks_change(text: str, zone: str, change: int, minutes: int) -> None:
    compare_short(text, zone, change, minutes)


@pytest.mark.slow
@pytest.mark.timeout(900)
@settings(max_examples=2000, deadline=None)
@given(st.data())
def test_in_all_zones_that_change_their_clocks(data: st.DataObject) -> None:
    zone = data.draw(st.sampled_from(changing()))
    if data.draw(st.booleans()):
        compare_long(data.draw(rules()), zone, data.draw(st.integers(0, 5000)), data.draw(st.integers(0, 4)))
    else:
        compare_short(data.draw(short_rules()), zone, data.draw(st.integers(0, 3)), data.draw(st.integers(-120, 1500)))
