"""Secrets in payloads and outputs: what is stored, what the task gets, what people are shown."""

from __future__ import annotations

import dataclasses
import json
import re
from datetime import date
from typing import Annotated, Any, Literal

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, Json, SecretBytes, SecretStr
from typing_extensions import TypedDict

from holdfast import NotSerializable, PayloadInvalid, Secret, codec
from holdfast.codec import AnyCodec, codec_for, decode, encode, masked
from holdfast.secret import KEY, STARS, Scrubber, back_again, masked_url, opened, sealed_by, secrets_in, values

HUNTER = "hunter2"


class Inner(BaseModel):
    token: SecretStr
    name: str = "plain"


class Login(BaseModel):
    user: str
    password: SecretStr
    pin: Annotated[int, Secret] = 0
    key: SecretBytes = SecretBytes(b"")
    born: pydantic.Secret[date] | None = None
    inner: list[Inner] = []
    by_name: dict[str, SecretStr] = {}
    either: Inner | SecretStr | None = None
    anything: Any = None


@dataclasses.dataclass
class Card:
    number: Annotated[str, Secret]
    holder: str = "Ada"


class Typed(TypedDict):
    token: Annotated[str, Secret]


class Aliased(BaseModel):
    password: SecretStr = Field(alias="passWord")


class Utf8(BaseModel):
    model_config = ConfigDict(ser_json_bytes="utf8", val_json_bytes="utf8")
    key: SecretBytes


class Base64(BaseModel):
    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
    key: SecretBytes


FULL = Login(
    user="ada",
    password=SecretStr(HUNTER),
    pin=4711,
    key=SecretBytes(b"\x00raw"),
    born=pydantic.Secret(date(1815, 12, 10)),
    inner=[Inner(token=SecretStr("deep"))],
    by_name={"a": SecretStr("in a dict")},
    either=SecretStr("in a union"),
    anything={"x": [SecretStr("in anything")]},
)
CASES: list[tuple[Any, Any]] = [
    (SecretStr, SecretStr(HUNTER)),
    (SecretBytes, SecretBytes(b"\xff\x00")),
    (Annotated[str, Secret], HUNTER),
    (Annotated[str, Secret()], HUNTER),
    (list[SecretStr], [SecretStr("a"), SecretStr("b")]),
    (dict[str, Annotated[int, Secret]], {"a": 12345}),
    (tuple[str, SecretStr], ("a", SecretStr("b"))),
    (set[SecretStr], {SecretStr("a"), SecretStr("b")}),
    (Annotated[list[str], Secret], ["a", "b"]),
    (Annotated[Inner, Secret], Inner(token=SecretStr("x"))),
    (Annotated[bytes, Secret], b"\xff"),
    (Card, Card("4111")),
    (list[Card], [Card("4111"), Card("5500")]),
    (Typed, {"token": "t"}),
    (Aliased, Aliased(passWord=SecretStr("p"))),
    (Utf8, Utf8(key=SecretBytes(b"abcd"))),
    (Base64, Base64(key=SecretBytes(b"abcd\xff"))),
    (Inner | Card, Inner(token=SecretStr("x"))),
]
NAMES = [re.sub(r" object at \w+", "", str(annotation)) for annotation, _ in CASES]  # the same in every process


@pytest.mark.parametrize(("annotation", "value"), CASES, ids=NAMES)
def test_the_task_gets_the_value_and_people_get_stars(annotation: Any, value: Any) -> None:
    form = codec_for(annotation)
    for text in (form.dump(value), form.dump_checked(value)):
        assert KEY in text
        assert form.load(text) == value
        assert STARS in json.dumps(masked(text))
        assert KEY not in json.dumps(masked(text))
        again = form.dump(form.load(text))
        assert form.load(again) == value


def test_secrets_everywhere_in_a_model() -> None:
    form = codec_for(Login)
    text = form.dump(FULL.model_copy(update={"key": SecretBytes(b"raw!"), "anything": None}))
    back = form.load(text)
    assert back.password.get_secret_value() == HUNTER
    assert (back.pin, back.key.get_secret_value()) == (4711, b"raw!")
    assert masked(text) == {
        "user": "ada",
        "password": STARS,
        "pin": STARS,
        "key": STARS,
        "born": STARS,
        "inner": [{"token": STARS, "name": "plain"}],
        "by_name": {"a": STARS},
        "either": STARS,
        "anything": None,
    }
    assert sorted(values(decode(text))) == sorted(
        [HUNTER, "4711", "raw!", "1815-12-10", "deep", "in a dict", "in a union"]
    )


def test_a_secret_in_a_field_of_any_type_is_hidden_and_reaches_the_task_as_text() -> None:
    form = codec_for(Login)
    text = form.dump(Login(user="a", password=SecretStr("b"), anything={"x": [SecretStr("in anything")]}))
    assert masked(text)["anything"] == {"x": [STARS]}
    assert form.load(text).anything == {"x": ["in anything"]}


def test_a_payload_that_was_written_plainly_is_read_as_well() -> None:
    back = codec_for(Login).load('{"user":"ada","password":"hunter2","pin":1}')
    assert (back.password.get_secret_value(), back.pin) == (HUNTER, 1)


