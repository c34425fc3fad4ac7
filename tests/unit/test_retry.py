"""Whether and when a failed attempt is tried again."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import AbortRun, InvalidOption, RetryAfter
from holdfast.retry import Retry


def never_called() -> float:
    raise AssertionError("no jitter was asked for")


@pytest.mark.parametrize(
    ("retry", "delays"),
    [
        (Retry(jitter=False), [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]),
        (Retry(jitter=False, factor=1), [1_000, 1_000, 1_000]),
        (Retry(jitter=False, factor=1.5, min_delay="100ms"), [100, 150, 225, 338]),
        (Retry(jitter=False, min_delay=0), [0, 0, 0]),
        (Retry(jitter=False, min_delay="30s"), [30_000, 30_000]),
    ],
)
def test_delays_grow_up_to_the_longest(retry: Retry, delays: list[int]) -> None:
    assert [retry.delay_ms(attempt, never_called) for attempt in range(1, len(delays) + 1)] == delays


def test_no_attempt_is_too_late_for_a_delay() -> None:
    assert Retry(jitter=False).delay_ms(10**9, never_called) == 30_000
    assert Retry(jitter=False, min_delay=0).delay_ms(10**9, never_called) == 0


@pytest.mark.parametrize(
    ("attempt", "shortest", "longest"), [(1, 1_000, 1_500), (3, 4_000, 6_000), (5, 16_000, 24_000), (9, 20_000, 30_000)]
)
def test_jitter_spreads_the_delay(attempt: int, shortest: int, longest: int) -> None:
    retry = Retry()
    assert retry.delay_ms(attempt, lambda: 0.0) == shortest
    assert retry.delay_ms(attempt, lambda: 1.0) == longest


@given(
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.floats(1, 100),
    st.integers(1, 10**6),
    st.floats(0, 1),
    st.booleans(),
)
def test_a_delay_stays_between_its_limits(
    a: int, b: int, factor: float, attempt: int, random: float, jitter: bool
) -> None:
    low, high = sorted((a, b))
    delays = {"min_delay": timedelta(milliseconds=low), "max_delay": timedelta(milliseconds=high)}
    assert low <= Retry(factor=factor, jitter=jitter, **delays).delay_ms(attempt, lambda: random) <= high


@pytest.mark.parametrize(
    ("retry", "error", "wanted"),
    [
        (Retry(), ValueError(), True),
        (Retry(), KeyboardInterrupt(), False),
        (Retry(), AbortRun(), False),
        (Retry(on=Exception), AbortRun(), False),
        (Retry(), RetryAfter("5s"), True),
        (Retry(on=OSError, never=RetryAfter), RetryAfter("5s"), True),
        (Retry(on=OSError), ConnectionError(), True),
        (Retry(on=OSError), ValueError(), False),
        (Retry(on=(OSError, KeyError)), KeyError(), True),
        (Retry(never=ValueError), ValueError(), False),
        (Retry(never=ValueError), UnicodeError(), False),
        (Retry(never=(ValueError, KeyError)), OSError(), True),
        (Retry(on=LookupError, never=KeyError), IndexError(), True),
        (Retry(on=LookupError, never=KeyError), KeyError(), False),
        (Retry(on=SystemExit), SystemExit(), True),
    ],
)
def test_the_exception_decides(retry: Retry, error: BaseException, wanted: bool) -> None:
    assert retry.wants(error) is wanted


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_attempts": 1.5}, "max_attempts"),
        ({"max_attempts": True}, "max_attempts"),
        ({"max_attempts": "3"}, "max_attempts"),
        ({"factor": 0.5}, "factor"),
        ({"factor": float("nan")}, "factor"),
        ({"factor": float("inf")}, "factor"),
        ({"min_delay": "-1s"}, "min_delay"),
        ({"max_delay": "soon"}, "max_delay"),
        ({"min_delay": "1m"}, "min_delay"),
        ({"on": ValueError()}, "on"),
        ({"on": (ValueError, "KeyError")}, "on"),
        ({"on": [ValueError]}, "on"),
        ({"never": int}, "never"),
    ],
)
def test_an_option_that_cannot_be_used_is_named(options: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidOption, match=f"^{named} "):
        Retry(**options)


def test_two_ways_to_write_it_are_equal() -> None:
    assert Retry(min_delay="1m", max_delay="1h") == Retry(min_delay=60, max_delay=timedelta(hours=1))
    assert Retry(min_delay="2s") != Retry()
    assert len({Retry(), Retry(min_delay=1.0)}) == 1


def test_it_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Retry().max_attempts = 5  # type: ignore[misc]
