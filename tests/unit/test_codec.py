"""What goes into the database comes out the same, or is refused where it went in."""

import dataclasses
import datetime
import decimal
import enum
import inspect
import json
import math
import re
import types
import uuid
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from holdfast.codec import AnyCodec, ModelCodec, PlainCodec, codec_for, decode, encode, schema
from holdfast.errors import InvalidTask, NotSerializable, PayloadInvalid

HUGE = 10**99 + 7
UTC = datetime.UTC


class User(BaseModel):
    id: int
    email: str
    score: float | None = None


class Strict(BaseModel, extra="forbid"):
    user_name: str = Field(validation_alias="userName", serialization_alias="USER")

    @pydantic.computed_field
    def greeting(self) -> str:
        return f"Hello, {self.user_name}"


class Loose(BaseModel):
    anything: Any


class Packed(BaseModel):
    numbers: pydantic.Json[list[int]]


class RawBytes(BaseModel):
    content: bytes


class ExplodingValidator(BaseModel):
    name: str

    @pydantic.field_validator("name")
    @classmethod
    def explode(cls, value: str) -> str:
        raise KeyError(value)


class UnsayableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class ExplodingSerializer(BaseModel):
    name: str

    @pydantic.field_serializer("name")
    def explode(self, value: str) -> str:
        raise UnsayableError


@dataclasses.dataclass
class Point:
    x: int
    blob: bytes = b""


class Row(TypedDict):
    at: datetime.datetime
    blob: bytes


class Colour(enum.Enum):
    RED = "red"


class Record(msgspec.Struct):
    n: int


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no words")

    __str__ = __repr__


ada = User(id=1, email="ada@example.com")
noon = datetime.datetime(2027, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
an_id = uuid.UUID("01890a5d-ac96-774b-bcce-b302099a8057")

# Everything JSON can hold. Two surrogates in a row that JSON would join are the exception, with a test of their own.
lone_surrogate = st.sampled_from(["\ud800", "\udc00x", "a\udfff", "\ud83dé"])
text = st.text() | lone_surrogate
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(HUGE) | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inside: st.lists(inside) | st.dictionaries(text, inside),
)


_UTC = re.compile(r"TzInfo\((?:0|UTC)\)|datetime\.timezone\.utc")


def same(a: object, b: object) -> bool:
    """Equal, and of the same types down to the sign of a zero."""
    return a == b and _UTC.sub("utc", repr(a)) == _UTC.sub("utc", repr(b))


# -- what JSON can say ------------------------------------------------------------------------------------------------


@given(json_values)
def test_any_json_value_comes_back_the_same(value: object) -> None:
    written = encode(value)
    assert same(decode(written), value)
    assert "\0" not in written
    assert written.encode()
    assert same(json.loads(written), value)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, "null"),
        ({"a": [1, 2.5, True, None]}, '{"a":[1,2.5,true,null]}'),
        ("größe 😀", '"größe 😀"'),
        ("a\0b", '"a\\u0000b"'),
        ("é\ud800", '"é\\ud800"'),
        ("\\ud800", '"\\\\ud800"'),
        (HUGE, "1" + "0" * 98 + "7"),
        (-0.0, "-0.0"),
        (1e22, "1e+22"),
        ((1, 2), "[1,2]"),
    ],
)
def test_the_text_is_compact_and_can_be_stored_anywhere(value: object, written: str) -> None:
    assert encode(value) == written


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (noon, "2027-01-01T12:00:00.123456Z"),
        (datetime.date(2027, 1, 1), "2027-01-01"),
        (datetime.timedelta(days=1, seconds=5), "P1DT5S"),
        (decimal.Decimal("1.10"), "1.10"),
        (an_id, str(an_id)),
        (Colour.RED, "red"),
        ({3, 1, 2}, [1, 2, 3]),
        (types.MappingProxyType({"a": 1}), {"a": 1}),
        (Point(1, b""), None),
        (Record(5), {"n": 5}),
        (ada, {"id": 1, "email": "ada@example.com", "score": None}),
        ([{"user": ada}], [{"user": {"id": 1, "email": "ada@example.com", "score": None}}]),
    ],
)
def test_what_has_an_obvious_text_is_written_as_that(value: object, read: object) -> None:
    if isinstance(value, Point):  # its bytes have none
        with pytest.raises(NotSerializable, match="type bytes"):
            encode(value)
    else:
        assert decode(encode(value)) == read


