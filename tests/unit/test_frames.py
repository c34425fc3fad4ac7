"""Tracebacks as people read them."""

from __future__ import annotations

import traceback

from holdfast.frames import frames


def fail(message: str) -> str:
    try:
        try:
            raise KeyError("price")
        except KeyError as error:
            raise ValueError(message) from error
    except ValueError:
        return traceback.format_exc()


def test_a_cause_stands_above_what_it_caused() -> None:
    between = ["\n".join(each.code) for each in frames(fail("no")) if not each.file]
    assert between[0] == "KeyError: 'price'"
    assert "direct cause" in between[1]
    assert between[2] == "ValueError: no"


def test_the_lines_of_a_message_stay_together() -> None:
    """And blank ones tell paragraphs apart."""
    assert [each.code for each in frames(fail("one\ntwo\n\nthree"))[-2:]] == [["ValueError: one", "two"], ["three"]]


def test_a_group_of_exceptions_is_shown_as_python_draws_it() -> None:
    group = '  + Exception Group Traceback (most recent call last):\n  |   File "a.py", line 1, in f\n  | Group: no\n'
    assert [each.code for each in frames(group)] == [group.splitlines()]