@given(st.text())
def test_any_text_is_kept(value: str) -> None:
    form = codec_for(SecretStr)
    try:
        text = form.dump(SecretStr(value))
    except NotSerializable:  # two surrogates in a row, as everywhere
        return
    assert form.load(text) == SecretStr(value)


@pytest.mark.parametrize("annotation", [str, list[str], dict[str, Any], Any, Inner])
def test_stars_of_the_users_own_are_stars(annotation: Any) -> None:
    value: Any = {str: STARS, list[str]: [STARS], Inner: Inner(token=SecretStr("x"), name=STARS)}.get(
        annotation, {"a": STARS}
    )
    form = codec_for(annotation)
    assert form.load(form.dump(value)) == value


def test_a_secret_whose_value_is_stars_or_nothing() -> None:
    form = codec_for(Inner)
    for token in (STARS, ""):
        assert form.load(form.dump(Inner(token=SecretStr(token)))).token.get_secret_value() == token


def test_what_would_come_back_as_stars_is_refused() -> None:
    class Hidden(BaseModel):
        inside: Json[Inner]

    value = Hidden(inside='{"token":"hunter2"}')  # type: ignore[arg-type]
    with pytest.raises(NotSerializable, match="has a secret that cannot be kept as") as caught:
        codec_for(Hidden).dump(value)
    assert HUNTER not in str(caught.value)


# -- without a type ---------------------------------------------------------------------------------------------------


def test_without_annotation_secrets_are_sealed_in_payloads_and_stars_elsewhere() -> None:
    value = {"a": SecretStr(HUNTER), "m": Inner(token=SecretStr("deep")), "c": Card("4111"), "b": SecretBytes(b"raw")}
    text = AnyCodec().dump(value)
    assert AnyCodec().load(text) == {
        "a": HUNTER,
        "m": {"token": "deep", "name": "plain"},
        "c": {"number": "4111", "holder": "Ada"},  # nothing tells that this one is a secret
        "b": "raw",
    }
    assert AnyCodec(shows=True).load(text)["m"]["token"] == STARS
    assert decode(encode({"a": SecretStr(HUNTER), "m": value["m"]})) == {
        "a": STARS,
        "m": {"token": STARS, "name": "plain"},
    }


# -- by a schema ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("annotation", "value"), CASES, ids=NAMES)
def test_a_plain_payload_is_sealed_by_the_schema_of_its_task(annotation: Any, value: Any) -> None:
    form = codec_for(annotation)
    text = form.dump(value)
    plain = codec._opened(text)
    schema = form.schema()
    assert schema is not None
    sealed = sealed_by(schema, decode(plain))
    assert codec.secret.masked(sealed) == masked(text)
    assert form.load(encode(sealed)) == value


class Cat(BaseModel):
    kind: Literal["cat"]
    name: SecretStr


class Dog(BaseModel):
    kind: Literal["dog"]
    name: str
    puppies: list[Dog] = []
    chip: SecretStr | None = None


def test_unions_references_and_circles_in_schemas() -> None:
    schema = codec_for(list[Annotated[Cat | Dog, Field(discriminator="kind")]]).schema()
    assert schema is not None
    value = [
        {"kind": "cat", "name": "x"},
        {"kind": "dog", "name": "y", "chip": None, "puppies": [{"kind": "dog", "name": "z", "chip": "c"}]},
    ]
    shown = codec.secret.masked(sealed_by(schema, value))
    assert shown[0] == {"kind": "cat", "name": STARS}
    assert shown[1]["puppies"][0]["chip"] == STARS
    assert shown[1]["chip"] is None


def test_a_schema_tells_no_value_of_a_secret() -> None:
    class Defaults(BaseModel):
        pin: Annotated[str, Secret] = "default-pin"
        mode: Annotated[Literal["secret-mode"], Secret] = "secret-mode"
        token: Annotated[str, Secret, Field(examples=["example-token"])] = "x"

    text = json.dumps(codec_for(Defaults).schema())
    assert not [each for each in ("default-pin", "secret-mode", "example-token") if each in text]
    assert codec_for(Defaults).load("{}").pin == "default-pin"


# -- errors -----------------------------------------------------------------------------------------------------------


class Strict(BaseModel):
    pin: Annotated[int, Secret] = Field(ge=100_000)
    password: SecretStr = Field(min_length=20)
    card: Annotated[Literal["a"], Secret] = "a"


@pytest.mark.parametrize("how", ["dump_checked", "load"])
def test_an_error_does_not_tell_the_value_nor_does_what_caused_it(how: str) -> None:
    bad = {"pin": 4711, "password": HUNTER, "card": HUNTER}
    with pytest.raises(PayloadInvalid) as caught:
        getattr(codec_for(Strict), how)(bad if how == "dump_checked" else json.dumps(bad))
    error: BaseException | None = caught.value
    while error is not None:
        assert HUNTER not in str(error)
        assert "4711" not in str(error)
        error = error.__cause__ or error.__context__
    assert len(caught.value.problems) == 3