def contains_itself() -> list[Any]:
    endless: list[Any] = []
    endless.append(endless)
    return endless


def too_deep() -> list[Any]:
    deep: list[Any] = []
    for _ in range(50_000):
        deep = [deep]
    return deep


def generator() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (float("nan"), "NaN and infinity"),
        ({"a": [1.0, float("-inf")]}, "NaN and infinity"),
        (User(id=1, email="", score=float("nan")), "NaN and infinity"),
        (b"label", "A value of type bytes"),
        (object(), "A value of type object"),
        (User, "A value of type ModelMetaclass"),
        (generator(), "A value of type generator"),
        ({(1, 2): 3}, "A dict with keys that are no text"),
        (10**5000, "more than 4300 digits"),
        (contains_itself(), "contains itself, or is nested too deeply"),
        (too_deep(), "contains itself, or is nested too deeply"),
        ("\ud83d\ude00", "Two surrogates in a row"),
        (Unprintable(), "A value of type Unprintable"),
        ([Unprintable()], "A value of type Unprintable"),
        (ExplodingSerializer(name="x"), "A value of type ExplodingSerializer"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isascii() else "value",
)
def test_what_json_cannot_say_is_refused(value: object, complaint: str) -> None:
    with pytest.raises(NotSerializable, match=complaint) as caught:
        encode(value)
    assert str(caught.value)
    assert caught.value.do
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize(
    "written",
    [
        *("", "nul", "{", "[1,]", "NaN", "[Infinity]", "-Infinity", "1e400", '"\n"', "\ud800"),
        *("1" * 4301, "[" * 50_000 + "]" * 50_000),
    ],
)
def test_what_is_no_json_is_refused(written: str) -> None:
    with pytest.raises(PayloadInvalid, match="not JSON") as caught:
        decode(written)
    assert str(caught.value).encode()


def test_refusals_leave_nothing_behind() -> None:
    value = {"a": [1]}
    for _ in range(3):
        with pytest.raises(NotSerializable):
            encode([value, object()])
    assert encode(value) == '{"a":[1]}'


# -- annotations ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [
        *[(each, AnyCodec) for each in (None, type(None), Any, object, inspect.Parameter.empty)],
        *[
            (each, PlainCodec)
            for each in (str, int, float, bool, list[int], dict[str, Any], int | None, list[dict[str, float | None]])
        ],
        *[
            (each, ModelCodec)
            for each in (
                bytes,
                list,
                int | str,
                dict[int, str],
                tuple[int, ...],
                set[int],
                User,
                list[User],
                Point,
                Row,
            )
        ],
    ],
)
def test_an_annotation_gets_its_codec(annotation: Any, kind: type) -> None:
    assert type(codec_for(annotation)) is kind


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (str, "a\0\ud800"),
        (str, "1"),
        (int, HUGE),
        (int, -(2**63) - 1),
        (float, 0.1),
        (bool, False),
        (list[int], [1, HUGE]),
        (list[str], ["\udfff", "b"]),
        (dict[str, Any], {"\ud800": [None, HUGE, {"a": 1.5}]}),
        (dict[str, list[str]], {"a": ["b"]}),
        (int | None, None),
        (str | None, "null"),
        (None, {"free": ["form", None]}),
        (bytes, b"\xff\xfe\0~?"),
        (datetime.datetime, noon),
        (datetime.date, datetime.date(2027, 1, 1)),
        (datetime.timedelta, datetime.timedelta(days=3, microseconds=1)),
        (decimal.Decimal, decimal.Decimal("1.10")),
        (uuid.UUID, an_id),
        (Colour, Colour.RED),
        (Literal["a", 1], 1),
        (tuple[int, str], (1, "a")),
        (set[int], {1, 2}),
        (dict[int, str], {1: "a"}),
        (int | str, "5"),
        (int | str, 5),
        (float | None, 2.0),
        (User, ada),
        (User, User(id=HUGE, email="größe\0", score=-0.0)),
        (User | None, None),
        (User | None, ada),
        (list[User], [ada, ada]),
        (dict[str, User], {"a": ada}),
        (User | Point, Point(1, b"\xff")),
        (Strict, Strict(userName="Ada")),
        (Loose, Loose(anything={"a": [HUGE, None]})),
        (Point, Point(5, b"\xff")),
        (list[Point], [Point(5, b"\xff")]),
        (Row, {"at": noon, "blob": b"\xff"}),
        (Annotated[int, Field(gt=0)], 5),
        (Packed, Packed(numbers="[1, 2]")),
    ],
)
def test_a_value_makes_the_round_trip(annotation: Any, value: object) -> None:
    codec = codec_for(annotation)
    for written in (
        codec.dump(value),
        codec.dump_checked(value),
    ):
        assert "\0" not in written
        assert written.encode()
    assert same(codec.load(codec.dump(value)), value)


