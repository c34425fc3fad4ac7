"""How things look: what fits, what is cut, and what of a stranger's text reaches a terminal."""

from __future__ import annotations

import msgspec
import pytest

from holdfast.cli.show import age, clean, document, setting_shown, when, widths


@pytest.mark.parametrize(
    ("natural", "flexible", "room", "given"),
    [
        ([5, 5], [False, False], 80, [5, 5]),
        ([5, 30], [False, True], 20, [5, 13]),
        ([30, 40], [True, True], 42, [20, 20]),
        ([10, 40], [True, True], 42, [10, 30]),
        ([30, 30], [False, False], 20, [30, 30]),
        ([30, 30], [False, True], 20, [30, 6]),
    ],
)
def test_flexible_columns_share_what_the_others_leave(
    natural: list[int], flexible: list[bool], room: int, given: list[int]
) -> None:
    assert widths(natural, flexible, room) == given


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("nul \x00 bell \x07", "nul \\x00 bell \\x07"),
        ("back\x9bspace", "back\\x9bspace"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\ud800", "\\ud800"),
        ("right\u202eleft", "right\\u202eleft"),
    ],
)
def test_what_a_stranger_wrote_does_nothing_to_a_terminal(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_a_line_is_one_line() -> None:
    assert "\n" not in clean("two\nlines", one_line=True)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (7_199, "119m"),
        (7_200, "2h"),
        (86_399, "23h"),
        (86_400, "1d"),
        (-5, "0s"),
    ],
)
def test_ages_are_short(seconds: int, shown: str) -> None:
    assert age(seconds * 1000, 0) == shown


def test_a_moment_is_before_or_ahead() -> None:
    assert when(60_000, 0).endswith("(1m ago)")
    assert when(0, 60_000).endswith("(in 1m)")
    assert when(0, None) == ""


class View(msgspec.Struct):
    at: int
    made_at: int | None
    lease_ms: int
    written: object
    inner: list[object]


def test_times_of_views_are_told_as_times_and_those_of_users_are_left() -> None:
    view = View(0, None, 5, {"made_at": 5}, [View(1_000, 1_500, 1, [], [])])
    assert document(view) == {
        "at": "1970-01-01T00:00:00.000Z",
        "made_at": None,
        "lease_ms": 5,
        "written": {"made_at": 5},
        "inner": [
            {
                "at": "1970-01-01T00:00:01.000Z",
                "made_at": "1970-01-01T00:00:01.500Z",
                "lease_ms": 1,
                "written": [],
                "inner": [],
            }
        ],
    }


def test_settings_in_the_units_that_one_thinks_in() -> None:
    assert setting_shown("payload_limit", 10 * 1024 * 1024) == "10 MiB"
    assert setting_shown("lease", 30_000) == "30s"
    assert setting_shown("ttl", None) == "none"
