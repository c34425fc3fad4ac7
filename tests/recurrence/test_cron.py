"""Cron expressions: what they may say, and which minutes they mean, also where the clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast import recurrence
from holdfast.errors import InvalidOption
from holdfast.recurrence import Rule, after, checked, first, has_hash, latest, upcoming
from tests.recurrence.clocks import HOUR, YEAR, ZONES, at, changes, changing, minutes, shown

NOON = at("UTC", "2026-03-02T12:00")  # a Monday


def cron(text: str, timezone: str = "UTC") -> Rule:
    return Rule("cron", text, timezone)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("@daily", "03-03 00:00"),
        ("@midnight", "03-03 00:00"),
        ("@hourly", "03-02 13:00"),
        ("@weekly", "03-08 00:00"),
        ("@monthly", "04-01 00:00"),
        ("@yearly", "01-01 00:00"),
        ("@annually", "01-01 00:00"),
        ("*/15 * * * *", "03-02 12:15"),
        ("30 9 * * MON-FRI", "03-03 09:30"),
        ("30 9 * * 7", "03-08 09:30"),
        ("30 9 * * 0", "03-08 09:30"),
        ("0 0 L * *", "03-31 00:00"),
        ("0 0 LW * *", "03-31 00:00"),
        ("0 0 * * 5L", "03-27 00:00"),
        ("0 0 * * MON#2", "03-09 00:00"),
        ("0 0 1 jan,JUL *", "07-01 00:00"),
        ("0 12 29 2 *", "02-29 12:00"),
        ("0 0 13 * FRI", "03-06 00:00"),  # either will do
    ],
)
def test_an_expression_means_what_it_does_elsewhere(text: str, wanted: str) -> None:
    slot = after(cron(text), NOON)
    assert slot is not None
    assert shown("UTC", [slot])[0].startswith(wanted)


def test_the_first_of_six_fields_is_seconds() -> None:
    assert after(cron("*/20 * * * * *"), NOON) == NOON + 20_000
    assert after(cron("5 0 12 * * *"), NOON) == NOON + 5_000


def test_a_slot_is_after_the_moment_and_never_at_it() -> None:
    assert after(cron("0 12 * * *"), NOON) == NOON + 86_400_000
    assert after(cron("0 12 * * *"), NOON - 1) == NOON


@pytest.mark.parametrize(
    "text",
    ["", "* * * *", "* * * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "@reboot",
     "*/0 * * * *", "5-1 * * * *", "a b c d e", "\uff10 0 * * *", "0 0 * * FRI-MON", "0 0 ? * *", "0 0 L-3 * *",
     "*" * 600],
)  # fmt: skip
def test_what_is_no_expression_is_refused_with_what_is_wrong(text: str) -> None:
    with pytest.raises(InvalidOption, match=r"cron expression|alias"):
        checked(cron(text), NOON)


HASHES = st.sampled_from(["H", "h", "H(3-9)", "H/7", "H(2-11)/4", "0,H"])


@given(fields=st.tuples(HASHES, HASHES), seed=st.text(max_size=20), day=st.integers(0, 364))
@settings(max_examples=60)
def test_what_h_stands_for_is_always_the_same_for_one_seed(fields: tuple[str, ...], seed: str, day: int) -> None:
    rule = cron(" ".join((*fields, "*", "*", "*")))._replace(seed=seed)

    def of_day(begin: int) -> list[int]:
        for cache in (recurrence.expansion, recurrence.after):  # as in another process
            cache.cache_clear()
        return [slot - begin for slot in upcoming(rule, begin - 1, 100) if slot < begin + 86_400_000]

    midnight = NOON - 43_200_000
    assert of_day(midnight) == of_day(midnight + day * 86_400_000) != []


def test_h_differs_between_schedules_and_stays_in_its_range() -> None:
    minutes = [after(cron("H(10-29) * * * *")._replace(seed=str(n)), NOON) for n in range(400)]
    found = {datetime.fromtimestamp((each or 0) / 1000, UTC).minute for each in minutes}
    assert found == set(range(10, 30))
    every = upcoming(cron("H/15 * * * *")._replace(seed="a"), NOON, 8)
    assert {later - earlier for earlier, later in pairwise(every)} == {15 * 60_000}
    days = {shown("UTC", upcoming(cron("0 0 H 2 *")._replace(seed=str(n)), NOON, 1))[0][:5] for n in range(400)}
    assert days == {f"02-{day:02}" for day in range(1, 29)}


@pytest.mark.parametrize(
    "text",
    [
        "H(9-3) * * * *",
        "H(50-60) * * * *",
        "0 0 H(1-31) * *",
        "H/0 * * * *",
        "H(0-99) * * * *",
        "H() * * * *",
        "HH * * * *",
        "H-3 * * * *",
    ],
)
def test_an_h_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(InvalidOption, match="cron expression"):
        checked(cron(text), NOON)


def test_names_with_an_h_in_them_are_no_hash() -> None:
    assert after(cron("0 0 * MAR THU"), NOON) == after(cron("0 0 * 3 4")._replace(seed="x"), NOON)
    assert not has_hash(cron("0 0 * MARCH THU"))
    assert has_hash(cron("0 0 * * FRI,H"))


@pytest.mark.parametrize("text", ["0 0 30 2 *", "0 0 31 4,6,9,11 *"])
def test_one_that_never_fires_is_refused(text: str) -> None:
    with pytest.raises(InvalidOption):
        checked(cron(text), NOON)


def test_an_unknown_time_zone_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(InvalidOption, match="Europe/Berlin"):
        checked(cron("@daily", "europe/berln"), NOON)


# -- the days on which the clocks change ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "since", "slots"),
    [
        ("Europe/Berlin", "2026-03-28T12:00", ["03-29 03:00 +0200", "03-30 02:30 +0200"]),
        ("Europe/Berlin", "2026-10-24T12:00", ["10-25 02:30 +0200", "10-26 02:30 +0100"]),
        ("America/New_York", "2026-03-07T12:00", ["03-08 03:00 -0400", "03-09 02:30 -0400"]),
        ("America/New_York", "2026-10-31T12:00", ["11-01 02:30 -0500", "11-02 02:30 -0500"]),
    ],
)
def test_a_time_of_day_comes_once_on_each_day(zone: str, since: str, slots: list[str]) -> None:
    assert shown(zone, upcoming(cron("30 2 * * *", zone), at(zone, since), 2)) == slots


def test_half_an_hour_is_a_change_as_well() -> None:
    zone = "Australia/Lord_Howe"
    spring = upcoming(cron("15 2 * * *", zone), at(zone, "2026-10-03T12:00"), 2)
    assert shown(zone, spring) == ["10-04 02:30 +1100", "10-05 02:15 +1100"]
    autumn = upcoming(cron("45 1 * * *", zone), at(zone, "2026-04-04T12:00"), 2)
    assert shown(zone, autumn) == ["04-05 01:45 +1100", "04-06 01:45 +1030"]
    hourly = upcoming(cron("15 * * * *", zone), at(zone, "2026-10-04T01:00"), 3)
    assert shown(zone, hourly) == ["10-04 01:15 +1030", "10-04 02:30 +1100", "10-04 03:15 +1100"]


def test_what_fires_in_every_hour_does_so_in_the_hour_that_comes_twice() -> None:
    slots = upcoming(cron("30 * * * *", "Europe/Berlin"), at("Europe/Berlin", "2026-10-25T01:00"), 4)
    assert shown("Europe/Berlin", slots) == [
        "10-25 01:30 +0200", "10-25 02:30 +0200", "10-25 02:30 +0100", "10-25 03:30 +0100",
    ]  # fmt: skip
    slots = upcoming(cron("30 * * * *", "Europe/Berlin"), at("Europe/Berlin", "2026-03-29T01:00"), 2)
    assert shown("Europe/Berlin", slots) == ["03-29 01:30 +0100", "03-29 03:30 +0200"]


def test_from_within_the_hour_that_comes_twice() -> None:
    zone = "Europe/Berlin"
    first, second = at(zone, "2026-10-25T02:50"), at(zone, "2026-10-25T02:50", fold=1)
    assert shown(zone, upcoming(cron("55 * * * *", zone), first, 2)) == ["10-25 02:55 +0200", "10-25 02:55 +0100"]
    assert shown(zone, upcoming(cron("40 * * * *", zone), first, 1)) == ["10-25 02:40 +0100"]
    assert shown(zone, upcoming(cron("55 2 * * *", zone), second, 1)) == ["10-26 02:55 +0100"]


# -- an oracle: every minute, and what the clock on the wall shows ----------------------------------------------------

Fields = tuple[frozenset[int], frozenset[int], frozenset[int], frozenset[int]]
ALL_HOURS = frozenset(range(24))


def written(fields: Fields) -> str:
    """As an expression. Weekdays only where the days are all: else either of them would do."""
    ranges = (range(60), ALL_HOURS, range(1, 32), range(7))
    texts = ["*" if len(field) == len(whole) else ",".join(map(str, sorted(field)))
             for field, whole in zip(fields, ranges, strict=True)]  # fmt: skip
    return f"{texts[0]} {texts[1]} {texts[2]} * {texts[3]}"


def names(fields: Fields, shows: datetime) -> bool:
    return (
        shows.minute in fields[0]
        and shows.hour in fields[1]
        and shows.day in fields[2]
        and shows.isoweekday() % 7 in fields[3]
    )


def by_looking(fields: Fields, since: datetime, until: datetime, zone: str) -> list[int]:
    """The slots between two moments, by looking at the clock in every minute."""
    walked = minutes(since - 3 * HOUR, until, zone)
    seen, found = set(), set()
    before = walked[0][1] - timedelta(minutes=1)
    for moment, shows in walked:
        skipped = (shows - before) // timedelta(minutes=1) - 1
        if skipped > 0 and (fields[1] != ALL_HOURS or skipped < 60):
            left_out = (before + timedelta(minutes=n) for n in range(1, skipped + 1))
            if any(names(fields, each) for each in left_out):
                found.add(moment)
        if names(fields, shows) and (fields[1] == ALL_HOURS or shows not in seen):
            found.add(moment)
        seen.add(shows)
        before = shows
    return sorted(int(each.timestamp() * 1000) for each in found if each > since)


def compare(fields: Fields, since: datetime, until: datetime, zone: str) -> None:
    rule = cron(written(fields), zone)
    slots = upcoming(rule, int(since.timestamp() * 1000), 0)
    slot = after(rule, int(since.timestamp() * 1000))
    while slot is not None and slot < until.timestamp() * 1000:
        slots.append(slot)
        slot = after(rule, slot)
    assert slots == by_looking(fields, since, until, zone), f"{rule} from {since}"


def subset(whole: range) -> st.SearchStrategy[frozenset[int]]:
    few = st.frozensets(st.sampled_from(whole), min_size=1, max_size=4)
    return st.one_of(few, st.just(frozenset(whole)), st.integers(2, 7).map(lambda n: frozenset(whole[::n])))


ANY_FIELDS = st.one_of(
    st.tuples(subset(range(60)), subset(range(24)), subset(range(1, 32)), st.just(frozenset(range(7)))),
    st.tuples(subset(range(60)), subset(range(4)), st.just(frozenset(range(1, 32))), subset(range(7))),
)


def compare_around(fields: Fields, zone: str, change: int, before: int) -> None:
    days = changes(zone)
    since = days[change % len(days)] - before * timedelta(minutes=7)
    compare(fields, since, since + timedelta(hours=30), zone)


@settings(max_examples=40, deadline=None)
@given(ANY_FIELDS, st.sampled_from(ZONES), st.integers(0, 3), st.integers(-20, 200))
def test_where_clocks_change_it_agrees_with_a_look_at_every_minute(
    fields: Fields, zone: str, change: int, before: int
) -> None:
    compare_around(fields, zone, change, before)


@pytest.mark.slow
@pytest.mark.timeout(900)
@settings(max_examples=1500, deadline=None)
@given(st.data())
def test_in_all_zones_that_change_their_clocks(data: st.DataObject) -> None:
    zone = data.draw(st.sampled_from(changing()))
    compare_around(data.draw(ANY_FIELDS), zone, data.draw(st.integers(0, 3)), data.draw(st.integers(-20, 200)))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("text", ["30 2 * * *", "15 0,1,3 * * *", "45 * * * *"])
def test_a_whole_year_of_every_zone_that_changes_its_clocks(text: str) -> None:
    minute, hour = text.split()[:2]
    hours = ALL_HOURS if hour == "*" else frozenset(map(int, hour.split(",")))
    fields = (frozenset([int(minute)]), hours, frozenset(range(1, 32)), frozenset(range(7)))
    for zone in changing():
        rule, end = cron(text, zone), int((YEAR + timedelta(days=365)).timestamp() * 1000)
        slots, slot = [], after(rule, int(YEAR.timestamp() * 1000))
        while slot is not None and slot < end:
            slots.append(slot)
            slot = after(rule, slot)
        expected = {s for s in slots if not any(abs(s / 1000 - c.timestamp()) < 99_960 for c in changes(zone))}
        for change in changes(zone):
            since = change - timedelta(seconds=99_960)
            expected |= set(by_looking(fields, since, change + timedelta(seconds=99_960), zone))
        assert slots == sorted(expected), zone
        days = {datetime.fromtimestamp(s / 1000, ZoneInfo(zone)).date() for s in slots}
        assert len(days) >= 364, zone  # no day is left out


def test_the_oracle_itself_sees_a_gap_and_a_fold() -> None:
    fields = (frozenset([30]), frozenset([2]), frozenset(range(1, 32)), frozenset(range(7)))
    spring, autumn = changes("Europe/Berlin")
    assert by_looking(fields, spring - HOUR, spring + HOUR, "Europe/Berlin") == [int(spring.timestamp() * 1000)]
    assert len(by_looking(fields, autumn - 3 * HOUR, autumn + 3 * HOUR, "Europe/Berlin")) == 1
    assert spring == datetime(2026, 3, 29, 1, tzinfo=UTC)


# -- looking back -----------------------------------------------------------------------------------------------------


def test_the_last_slots_before_a_moment() -> None:
    hourly = cron("0 * * * *")
    assert shown("UTC", latest(hourly, NOON - 5 * 3_600_000, NOON + 60_000, 2)) == [
        "03-02 11:00 +0000",
        "03-02 12:00 +0000",
    ]
    assert len(latest(hourly, NOON - 5 * 3_600_000, NOON, 100)) == 6
    assert latest(cron("0 0 1 1 *"), at("UTC", "2000-01-01"), NOON, 1) == [at("UTC", "2026-01-01")]
    assert latest(hourly, NOON + 1, NOON + 2, 5) == []


def test_where_a_schedule_that_is_made_now_begins() -> None:
    assert first(cron("0 12 * * *"), NOON) == NOON
    assert first(cron("0 12 * * *"), NOON + 1) == NOON + 86_400_000
    assert first(Rule("rrule", "FREQ=DAILY", "UTC", NOON + 400), NOON + 400) == NOON
