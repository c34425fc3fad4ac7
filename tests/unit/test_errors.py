"""Messages have three parts, and showing a value never makes things worse."""

import pytest

from holdfast.errors import HoldfastError, InvalidOption, PayloadInvalid, RetryAfter, RunFailed, TooLarge, shown


class Recorded:
    type = "ValueError"
    message = "no such user"
    traceback = "Traceback …"


class Unprintable:
    def __init__(self, raises: BaseException) -> None:
        self.raises = raises

    def __repr__(self) -> str:
        raise self.raises


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (HoldfastError(), "Something in Holdfast went wrong."),
        (HoldfastError("It broke"), "It broke"),
        (HoldfastError("It broke", seen=5), "It broke (5)."),
        (HoldfastError("It broke.", seen="the 'x' key"), "It broke (the 'x' key)."),
        (HoldfastError("It broke", seen=None), "It broke (None)."),
        (HoldfastError("It broke", do="Mend it."), "It broke. Mend it."),
        (HoldfastError("It broke", seen="", do="Mend it."), "It broke (). Mend it."),
        (InvalidOption(do="Leave it out."), "An option has a value that cannot be used. Leave it out."),
        (TooLarge(limit="max_payload_bytes", size=30, allowed=20),
         "The value is larger than the limit (30 bytes, and max_payload_bytes is 20)."),
        (RunFailed("r1", "failed", Recorded()),
         "Run r1 ended as failed (ValueError: no such user). Its traceback is in .error."),
    ],
)  # fmt: skip
def test_a_message_is_what_seen_do(error: HoldfastError, message: str) -> None:
    assert str(error) == message


def test_the_three_parts_are_kept() -> None:
    error = PayloadInvalid("Wrong", seen=[1, 2], do="Fix it.", problems=("id: missing",))
    assert (error.what, error.seen, error.do, error.problems) == ("Wrong", "[1, 2]", "Fix it.", ("id: missing",))


def test_a_failed_run_says_which_and_why() -> None:
    failed = RunFailed("r1", "failed", Recorded())
    assert (failed.run_id, failed.status, failed.error.type) == ("r1", "failed", "ValueError")


@pytest.mark.parametrize("raises", [ValueError("no"), RecursionError(), SystemExit(1)])
def test_a_value_that_cannot_be_shown_does_not_break_the_message(raises: BaseException) -> None:
    assert shown(Unprintable(raises)) == "<Unprintable that cannot be shown>"
    assert str(HoldfastError("It broke", seen=Unprintable(raises))) == "It broke (<Unprintable that cannot be shown>)."


@pytest.mark.parametrize(
    ("value", "text"),
    [("x" * 100, "'" + "x" * 76 + "..."), ("\ud800", "'\\ud800'"), ("\0", "'\\x00'"), (7, "7")],
)
def test_shown_is_short_and_printable(value: object, text: str) -> None:
    assert shown(value) == text


def test_a_seen_text_is_cut_and_can_be_printed_anywhere() -> None:
    seen = HoldfastError("It broke", seen="\ud800\0" + "x" * 1000).seen
    assert seen is not None
    assert len(seen) == 500
    assert seen.startswith("\\ud800\\x00xx")
    seen.encode()


@pytest.mark.parametrize(
    ("error", "text"),
    [(RetryAfter("10m"), "retry after '10m'"), (RetryAfter(5, "rate limited"), "rate limited")],
)
def test_retry_after_speaks_for_itself(error: RetryAfter, text: str) -> None:
    assert str(error) == text