PLAIN = [
    str,
    int,
    float,
    bool,
    int | None,
    list[str],
    list[int],
    list[float | None],
    dict[str, int],
    dict[str, list[bool]],
]


@pytest.mark.parametrize("annotation", PLAIN, ids=str)
@settings(max_examples=30)
@given(value=json_values)
def test_the_fast_way_agrees_with_pydantic(annotation: Any, value: object) -> None:
    agree(annotation, value)


@pytest.mark.slow
@pytest.mark.parametrize("annotation", PLAIN, ids=str)
@settings(max_examples=500)
@given(value=json_values)
def test_the_fast_way_agrees_with_pydantic_at_length(annotation: Any, value: object) -> None:
    agree(annotation, value)


def agree(annotation: Any, value: object) -> None:
    written = encode(value)
    assert outcome(codec_for(annotation).load, written) == outcome(ModelCodec[Any](annotation, "payload").load, written)


def outcome(load: Any, written: str) -> object:
    if "\\ud" in written:  # pydantic cannot read lone surrogates, which is why they go another way
        return None
    try:
        return repr(load(written))
    except PayloadInvalid as error:
        return str(error)


@pytest.mark.parametrize(
    ("annotation", "given", "written"),
    [
        (User, {"id": "1", "email": "a"}, '{"id":1,"email":"a","score":null}'),
        (User, ada, '{"id":1,"email":"ada@example.com","score":null}'),
        (Strict, {"userName": "Ada"}, '{"user_name":"Ada"}'),
        (Strict, {"user_name": "Ada"}, '{"user_name":"Ada"}'),
        (list[User], ({"id": 1, "email": "a"},), '[{"id":1,"email":"a","score":null}]'),
        (Point, {"x": 5}, '{"x":5,"blob":""}'),
        (int, "5", "5"),
        (int, 5.0, "5"),
        (float, 5, "5.0"),
        (list[int], ("1", 2), "[1,2]"),
        (datetime.date, "2027-01-01", '"2027-01-01"'),
        (Colour, "red", '"red"'),
        (None, ada, '{"id":1,"email":"ada@example.com","score":null}'),
    ],
)
def test_a_callers_value_is_converted(annotation: Any, given: object, written: str) -> None:
    assert codec_for(annotation).dump_checked(given) == written


@pytest.mark.parametrize(
    ("annotation", "given", "problems"),
    [
        (User, "x", ("Input should be a valid dictionary or instance of User, not a str",)),
        (User, {"id": 1}, ("email: Field required",)),
        (
            User,
            {"id": None, "email": 5},
            ("id: Input should be a valid integer, not None", "email: Input should be a valid string, not 5"),
        ),
        (list[User], [ada, {"id": 1}], ("1.email: Field required",)),
        (int, "x", ("Input should be a valid integer, unable to parse string as an integer, not a str",)),
        (str, 5, ("Input should be a valid string, not 5",)),
        (Strict, {"userName": "a", "more": 1}, ("more: Extra inputs are not permitted",)),
        (ExplodingValidator, {"name": "hush"}, ("KeyError: 'hush'",)),
        (Annotated[int, Field(gt=0)], -1, ("Input should be greater than 0, not -1",)),
    ],
)
def test_a_callers_value_that_does_not_fit_is_refused(
    annotation: Any, given: object, problems: tuple[str, ...]
) -> None:
    with pytest.raises(PayloadInvalid) as caught:
        codec_for(annotation).dump_checked(given)
    assert caught.value.problems == problems


def test_the_message_says_what_does_not_fit() -> None:
    with pytest.raises(PayloadInvalid) as caught:
        codec_for(User).load('{"id": "x"}')
    assert str(caught.value) == (
        "The payload does not fit User (id: Input should be a valid integer, unable to parse string as an integer, "
        "not a str; email: Field required). Make it fit the annotation."
    )


