"""TypedDicts of either kind can be payloads."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired, Required, TypedDict

import pytest
import typing_extensions
from pydantic import Field

from holdfast.codec import codec_for
from holdfast.errors import PayloadInvalid
from holdfast.typed_dicts import for_pydantic


class Row(TypedDict):
    """A row."""

    n: int
    note: NotRequired[str]


class Order(TypedDict, total=False):
    rows: Required[list[Row]]
    by_name: dict[str, Row | None]
    size: Annotated[int, Field(ge=0)]


class Extended(typing_extensions.TypedDict):
    n: int


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (Row, '{"n":1}'),
        (Row, '{"n":1,"note":"x"}'),
        (list[Row], '[{"n":1}]'),
        (Row | None, "null"),
        (Order, '{"rows":[{"n":1}],"by_name":{"a":null,"b":{"n":2}},"size":3}'),
        (Annotated[Order, "x"], '{"rows":[]}'),
    ],
)
def test_a_typed_dict_of_typing_is_taken(annotation: Any, text: str) -> None:
    codec = codec_for(for_pydantic(annotation))
    assert codec.dump(codec.load(text)) == text


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (Row, "{}"),
        (Row, '{"n":"x"}'),
        (Order, "{}"),
        (Order, '{"rows":[],"size":-1}'),
        (Order, '{"rows":[{"note":"x"}]}'),
    ],
)
def test_its_keys_are_checked(annotation: Any, text: str) -> None:
    with pytest.raises(PayloadInvalid):
        codec_for(for_pydantic(annotation)).load(text)


@pytest.mark.parametrize("annotation", [int, None, Any, list[int], Literal["a"], dict[str, Any], Extended, int | None])
def test_everything_else_stays_as_it_is(annotation: Any) -> None:
    assert for_pydantic(annotation) is annotation
