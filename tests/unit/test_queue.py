"""Queues and names: checked where they are written."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.errors import InvalidOption, TooLarge
from holdfast.names import KEY_LENGTH, NAME_LENGTH, checked_key, checked_name
from holdfast.queue import Queue, own_queue, queue_of
from holdfast.sizes import check_size, size_of


def test_a_queue_is_a_value() -> None:
    assert Queue("orders", concurrency_limit=5) == Queue("orders", concurrency_limit=5)
    assert len({Queue("orders"), Queue("orders"), Queue("mail")}) == 2
    with pytest.raises(AttributeError):
        Queue("orders").name = "mail"  # type: ignore[misc]


def test_limits_are_keywords() -> None:
    with pytest.raises(TypeError):
        Queue("orders", 5)  # type: ignore[call-arg]


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, "3"])
@pytest.mark.parametrize("option", ["concurrency_limit", "concurrency_limit_per_key"])
def test_a_limit_is_a_whole_number_of_at_least_one(option: str, limit: Any) -> None:
    with pytest.raises(InvalidOption, match=f"{option} is not a whole number.*{limit}.*pause it"):
        Queue("orders", **{option: limit})


@pytest.mark.parametrize("name", ["", " ", "a ", "a\n", "a\0b", "\ud800", "x" * (NAME_LENGTH + 1), 5, None])
def test_a_name_is_one_printable_line(name: Any) -> None:
    with pytest.raises(InvalidOption, match="The name of a queue"):
        Queue(name)


def test_names_may_be_of_any_language() -> None:
    assert Queue("Aufträge / 注文 1").name == "Aufträge / 注文 1"


def test_what_is_given_as_a_queue() -> None:
    orders = Queue("orders", concurrency_limit=1)
    assert queue_of(orders) is orders
    assert queue_of("orders") == Queue("orders")
    with pytest.raises(InvalidOption, match="neither a Queue nor a name"):
        queue_of(5)


def test_the_own_queue_of_the_longest_id_is_a_queue() -> None:
    longest = checked_name("x" * 128, option="id", length=128)
    assert queue_of(own_queue(longest)).name == f"task/{longest}"


def test_the_entry_has_the_limits() -> None:
    entry = Queue("orders", concurrency_limit=5, concurrency_limit_per_key=2).entry()
    assert (entry.name, entry.concurrency_limit, entry.concurrency_limit_per_key) == ("orders", 5, 2)


@pytest.mark.parametrize("key", ["user 1", "a\nb", " x ", "é" * KEY_LENGTH])
def test_a_key_may_be_nearly_anything(key: str) -> None:
    assert checked_key(key, option="idempotency_key") == key


@pytest.mark.parametrize("key", ["", "a\0", "é\0", "\udc00", "x" * (KEY_LENGTH + 1), 7, None])
def test_a_key_fits_a_text_column(key: Any) -> None:
    with pytest.raises(InvalidOption, match="idempotency_key"):
        checked_key(key, option="idempotency_key")


def test_sizes_are_bytes() -> None:
    assert (size_of("abc"), size_of("é"), size_of("\ud800")) == (3, 2, 3)
    check_size(10, 10, what="The payload", limit="payload_limit")
    with pytest.raises(TooLarge, match=r"The payload is too large.*11 bytes, and payload_limit is 10") as caught:
        check_size(11, 10, what="The payload", limit="payload_limit")
    assert (caught.value.limit, caught.value.size, caught.value.allowed) == ("payload_limit", 11, 10)
