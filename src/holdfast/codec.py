"""Payloads and outputs to JSON text and back.

An annotation is looked at once (``codec_for``) and becomes one of three codecs:

    AnyCodec      unannotated, Any, None       what JSON can say, and nothing is guessed
    PlainCodec    str, list[int], …            checked by msgspec, which is faster; what that refuses, pydantic
    ModelCodec    everything else              decides and explains

Secrets are sealed in the text (see ``secret``): ``load`` opens them, `masked` shows stars.

The text fits any TEXT column: no raw NUL, no raw surrogate. What JSON cannot say (NaN, an object of some class, a list
in itself) is refused here with ``NotSerializable``: a value that comes back as another one is worse than an error.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import datetime
import decimal
import enum
import functools
import inspect
import ipaddress
import pathlib
import re
import types
import typing
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, TypeVar

import msgspec
import pydantic
import pydantic_core
from typing_extensions import TypeAliasType

from holdfast import secret
from holdfast.errors import InvalidTask, NotSerializable, PayloadInvalid, shown
from holdfast.jsontext import decode, json_encoder, said, unknown, written

__all__ = [
    "AnyCodec",
    "Codec",
    "ModelCodec",
    "PlainCodec",
    "codec_for",
    "decode",
    "encode",
    "masked",
    "schema",
    "secrets_of",
]

T = TypeVar("T")

# -- untyped ----------------------------------------------------------------------------------------------------------

_AS_PYDANTIC_WRITES_IT: Final = (
    datetime.date,
    datetime.time,
    datetime.timedelta,
    decimal.Decimal,
    uuid.UUID,
    pathlib.PurePath,
    ipaddress.IPv4Address,
    ipaddress.IPv6Address,
)
_ESCAPED_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")
_STARS: Final = secret.STARS.encode()


def encode(value: object, *, seal: bool = False) -> str:
    """``value`` as JSON text. Dates, UUIDs, Decimals and the like become text, models and dataclasses become objects,
    and secrets stars; or, with ``seal``, what `AnyCodec.load` opens again.

    Raises:
        NotSerializable: NaN and infinity, bytes, instances of other classes, a value that contains itself.

    >>> encode({"name": "Ada", "at": datetime.date(2027, 1, 1)})
    '{"name":"Ada","at":"2027-01-01"}'
    """
    return "null" if value is None else written(value, _sealing_encoder if seal else _encoder)


def masked(text: str, *, payload: str = "null") -> Any:
    """The value of a JSON text as it may be shown: with stars for its secrets, and for those of its run's ``payload``
    wherever they have got to."""
    value = decode(text)
    shown = secret.masked(value) if secret.KEY in text else value
    return secret.Scrubber(secrets_of(payload)).value(shown) if secret.KEY in payload else shown


def secrets_of(payload: str) -> list[str]:
    """The texts of the secrets in a payload."""
    return list(secret.values(decode(payload))) if secret.KEY in payload else []


def _opened(text: str) -> str:
    """A JSON text with the values of its secrets."""
    return encode(secret.opened(decode(text))) if secret.KEY in text else text


def _default(value: object) -> object:
    match value:
        case pydantic.BaseModel():
            return value.model_dump(mode="json", by_alias=False, round_trip=True)
        case pydantic.SecretStr() | pydantic.SecretBytes() | pydantic.Secret():
            return secret.STARS
        case _ if isinstance(value, _AS_PYDANTIC_WRITES_IT):
            return pydantic_core.to_jsonable_python(value)
        case enum.Enum():
            return value.value
        case set() | frozenset():
            return sorted(value, key=encode)  # a set has no order, and its text should not change between processes
        case Mapping():
            return dict(value)
        case msgspec.Struct():
            return msgspec.structs.asdict(value)
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    return unknown(value)


def _sealing_default(value: object) -> object:
    match value:
        case pydantic.BaseModel():
            return _sealed(value.model_dump)
        case pydantic.SecretStr() | pydantic.SecretBytes() | pydantic.Secret():
            return secret.seal(_plain(value.get_secret_value()))
    return _default(value)


def _sealed(dump: Callable[..., Any], text_of: Callable[[bytes], str] | None = None) -> Any:
    """What pydantic dumps as JSON, with its secrets sealed."""
    written = dump(mode="json", by_alias=False, round_trip=True, warnings=False, context=secret.SEALING)
    real = dump(mode="python", by_alias=False, round_trip=True, warnings=False, context=secret.SEALING)
    return secret.revealed(written, real, functools.partial(_plain, text_of=text_of))


def _plain(value: Any, text_of: Callable[[bytes], str] | None = None) -> Any:
    """The value of a secret as JSON."""
    if isinstance(value, bytes):
        return (text_of or bytes.decode)(value)
    return pydantic_core.to_jsonable_python(value)


_encoder: Final = json_encoder(_default)
_sealing_encoder: Final = json_encoder(_sealing_default)


# -- typed ------------------------------------------------------------------------------------------------------------


class Codec(Generic[T]):
    """Writes and reads the values of one annotation.

    ``dump`` takes values of the annotated type and no others; ``dump_checked`` also takes what pydantic would convert
    (a dict for a model, ``"5"`` for an int), and is for values that come from a caller.
    """

    def dump(self, value: T) -> str:
        """JSON text. Raises NotSerializable."""
        raise NotImplementedError

    def dump_checked(self, value: object) -> str:
        """JSON text of the value, converted to the annotation. Raises PayloadInvalid or NotSerializable."""
        raise NotImplementedError

    def load(self, text: str) -> T:
        """The value of a JSON text. Raises PayloadInvalid, which says field by field what does not fit."""
        raise NotImplementedError

    def schema(self) -> dict[str, Any] | None:
        """The JSON schema of the annotation, or None if it has none (anything goes, or JSON schema cannot say it)."""
        raise NotImplementedError


class AnyCodec(Codec[Any]):
    """No annotation: what JSON can say. ``shows`` is for readers that are no task: they get stars for secrets."""

    def __init__(self, *, shows: bool = False) -> None:
        self.shows = shows

    def dump(self, value: Any) -> str:
        return encode(value, seal=True)

    def dump_checked(self, value: object) -> str:
        return encode(value, seal=True)

    def load(self, text: str) -> Any:
        return masked(text) if self.shows else decode(_opened(text))

    def schema(self) -> dict[str, Any] | None:
        return None


class ModelCodec(Codec[T]):
    """Whatever pydantic understands.

    Text is written under the fields' own names and read under names and aliases alike, without computed fields, so that
    what was written can be read: a model with ``alias=`` or ``extra="forbid"`` makes a round trip without more ado.
    """

    def __init__(self, annotation: Any, role: str) -> None:
        adapter: pydantic.TypeAdapter[T] = _adapter(annotation)
        # The adapter's own methods do no more than this, in twice the time.
        self._write = adapter.serializer.to_json
        self._write_builtins = adapter.serializer.to_python
        self._check = adapter.validator.validate_python
        self._read = adapter.validator.validate_json
        self._adapter = adapter
        self._name = _name(annotation)
        self._role = role
        self._marked = _mentions(adapter.core_schema, secret.write)
        self._context = secret.SEALING if self._marked else None

    def dump(self, value: T) -> str:
        try:
            # Else pydantic writes any object at all as a model, by the attributes that it happens to have.
            self._check(value, strict=True, by_alias=True, by_name=True)
        except Exception as error:
            raise self._unwritable(value, error) from error
        return self._text(value)

    def dump_checked(self, value: object) -> str:
        try:
            checked = self._check(value, by_alias=True, by_name=True)
        except Exception as error:
            raise self._misfit(error) from error
        return self._text(checked)

    def load(self, text: str) -> T:
        if "NaN" in text or "Infinity" in text:
            decode(text)  # pydantic would take them for floats
        try:
            return typing.cast(T, self._read(_opened(text), by_alias=True, by_name=True))
        except Exception as error:
            raise self._misfit(error) from error

    def schema(self) -> dict[str, Any] | None:
        try:
            schema = self._adapter.json_schema()
            if "writeOnly" in str(schema) and (by_name := self._adapter.json_schema(by_alias=False)) != schema:
                schema["x-holdfast-by-name"] = [by_name]  # what is stored has the fields' own names
        except pydantic.errors.PydanticInvalidForJsonSchema:
            return None
        return typing.cast("dict[str, Any]", secret.without_examples(schema))

    def _text(self, value: Any) -> str:
        try:
            raw = self._write(value, by_alias=False, round_trip=True, warnings="error", context=self._context)
        except Exception as error:  # pydantic's own, and whatever a serializer of the user's raises
            raise self._unwritable(value, error) from error
        if _may_hide_a_loss(raw):
            encode(self._write_builtins(value, mode="json", by_alias=False, round_trip=True, warnings=False))
        return self._with_secrets(value, raw.decode()) if _STARS in raw else raw.decode()

    def _with_secrets(self, value: Any, raw: str) -> str:
        """The text with the secrets in it that pydantic writes as stars; ``raw`` if the stars are the user's own.

        It has to come back the same, which it does not where pydantic writes JSON as text inside JSON, for one.
        """
        for text_of in (_base64, bytes.decode):  # which of them a model's bytes are, is a matter of its configuration
            with contextlib.suppress(UnicodeDecodeError, PayloadInvalid, pydantic_core.PydanticSerializationError):
                text = self._sealed_text(value, text_of)
                back = self.load(text)
                whole = secret.STARS not in text or _same(back, value)
                if whole and _opened(self._sealed_text(back, text_of)) == _opened(text):
                    return text if secret.KEY in text else raw
        raise NotSerializable(
            f"The {self._role} has a secret that cannot be kept as {self._name}",
            seen=type(value).__qualname__,
            do="Let the secret be a field of a model: what writes a part of it as text hides it from Holdfast.",
        )

    def _sealed_text(self, value: Any, text_of: Callable[[bytes], str]) -> str:
        return encode(_sealed(functools.partial(self._write_builtins, value), text_of))

    def _unwritable(self, value: object, error: Exception) -> NotSerializable:
        return NotSerializable(
            f"The {self._role} cannot be written as {self._name}: {_reason(error)}",
            seen=type(value).__qualname__ if self._marked else shown(value),
            do=_hint(error) or "Make it fit the annotation.",
        )

    def _misfit(self, error: Exception) -> PayloadInvalid:
        problems = _problems(error, hide=self._marked)
        more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
        return PayloadInvalid(
            f"The {self._role} does not fit {self._name}",
            seen="; ".join(problems[:3]) + more,
            do="Make it fit the annotation.",
            problems=problems,
        )


class PlainCodec(Codec[T]):
    """Types that are JSON's own, where msgspec and pydantic agree on all that msgspec accepts.

    What msgspec refuses is not wrong yet (pydantic takes ``"5"`` for an int): it goes on to pydantic, which decides.
    """

    def __init__(self, annotation: Any, role: str) -> None:
        self._type = annotation
        self._decode: Any = msgspec.json.Decoder(annotation).decode
        self._role = role

    @functools.cached_property
    def _pydantic(self) -> ModelCodec[T]:
        return ModelCodec(self._type, self._role)

    def dump(self, value: T) -> str:
        try:
            return encode(msgspec.convert(value, self._type))
        except (msgspec.ValidationError, UnicodeError):  # text with a lone surrogate, where a number was wanted
            return self._pydantic.dump(value)

    def dump_checked(self, value: object) -> str:
        try:
            return encode(msgspec.convert(value, self._type))
        except (msgspec.ValidationError, UnicodeError):
            return self._pydantic.dump_checked(value)

    def load(self, text: str) -> T:
        text = _opened(text)
        try:
            return typing.cast(T, self._decode(text))
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return self._load_slowly(text)

    def schema(self) -> dict[str, Any] | None:
        return self._pydantic.schema()

    def _load_slowly(self, text: str) -> T:
        if _ESCAPED_SURROGATE.search(text):
            try:
                return typing.cast(T, msgspec.convert(decode(text), self._type))
            except msgspec.ValidationError:
                pass
        return self._pydantic.load(text)


def codec_for(annotation: Any, *, role: str = "payload") -> Codec[Any]:
    """The codec of an annotation; none, ``Any`` and ``None`` mean that any JSON will do.

    Make it once and keep it: one for a model takes as long to make as thousands of payloads. ``role`` is what messages
    call the value, say ``"output"``.

    Raises:
        InvalidTask: pydantic does not understand the annotation.

    >>> codec_for(list[int]).load("[1, 2]")
    [1, 2]
    """
    if annotation in (None, types.NoneType, inspect.Parameter.empty, Any, object):
        return AnyCodec()
    return PlainCodec(annotation, role) if _is_plain(annotation) else ModelCodec(annotation, role)


def schema(annotation: Any) -> dict[str, Any] | None:
    """The JSON schema of an annotation, or None if it has none."""
    return codec_for(annotation).schema()


# -- what an annotation says ------------------------------------------------------------------------------------------


def _is_plain(annotation: Any) -> bool:
    if annotation in (str, int, float, bool):
        return True
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is list:
        return _is_plain_inside(arguments[0])
    if origin is dict:
        return arguments[0] is str and _is_plain_inside(arguments[1])
    if origin in (typing.Union, types.UnionType):  # only X | None: which member of another union fits is pydantic's art
        return len(arguments) == 2 and types.NoneType in arguments and any(map(_is_plain, arguments))
    return False


def _is_plain_inside(annotation: Any) -> bool:
    return annotation is Any or _is_plain(annotation)


def _adapter(annotation: Any) -> pydantic.TypeAdapter[Any]:
    try:
        # The alias is there because pydantic takes no config for a bare dataclass or TypedDict. Models keep their own.
        alias: Any = TypeAliasType("alias", annotation)  # pyright: ignore[reportGeneralTypeIssues]
        # Input is hidden since errors are stored, logged and shown with those that caused them.
        config = pydantic.ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", hide_input_in_errors=True)
        adapter = pydantic.TypeAdapter(alias, config=config)
        if not adapter.pydantic_complete:
            adapter.rebuild()  # raises, and says which name is not there
        return adapter
    except Exception as error:  # pydantic's several, and what evaluating a forward reference may raise
        raise InvalidTask(
            f"The annotation {_name(annotation)} cannot be turned into JSON and back: {said(error)}",
            seen=shown(annotation),
            do="Use a pydantic model, a dataclass, a TypedDict or plain types.",
        ) from error


def _mentions(schema: Any, wanted: object) -> bool:
    """Whether something stands anywhere in a core schema."""
    left, seen = [schema], set[int]()
    while left:
        each = left.pop()
        if each is wanted:
            return True
        if isinstance(each, dict | list | tuple) and id(each) not in seen:
            seen.add(id(each))
            left += each.values() if isinstance(each, dict) else each
    return False


def _same(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except Exception:  # whatever a class of the user's makes of it
        return False


def _base64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode()


def _name(annotation: Any) -> str:
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return annotation.__qualname__
    return re.sub(r"\b(?:typing|builtins|__main__)\.", "", shown(annotation))


# -- what pydantic says -----------------------------------------------------------------------------------------------


def _may_hide_a_loss(raw: bytes) -> bool:
    # pydantic writes NaN as null (or, if the model says so, as a bare NaN), and integers too long to be read again.
    return b"null" in raw or b"NaN" in raw or b"Infinity" in raw or len(raw) > 4300


def _problems(error: Exception, *, hide: bool = False) -> tuple[str, ...]:
    """What does not fit, a line for each; ``hide`` shows no value at all."""
    if not isinstance(error, pydantic.ValidationError):
        return (said(error),)
    found = error.errors(include_url=False, include_context=False)
    return tuple(_problem(each["loc"], each["msg"], "" if hide else each["input"]) for each in found)


def _problem(place: tuple[int | str, ...], message: str, value: object) -> str:
    where = f"{'.'.join(map(str, place))}: " if place else ""
    return f"{where}{message}, not {_kind(value)}" if message.startswith("Input should be") else f"{where}{message}"


def _kind(value: object) -> str:
    """What was given, without its text: it may be a password, and errors are stored, logged and shown."""
    if value is None or isinstance(value, bool | int | float):
        return shown(value, 40)
    return f"a {type(value).__qualname__}"


def _reason(error: Exception) -> str:
    if isinstance(error, pydantic.ValidationError):
        return "; ".join(_problems(error)[:3])
    text = said(error)
    if text.endswith("serializer warnings:"):  # a heading; what matters stands in the lines below it
        found = re.search(r"Expected `[^`]*`", str(error))
        return f"{found[0].replace('`', '')}, found something else" if found else text
    return text


def _hint(error: Exception) -> str | None:
    if "utf-8 sequence" in str(error):
        return 'Say how the model writes bytes: ConfigDict(ser_json_bytes="base64", val_json_bytes="base64").'
    return None
