"""Errors that are the same have one fingerprint, others have not."""

from __future__ import annotations

import pytest

from holdfast.fingerprint import fingerprint

TRACE = """Traceback (most recent call last):
  File "/srv/app/shop/tasks.py", line {line}, in charge
    pay(card)
  File "/srv/app/shop/{file}", line 9, in {function}
    client.post(url)
  File "/venv/lib/python3.11/site-packages/http/client.py", line 12, in post
    raise ConnectionError(url)
ConnectionError: shop.example"""


def trace(line: int = 3, file: str = "cards.py", function: str = "pay") -> str:
    return TRACE.format(line=line, file=file, function=function)


def test_the_innermost_place_of_the_app_tells_errors_apart() -> None:
    """Neither the line nor the message nor the library below it does."""
    one = fingerprint("charge", "ConnectionError", "shop.example", trace())
    assert one.place == "shop/cards.py in pay"
    assert fingerprint("charge", "ConnectionError", "other.example", trace(line=44)) == one
    others = [
        fingerprint("refund", "ConnectionError", "shop.example", trace()),
        fingerprint("charge", "TimeoutError", "shop.example", trace()),
        fingerprint("charge", "ConnectionError", "shop.example", trace(function="hold")),
        fingerprint("charge", "ConnectionError", "shop.example", trace(file="bank.py")),
    ]
    assert len({one.id, *(other.id for other in others)}) == 5


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("no card 17", "no card 2,345.5"),
        ("user 'ada' is gone", "user 'bob' is gone"),
        ('no "a b"', 'no "c"'),
        ("run 01m81cye04eejsjwpg8879vb1v crashed", "run 01m81cye04eejsjwpg8879vb1w crashed"),
        ("trace deadbeefcafe", "trace 0123456789ab"),
        ("at 0x7f2e24", "at 0x1"),
    ],
)
def test_without_a_place_the_message_does_but_for_what_varies(one: str, other: str) -> None:
    assert fingerprint("t", "E", one, "") == fingerprint("t", "E", other, "")
    assert fingerprint("t", "E", one, "") != fingerprint("t", "E", "something else", "")


@pytest.mark.parametrize("traceback", ["", "no traceback", 'File "', "\ud800", 'Traceback\n  File "x", line 1'])
def test_whatever_a_traceback_is_there_is_a_fingerprint(traceback: str) -> None:
    assert len(fingerprint("t", "E", "\ud800", traceback).id) == 16
