"""Durations: what people write, what is refused, and how it is shown."""

import contextlib
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.duration import Duration, format_ms, to_ms
from holdfast.errors import HoldfastError, InvalidOption


@pytest.mark.parametrize(
    ("written", "milliseconds"),
    [
        ("1h30m", 5_400_000),
        ("5s", 5_000),
        ("250ms", 250),
        ("3d", 259_200_000),
        ("2w", 1_209_600_000),
        ("1.5s", 1_500),
        ("1w2d3h4m5s6ms", 788_645_006),
        (" 1h  30 m ", 5_400_000),
        ("0.1s", 100),
        ("0s", 0),
        ("0.0001ms", 1),
        ("5m", 300_000),
        (5, 5_000),
        (0, 0),
        (0.25, 250),
        (1e-9, 1),
        (0.1 + 0.2, 300),
        (timedelta(minutes=1, milliseconds=5), 60_005),
        (timedelta(microseconds=1), 1),
        (timedelta(days=365_000), 31_536_000_000_000),
    ],
)
def test_a_duration_is_read(written: Duration, milliseconds: int) -> None:
    assert to_ms(written, name="delay") == milliseconds


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("-5s", "delay cannot be negative"),
        (-1, "delay cannot be negative"),
        (-0.001, "delay cannot be negative"),
        (timedelta(microseconds=-1), "delay cannot be negative"),
        ("365001d", "delay is longer than a thousand years"),
        (10**30, "delay is longer than a thousand years"),
        ("9" * 400 + "s", "delay is longer than a thousand years"),
        *[
            (garbage, "delay is not a duration")
            for garbage in (
                "",
                " ",
                "5",
                "1h1h",
                "30m1h",
                "5S",
                "5 minutes",
                "s",
                "1.s",
                ".5s",
                "1e3s",
                "٣s",
                "-",
                "--5s",
            )
        ],
        *[
            (value, "delay is not a duration")
            for value in (True, None, float("nan"), float("inf"), -float("inf"), [5], b"5s", "9" * 1_200_000 + "s")
        ],
    ],
)
def test_what_is_no_duration_is_refused_by_name(written: Duration, complaint: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        to_ms(written, name="delay")
    assert caught.value.what == complaint
    assert caught.value.do
    assert isinstance(caught.value, HoldfastError)
    assert isinstance(caught.value, ValueError)


def test_the_message_says_what_to_write() -> None:
    with pytest.raises(InvalidOption) as caught:
        to_ms("soon", name="ttl")
    assert str(caught.value) == (
        'ttl is not a duration (\'soon\'). Write it like "1h30m", "5s" or "250ms", as seconds, or as a timedelta.'
    )


@given(st.integers(0, 365_000 * 86_400_000))
def test_all_ways_to_write_a_duration_agree(milliseconds: int) -> None:
    assert to_ms(f"{milliseconds}ms", name="x") == milliseconds
    assert to_ms(timedelta(milliseconds=milliseconds), name="x") == milliseconds
    assert to_ms(f"{milliseconds // 1000}s{milliseconds % 1000}ms", name="x") == milliseconds


@given(st.one_of(st.text(), st.floats(), st.integers(), st.timedeltas()))
def test_anything_is_a_duration_or_an_invalid_option(value: Duration) -> None:
    with contextlib.suppress(InvalidOption):
        assert to_ms(value, name="x") >= 0


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0 ms"),
        (250, "250 ms"),
        (999, "999 ms"),
        (1_000, "1s"),
        (1_500, "1.5s"),
        (59_999, "59.9s"),
        (60_000, "1m"),
        (65_000, "1m 5s"),
        (5_400_000, "1h 30m"),
        (3_605_000, "1h"),
        (90_061_000, "1d 1h"),
        (1_209_600_000, "14d"),
        (-1_500, "-1.5s"),
    ],
)
def test_a_duration_is_shown_in_two_units(milliseconds: int, text: str) -> None:
    assert format_ms(milliseconds) == text
