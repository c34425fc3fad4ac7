"""The form that a payload's JSON schema makes, filled in as a browser sends it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, TypeAdapter

from holdfast.dashboard.fields import NOTHING, fields, said
from holdfast.dashboard.fields import Field as Drawn
from holdfast.dashboard.site import Form


class Address(BaseModel):
    street: str
    city: str = "Bergen"


class Card(BaseModel):
    kind: Literal["card"] = "card"
    number: str


class Bank(BaseModel):
    kind: Literal["bank"] = "bank"
    iban: str


class Order(BaseModel):
    name: str
    price: Decimal = Decimal("9.90")
    greeting: str = "Hello"
    nick: str | None = "Countess"
    when: dt.datetime | None = None
    numbers: list[int] = []
    tags: list[str] = []
    address: Address | None = None
    pay: Annotated[Card | Bank, Field(discriminator="kind")] = Card(number="4242")
    maybe: bool | None = None
    extra: dict[str, int] = {}


SCHEMA = TypeAdapter(Order).json_schema()


def flat(drawn: list[Drawn] | tuple[Drawn, ...]) -> Iterator[Drawn]:
    for each in drawn:
        yield from flat(each.fields) if each.kind == "group" else [each]


def sent(value: Any = NOTHING, **written: str) -> Any:
    """What becomes of a form that was drawn for this value, with this written into it."""
    inputs = {each.name: each for each in flat(fields(SCHEMA, value))}
    pairs = [(name, str(each.value)) for name, each in inputs.items() if each.kind != "check" or each.value]
    return said(SCHEMA, Form([*pairs, *((f"value.{name.replace('__', '.')}", text) for name, text in written.items())]))


def field(name: str, value: Any = NOTHING) -> Drawn:
    return next(each for each in flat(fields(SCHEMA, value)) if each.name == f"value.{name}")


def test_what_may_be_left_out_has_not_to_be_filled_in() -> None:
    assert not field("address.street").required
    assert sent(name="Ada").get("address") is None


def test_what_is_filled_in_of_an_optional_object_is_an_object() -> None:
    assert sent(name="Ada", address__street="Kelp Lane")["address"] == {"street": "Kelp Lane", "city": "Bergen"}


def test_yes_no_and_neither_are_three_answers() -> None:
    assert [text for _, text in field("maybe").choices] == ["", "true", "false"]
    assert sent(name="Ada").get("maybe") is None
    assert sent(name="Ada", maybe="false")["maybe"] is False


def test_a_decimal_is_written_as_it_is() -> None:
    assert field("price").value == "9.90"
    assert sent(name="Ada", price="12.50")["price"] == "12.50"


def test_numbers_are_written_one_on_each_line() -> None:
    assert sent(name="Ada", numbers="3\n 4\n")["numbers"] == [3, 4]


def test_what_is_written_as_json_shows_how_it_looks() -> None:
    assert field("pay").hint == '{"kind": "card", "number": "…"}\n{"kind": "bank", "iban": "…"}'
    assert (field("extra").value, field("extra").hint) == ("", '{"…": 0}')
    assert field("when").hint == "2027-01-31T09:00:00Z"


@pytest.mark.parametrize("tags", [["a", "b"], ["two\nlines", "c"], ["", "d"], []])
def test_a_list_comes_back_as_it_was(tags: list[str]) -> None:
    assert sent({"name": "Ada", "tags": tags})["tags"] == tags


def test_a_default_that_was_taken_away_is_gone() -> None:
    """And does not come back behind one's back."""
    assert sent(name="Ada", greeting="", nick="") == {**sent(name="Ada"), "greeting": "", "nick": None}
    assert "price" not in sent(name="Ada", price="")


def test_a_schema_that_says_hardly_anything_is_drawn() -> None:
    anything = {"list": {"type": "array", "items": True}, "any": True, "map": {"type": "object"}}
    assert [each.kind for each in fields({"type": "object", "properties": anything})] == ["json", "json", "json"]
