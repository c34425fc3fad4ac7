"""The system's clock tells the time; a frozen one only what it was told."""

import time
from datetime import timedelta, timezone

import pytest

from holdfast.clock import FrozenClock, SystemClock, utc
from holdfast.errors import InvalidOption


def test_the_system_clock_counts_milliseconds_of_the_epoch() -> None:
    before = time.time_ns() // 1_000_000
    now = SystemClock().now()
    assert before <= now <= time.time_ns() // 1_000_000


def test_a_frozen_clock_stands_still_until_moved() -> None:
    clock = FrozenClock(start_ms=1_000)
    assert clock.now() == clock.now() == 1_000
    assert clock.advance("1h30m") == 5_401_000
    assert clock.now() == 5_401_000


def test_a_frozen_clock_can_be_set_back_but_not_advanced_backwards() -> None:
    clock = FrozenClock(start_ms=1_000)
    with pytest.raises(InvalidOption):
        clock.advance(-1)
    clock.set(10)
    assert clock.now() == 10


@pytest.mark.parametrize("ms", [-(2**63), -1, 0, 1_795_365_857_123, 253_402_300_799_999, 2**63 - 1])
@pytest.mark.parametrize("hours", [-14, 0, 14])
def test_every_stored_time_can_be_shown_in_every_zone(ms: int, hours: int) -> None:
    shown = utc(ms).astimezone(timezone(timedelta(hours=hours)))
    assert shown.isoformat()
    if abs(ms) < 2**45:
        assert shown.timestamp() * 1000 == ms