def test_a_long_list_of_problems_is_cut() -> None:
    with pytest.raises(PayloadInvalid, match=r"and 7 more\)") as caught:
        codec_for(list[int], role="output").load(json.dumps(["x"] * 10))
    assert len(caught.value.problems) == 10
    assert str(caught.value).startswith("The output does not fit list[int] (0: ")


def test_a_refusal_does_not_tell_the_text_it_was_given() -> None:
    with pytest.raises(PayloadInvalid) as caught:
        codec_for(Annotated[str, Field(max_length=3)]).dump_checked("hush-hush")
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "written", ["", "{", "NaN", '{"id": 1, "email": "a", "score": NaN}', "[Infinity]", "nul", "[" * 50_000]
)
@pytest.mark.parametrize("annotation", [int, float, User, list[float], dict[str, Any], None], ids=str)
def test_text_that_is_no_json_is_refused_by_every_codec(annotation: Any, written: str) -> None:
    with pytest.raises(PayloadInvalid):
        codec_for(annotation).load(written)


def test_text_that_speaks_of_nan_is_no_nan() -> None:
    assert codec_for(list[User]).load('[{"id":1,"email":"NaN to Infinity"}]')[0].email == "NaN to Infinity"


@pytest.mark.parametrize(
    ("annotation", "value", "complaint"),
    [
        (float, float("nan"), "NaN and infinity"),
        (list[float], [float("inf")], "NaN and infinity"),
        (User, User(id=1, email="", score=float("nan")), "NaN and infinity"),
        (set[float], {float("nan")}, "NaN and infinity"),
        (Loose, Loose(anything=object()), "cannot be written as Loose"),
        (Loose, Loose(anything=10**5000), "more than 4300 digits"),
        (User, User.model_construct(id=1, email="\ud800"), "surrogates not allowed"),
        (User, User.model_construct(id="x", email="a"), "Expected int, found something else"),
        (User, {"id": 1, "email": "a"}, "Expected User, found something else"),
        (list[User], [Row], "0: Input should be a valid dictionary or instance of User"),
        (int, "5", "should be a valid integer, not a str"),
        (list[int], 5, "cannot be written as list"),
        (RawBytes, RawBytes(content=b"\xff"), "invalid utf-8"),
        (ExplodingSerializer, ExplodingSerializer(name="x"), "cannot be written as ExplodingSerializer"),
        (User, Unprintable(), "cannot be written as User"),
    ],
)
def test_dump_refuses_what_would_not_come_back(annotation: Any, value: object, complaint: str) -> None:
    with pytest.raises(NotSerializable, match=complaint) as caught:
        codec_for(annotation).dump(value)
    assert caught.value.do


def test_a_model_with_bytes_is_told_how_to_write_them() -> None:
    with pytest.raises(NotSerializable, match="ser_json_bytes"):
        codec_for(RawBytes).dump(RawBytes(content=b"\xff"))


def test_an_annotation_that_pydantic_cannot_read_is_refused() -> None:
    with pytest.raises(InvalidTask, match="Unprintable cannot be turned into JSON"):
        codec_for(Unprintable)


def test_a_model_that_names_what_is_nowhere_is_refused() -> None:
    with pytest.raises(InvalidTask, match=r"Unfinished cannot be turned into JSON.*NowhereDefined"):
        codec_for(pydantic.create_model("Unfinished", part="NowhereDefined"))


@pytest.mark.parametrize(
    ("annotation", "has"),
    [(User, {"id", "email", "score"}), (Point, {"x", "blob"}), (Row, {"at", "blob"}), (None, None), (Any, None)],
)
def test_a_schema_names_the_fields(annotation: Any, has: set[str] | None) -> None:
    found = schema(annotation)
    assert (set(found["properties"]) if found else None) == has


def test_a_schema_that_cannot_be_said_is_none() -> None:
    assert schema(int) == {"type": "integer"}
    assert schema(pydantic.InstanceOf[Unprintable]) is None


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_are_exact(number: float) -> None:
    read = codec_for(float).load(codec_for(float).dump(number))
    assert (read, math.copysign(1, read)) == (number, math.copysign(1, number))


@pytest.mark.parametrize("annotation", [int, list[int], dict[str, float]])
def test_text_with_a_lone_surrogate_is_no_number(annotation: Any) -> None:
    value: Any = {int: "a\ud800", list[int]: ["a\ud800"]}.get(annotation, {"a": "\ud800"})
    with pytest.raises(PayloadInvalid):
        codec_for(annotation).dump_checked(value)
