"""The examples of RFC 5545, section 3.8.5.3, with the times it gives for them. All are in New York, at nine o'clock."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from holdfast.recurrence import Rule, upcoming
from tests.recurrence.clocks import at

NEW_YORK = "America/New_York"
CHRISTMAS = "19971224T000000Z"


def days(text: str) -> list[str]:
    """``1997 9: 2 4 6, 10: 1`` as dates."""
    found, year = [], 0
    for part in text.split(","):
        head, _, listed = part.strip().rpartition(":")
        *years, month = head.split()
        year = int(years[0]) if years else year
        found += [f"{year}-{int(month):02}-{int(day):02}" for day in listed.split()]
    return found


def every(first: str, last: str, step: int = 1) -> list[str]:
    day, found = datetime.fromisoformat(first), []
    while day <= datetime.fromisoformat(last):
        found.append(day.date().isoformat())
        day += timedelta(days=step)
    return found


# The rule, DTSTART where it is not 19970902T090000, the dates, and whether they are all there are.
EXAMPLES = [
    ("FREQ=DAILY;COUNT=10", "", days("1997 9: 2 3 4 5 6 7 8 9 10 11"), True),
    (f"FREQ=DAILY;UNTIL={CHRISTMAS}", "", every("1997-09-02", "1997-12-23"), True),
    ("FREQ=DAILY;INTERVAL=2", "", every("1997-09-02", "1997-12-03", 2), False),
    ("FREQ=DAILY;INTERVAL=10;COUNT=5", "", days("1997 9: 2 12 22, 10: 2 12"), True),
    ("FREQ=YEARLY;UNTIL=20000131T140000Z;BYMONTH=1;BYDAY=SU,MO,TU,WE,TH,FR,SA", "19980101T090000",
     every("1998-01-01", "1998-01-31") + every("1999-01-01", "1999-01-31") + every("2000-01-01", "2000-01-31"), True),
    ("FREQ=DAILY;UNTIL=20000131T140000Z;BYMONTH=1", "19980101T090000",
     every("1998-01-01", "1998-01-31") + every("1999-01-01", "1999-01-31") + every("2000-01-01", "2000-01-31"), True),
    ("FREQ=WEEKLY;COUNT=10", "", every("1997-09-02", "1997-11-04", 7), True),
    (f"FREQ=WEEKLY;UNTIL={CHRISTMAS}", "", every("1997-09-02", "1997-12-23", 7), True),
    ("FREQ=WEEKLY;INTERVAL=2;WKST=SU", "",
     days("1997 9: 2 16 30, 10: 14 28, 11: 11 25, 12: 9 23, 1998 1: 6 20, 2: 3 17"), False),
    ("FREQ=WEEKLY;UNTIL=19971007T000000Z;WKST=SU;BYDAY=TU,TH", "",
     days("1997 9: 2 4 9 11 16 18 23 25 30, 10: 2"), True),
    ("FREQ=WEEKLY;COUNT=10;WKST=SU;BYDAY=TU,TH", "",
     days("1997 9: 2 4 9 11 16 18 23 25 30, 10: 2"), True),
    (f"FREQ=WEEKLY;INTERVAL=2;UNTIL={CHRISTMAS};WKST=SU;BYDAY=MO,WE,FR", "19970901T090000",
     days("1997 9: 1 3 5 15 17 19 29, 10: 1 3 13 15 17 27 29 31, 11: 10 12 14 24 26 28, 12: 8 10 12 22"), True),
    ("FREQ=WEEKLY;INTERVAL=2;COUNT=8;WKST=SU;BYDAY=TU,TH", "", days("1997 9: 2 4 16 18 30, 10: 2 14 16"), True),
    ("FREQ=MONTHLY;COUNT=10;BYDAY=1FR", "19970905T090000",
     days("1997 9: 5, 10: 3, 11: 7, 12: 5, 1998 1: 2, 2: 6, 3: 6, 4: 3, 5: 1, 6: 5"), True),
    (f"FREQ=MONTHLY;UNTIL={CHRISTMAS};BYDAY=1FR", "19970905T090000", days("1997 9: 5, 10: 3, 11: 7, 12: 5"), True),
    ("FREQ=MONTHLY;INTERVAL=2;COUNT=10;BYDAY=1SU,-1SU", "19970907T090000",
     days("1997 9: 7 28, 11: 2 30, 1998 1: 4 25, 3: 1 29, 5: 3 31"), True),
    ("FREQ=MONTHLY;COUNT=6;BYDAY=-2MO", "19970922T090000",
     days("1997 9: 22, 10: 20, 11: 17, 12: 22, 1998 1: 19, 2: 16"), True),
    ("FREQ=MONTHLY;BYMONTHDAY=-3", "19970928T090000",
     days("1997 9: 28, 10: 29, 11: 28, 12: 29, 1998 1: 29, 2: 26"), False),
    ("FREQ=MONTHLY;COUNT=10;BYMONTHDAY=2,15", "",
     days("1997 9: 2 15, 10: 2 15, 11: 2 15, 12: 2 15, 1998 1: 2 15"), True),
    ("FREQ=MONTHLY;COUNT=10;BYMONTHDAY=1,-1", "19970930T090000",
     days("1997 9: 30, 10: 1 31, 11: 1 30, 12: 1 31, 1998 1: 1 31, 2: 1"), True),
    ("FREQ=MONTHLY;INTERVAL=18;COUNT=10;BYMONTHDAY=10,11,12,13,14,15", "19970910T090000",
     days("1997 9: 10 11 12 13 14 15, 1999 3: 10 11 12 13"), True),
    ("FREQ=MONTHLY;INTERVAL=2;BYDAY=TU", "",
     days("1997 9: 2 9 16 23 30, 11: 4 11 18 25, 1998 1: 6 13 20 27, 3: 3 10 17 24 31"), False),
    ("FREQ=YEARLY;COUNT=10;BYMONTH=6,7", "19970610T090000",
     days("1997 6: 10, 7: 10, 1998 6: 10, 7: 10, 1999 6: 10, 7: 10, 2000 6: 10, 7: 10, 2001 6: 10, 7: 10"), True),
    ("FREQ=YEARLY;INTERVAL=2;COUNT=10;BYMONTH=1,2,3", "19970310T090000",
     days("1997 3: 10, 1999 1: 10, 2: 10, 3: 10, 2001 1: 10, 2: 10, 3: 10, 2003 1: 10, 2: 10, 3: 10"), True),
    ("FREQ=YEARLY;INTERVAL=3;COUNT=10;BYYEARDAY=1,100,200", "19970101T090000",
     days("1997 1: 1, 4: 10, 7: 19, 2000 1: 1, 4: 9, 7: 18, 2003 1: 1, 4: 10, 7: 19, 2006 1: 1"), True),
    ("FREQ=YEARLY;BYDAY=20MO", "19970519T090000", days("1997 5: 19, 1998 5: 18, 1999 5: 17"), False),
    ("FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO", "19970512T090000", days("1997 5: 12, 1998 5: 11, 1999 5: 17"), False),
    ("FREQ=YEARLY;BYMONTH=3;BYDAY=TH", "19970313T090000",
     days("1997 3: 13 20 27, 1998 3: 5 12 19 26, 1999 3: 4 11 18 25"), False),
    ("FREQ=YEARLY;BYDAY=TH;BYMONTH=6,7,8", "19970605T090000",
     every("1997-06-05", "1997-08-28", 7) + every("1998-06-04", "1998-08-27", 7)
     + every("1999-06-03", "1999-08-26", 7), False),
    ("FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13", "", days("1998 2: 13, 3: 13, 11: 13, 1999 8: 13, 2000 10: 13"), False),
    ("FREQ=MONTHLY;BYDAY=SA;BYMONTHDAY=7,8,9,10,11,12,13", "19970913T090000",
     days("1997 9: 13, 10: 11, 11: 8, 12: 13, 1998 1: 10, 2: 7, 3: 7, 4: 11, 5: 9, 6: 13"), False),
    ("FREQ=YEARLY;INTERVAL=4;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8", "19961105T090000",
     days("1996 11: 5, 2000 11: 7, 2004 11: 2"), False),
    ("FREQ=MONTHLY;COUNT=3;BYDAY=TU,WE,TH;BYSETPOS=3", "19970904T090000", days("1997 9: 4, 10: 7, 11: 6"), True),
    ("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2", "19970929T090000",
     days("1997 9: 29, 10: 30, 11: 27, 12: 30, 1998 1: 29, 2: 26, 3: 30"), False),
    ("FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=MO", "19970805T090000", days("1997 8: 5 10 19 24"), True),
    ("FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=SU", "19970805T090000", days("1997 8: 5 17 19 31"), True),
    ("FREQ=MONTHLY;BYMONTHDAY=15,30;COUNT=5", "20070115T090000", days("2007 1: 15 30, 2: 15, 3: 15 30"), True),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "start", "dates", "all_of_them"), EXAMPLES, ids=[rule for rule, *_ in EXAMPLES])
def test_days(rule: str, start: str, dates: list[str], all_of_them: bool) -> None:
    found = expanded(f"DTSTART;TZID={NEW_YORK}:{start or '19970902T090000'}\nRRULE:{rule}", len(dates) + 1)
    wanted = [f"{date}T09:00" for date in dates]
    assert found[: len(dates)] == wanted
    assert (len(found) == len(dates)) is all_of_them


# Times of 1997-09-02, and on.
# The first one ends at 17:00 UTC in the RFC, which is an hour too early for its own times.
TIMES = [
    ("FREQ=HOURLY;INTERVAL=3;UNTIL=19970902T210000Z", ["09:00", "12:00", "15:00"], True),
    ("FREQ=MINUTELY;INTERVAL=15;COUNT=6", ["09:00", "09:15", "09:30", "09:45", "10:00", "10:15"], True),
    ("FREQ=MINUTELY;INTERVAL=90;COUNT=4", ["09:00", "10:30", "12:00", "13:30"], True),
    ("FREQ=DAILY;BYHOUR=9,10,11,12,13,14,15,16;BYMINUTE=0,20,40",
     [f"{hour:02}:{minute:02}" for hour in range(9, 17) for minute in (0, 20, 40)], False),
    ("FREQ=MINUTELY;INTERVAL=20;BYHOUR=9,10,11,12,13,14,15,16",
     [f"{hour:02}:{minute:02}" for hour in range(9, 17) for minute in (0, 20, 40)], False),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "times", "all_of_them"), TIMES, ids=[rule for rule, *_ in TIMES])
def test_times(rule: str, times: list[str], all_of_them: bool) -> None:
    found = expanded(f"DTSTART;TZID={NEW_YORK}:19970902T090000\nRRULE:{rule}", 2 * len(times))
    assert found[: len(times)] == [f"1997-09-02T{each}" for each in times]
    if all_of_them:
        assert len(found) == len(times)
    else:
        assert found[len(times) :] == [f"1997-09-03T{each}" for each in times]


def test_an_exception_is_left_out_and_does_not_prolong() -> None:
    """Every Friday the 13th, but for the start that is none: the RFC excludes it by EXDATE."""
    text = f"DTSTART;TZID={NEW_YORK}:19970902T090000\nEXDATE;TZID={NEW_YORK}:19970902T090000\n"
    found = expanded(f"{text}RRULE:FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13", 5)
    assert found == [f"{each}T09:00" for each in days("1998 2: 13, 3: 13, 11: 13, 1999 8: 13, 2000 10: 13")]


def test_they_are_on_time_in_summer_and_in_winter() -> None:
    slots = upcoming(
        rule(f"DTSTART;TZID={NEW_YORK}:19970902T090000\nRRULE:FREQ=DAILY"), at("UTC", "1997-10-24T20:00"), 3
    )
    assert [slot // 3_600_000 % 24 for slot in slots] == [13, 14, 14]


def rule(text: str) -> Rule:
    return Rule("rrule", text, NEW_YORK, at("UTC", "2026-01-01"))


def expanded(text: str, n: int) -> list[str]:
    slots = upcoming(rule(text), at("UTC", "1990-01-01"), n)
    return [datetime.fromtimestamp(slot / 1000, ZoneInfo(NEW_YORK)).strftime("%Y-%m-%dT%H:%M") for slot in slots]