def test_an_output_that_does_not_fit_does_not_tell_it_either() -> None:
    with pytest.raises(NotSerializable) as caught:
        codec_for(Card, role="output").dump(Card(number=4711))  # type: ignore[arg-type]
    assert "4711" not in str(caught.value)
    with pytest.raises(NotSerializable) as caught:
        codec_for(Card, role="output").dump([HUNTER])  # type: ignore[arg-type]
    assert HUNTER not in str(caught.value)


# -- what is said -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        (HUNTER, "password hunter2 refused"),
        ("p@ss/word", "postgresql://ada:p%40ss%2Fword@db"),
        ("two\nlines", "ValueError('two\\nlines')"),
        ('quo"ted', '{"password": "quo\\"ted"}'),
        ("schlüssel", "json: schl\\u00fcssel"),
    ],
)
def test_a_secret_is_taken_out_however_it_is_written(secret: str, said: str) -> None:
    scrubbed = Scrubber([secret]).text(said)
    assert STARS in scrubbed
    assert secret not in scrubbed
    assert Scrubber([secret]).value({said: [said, 5, None]}) == {scrubbed: [scrubbed, 5, None]}


def deep(value: Any) -> Any:
    for _ in range(5_000):
        value = [{"a": value}]
    return value


def bottom(value: Any) -> Any:
    for _ in range(5_000):
        value = value[0]["a"]
    return value


def test_a_secret_is_found_however_deep_it_lies() -> None:
    sealed = deep({KEY: HUNTER})
    assert bottom(opened(sealed)) == HUNTER
    assert list(values(sealed)) == [HUNTER]
    assert bottom(back_again(deep(STARS), sealed)) == {KEY: HUNTER}
    assert bottom(back_again(deep("another"), sealed)) == "another"
    assert bottom(Scrubber([HUNTER]).value(deep(f"is {HUNTER}"))) == f"is {STARS}"
    assert opened({"a": [1, {KEY: 2}, "x"], "b": {}}) == {"a": [1, 2, "x"], "b": {}}


def test_stars_get_their_secrets_back_where_they_stood() -> None:
    earlier = {"a": [{KEY: 1}, {KEY: {"b": STARS}}, "x"], "c": {KEY: "c"}}
    assert back_again({"a": [STARS, STARS, STARS], "c": "new", "d": STARS}, earlier) == {
        "a": [{KEY: 1}, {KEY: {"b": STARS}}, STARS],
        "c": "new",
        "d": STARS,
    }
    assert back_again({"a": [STARS], "c": [STARS]}, earlier) == {"a": [STARS], "c": [STARS]}
    assert back_again(STARS, {KEY: "all"}) == {KEY: "all"}


def test_short_texts_are_left_and_longer_secrets_go_first() -> None:
    assert not Scrubber(["abc", ""])
    assert Scrubber(["abc"]).text("abcdef") == "abcdef"
    assert Scrubber(["abcd", "abcdefgh"]).text("abcdefgh abcd") == f"{STARS} {STARS}"
    assert Scrubber(["4711"]).value({"n": 4711, "m": 47, "b": True}) == {"n": STARS, "m": 47, "b": True}


def test_a_model_dumped_by_its_owner_is_as_pydantic_has_it() -> None:
    assert Card.__pydantic_fields__ if hasattr(Card, "__pydantic_fields__") else True
    assert pydantic.TypeAdapter(Card).dump_json(Card("4111")) == b'{"number":"4111","holder":"Ada"}'
    assert Inner(token=SecretStr("x")).model_dump_json() == f'{{"token":"{STARS}","name":"plain"}}'.encode().decode()


# -- headers and URLs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://example.com/a?b=c", "https://example.com/a?b=c"),
        ("https://ada:pw@example.com/a", "https://*@example.com/a"),
        ("https://x/a?token=s3cret&b=c#key=s3cret", "https://x/a?token=*&b=c#key=*"),
        ("https://x/?X-Amz-Signature=s3cret&X-Amz-Date=1", "https://x/?X-Amz-Signature=*&X-Amz-Date=1"),
        ("https://x/?sig=s3cret&se=2026", "https://x/?sig=*&se=2026"),
        ("https://x/?api%5Fkey=s3cret&API_KEY=s3cret", "https://x/?api%5Fkey=*&API_KEY=*"),
        ("/login?password=s3cret", "/login?password=*"),
        ("https://x/?monkey=1&keys=2&token", "https://x/?monkey=1&keys=2&token"),
        ("https://x/?a=b@c&d=e", "https://x/?a=b@c&d=e"),
        ("", ""),
    ],
)
def test_a_url_is_shown_without_credentials(url: str, shown: str) -> None:
    assert masked_url(url) == shown.replace("*", STARS)


def test_only_what_is_long_enough_is_taken_out_elsewhere() -> None:
    url = "https://x/?code=200&token=0123456789abcdef%2B"
    headers = {"Authorization": "Bearer 0123456789abcdef", "X-Session": "dev", "Accept": "application/json; q=0.123"}
    assert secrets_in(url, headers) == ["0123456789abcdef+", "Bearer 0123456789abcdef", "0123456789abcdef"]
