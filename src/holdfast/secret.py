"""Secrets: values that reach the task, and that nobody is shown.

    class Login(BaseModel):
        user: str
        password: SecretStr                   pydantic's, or
        pin: Annotated[str, Secret]           any type, which the task gets as it is

As JSON a secret is *sealed*: ``{"holdfast:secret": "hunter2"}`` stands in the place of ``"hunter2"``. So whoever shows
a payload knows what to hide, without the code of the task and whatever became of its model since. `opened` gives the
values to the task, `masked` gives stars to everybody else, and `Scrubber` takes the values out of what the task says.
Everything here is a function of decoded JSON.

What is not sealed yet (a payload written in SQL, or by name) is sealed by the JSON schema of its task: pydantic marks
secrets in it as ``writeOnly``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote_plus

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic_core import CoreSchema

__all__ = [
    "KEY",
    "SEALING",
    "STARS",
    "Scrubber",
    "Secret",
    "is_secret_header",
    "masked",
    "masked_headers",
    "masked_url",
    "opened",
    "revealed",
    "seal",
    "sealed_by",
    "secrets_in",
    "values",
    "without_examples",
    "write",
]

KEY: Final = "holdfast:secret"
STARS: Final = "**********"
MARK: Final = '"writeOnly":true'  # what a stored schema says of a secret
SHORTEST: Final = 4  # characters: a shorter text is found everywhere, and taking it out would garble what is said
SEALING: Final[Mapping[str, bool]] = {KEY: True}  # the context in which pydantic writes for the database
SECRET_HEADERS: Final = frozenset(
    ("authorization", "cookie", "proxy-authorization", "set-cookie", "x-mergent-signature")
)
SECRET_WORDS: Final = ("api-key", "apikey", "auth", "credential", "passw", "secret", "session", "signature", "token")
SECRET_PARAMETERS: Final = frozenset(("code", "jwt", "key", "pass", "pwd", "sig"))
USERINFO: Final = re.compile(r"^([a-z][a-z0-9+.-]*://)[^/?#]*@", re.IGNORECASE)
LOCATIONS: Final = frozenset(("location", "content-location", "referer"))
PARAMETER: Final = re.compile(r"(?<=[?&;#])([^=&;#]+)=([^&;#]*)")
LONG: Final = 16  # characters: what has so many is not found elsewhere by chance


class Secret:
    """Marks a part of a payload or an output as secret: ``Annotated[str, Secret]``.

    The task gets the value as it is. Where the payload is shown (command line, dashboard, API, ``run.payload``) it is
    ``**********``, and the value is taken out of what the task logs, prints, raises and writes into its metadata.
    pydantic's ``SecretStr`` and ``SecretBytes`` are treated the same without it.

    >>> @app.task
    ... def login(pin: Annotated[str, Secret]) -> None: ...
    """

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema

        inner = handler(source)
        writing = core_schema.wrap_serializer_function_ser_schema(write, info_arg=True, schema=inner)
        return core_schema.no_info_after_validator_function(same, inner, serialization=writing)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "writeOnly": True}


def same(value: Any) -> Any:
    return value


def write(value: Any, following: Callable[[Any], Any], info: Any) -> Any:
    """How pydantic writes what is marked: sealed for the database, as ever for everybody else who dumps the model."""
    written = following(value)
    if info.context is SEALING and info.mode_is_json() and not hasattr(value, "get_secret_value"):
        return seal(written)
    return written


# -- sealed values ----------------------------------------------------------------------------------------------------


def seal(value: Any) -> dict[str, Any]:
    """A JSON value as a secret."""
    return {KEY: value}


def is_sealed(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and KEY in value


def opened(value: Any) -> Any:
    """With the values of its secrets, for the task."""
    return replaced(value, lambda secret: secret)


def masked(value: Any) -> Any:
    """With stars for its secrets, for everybody else."""
    return replaced(value, lambda _: STARS)


def replaced(value: Any, by: Callable[[Any], Any]) -> Any:
    """A copy of a JSON value, of whatever depth, with something else for its secrets."""
    whole = [value]
    left: list[tuple[Any, Any]] = [(whole, 0)]
    while left:
        inside, place = left.pop()
        each = inside[place]
        if is_sealed(each):
            inside[place] = by(each[KEY])
        elif isinstance(each, dict):
            inside[place] = copy = dict(each)
            left += [(copy, name) for name in copy]
        elif isinstance(each, list):
            inside[place] = row = list(each)
            left += [(row, number) for number in range(len(row))]
    return whole[0]


def back_again(value: Any, earlier: Any) -> Any:
    """A value, of whatever depth, with the secrets of an ``earlier`` one in the places where it has stars for them."""
    whole = [value]
    left: list[tuple[Any, Any, Any]] = [(whole, 0, earlier)]
    while left:
        inside, place, before = left.pop()
        each = inside[place]
        if is_sealed(before):
            inside[place] = before if each == STARS else each
        elif isinstance(each, dict) and isinstance(before, dict):
            inside[place] = copy = dict(each)
            left += [(copy, name, before.get(name)) for name in copy]
        elif isinstance(each, list) and isinstance(before, list) and len(each) == len(before):
            inside[place] = row = list(each)
            left += [(row, number, other) for number, other in enumerate(before)]
    return whole[0]


def values(value: Any) -> Iterator[str]:
    """The texts of all secrets inside, at whatever depth."""
    left: list[tuple[Any, bool]] = [(value, False)]
    while left:
        each, secret = left.pop()
        if is_sealed(each):
            left.append((each[KEY], True))
        elif isinstance(each, dict):
            left += [(one, secret) for one in each.values()]
        elif isinstance(each, list):
            left += [(one, secret) for one in each]
        elif secret and isinstance(each, str):
            yield each
        elif secret and is_number(each):
            yield json.dumps(each)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def revealed(written: Any, real: Any, reveal: Callable[[Any], Any]) -> Any:
    """What pydantic wrote as JSON, with the secrets sealed that it wrote as stars.

    ``real`` is the same value, written for Python: of the same shape, but for the secrets, which are whole in it.
    """
    if is_sealed(written):  # marked as a whole; there may be secrets of pydantic's inside
        return seal(opened(revealed(written[KEY], real, reveal)))
    if hasattr(real, "get_secret_value"):
        return seal(reveal(real.get_secret_value())) if written == STARS else written
    if isinstance(written, dict) and isinstance(real, Mapping) and len(written) == len(real):
        pairs = zip(written.items(), real.values(), strict=True)
        return {name: revealed(each, other, reveal) for (name, each), other in pairs}
    if isinstance(written, list) and isinstance(real, Iterable) and not isinstance(real, str | bytes | Mapping):
        others = list(real)
        if len(others) == len(written):
            return [revealed(each, other, reveal) for each, other in zip(written, others, strict=True)]
    return written


# -- by a schema ------------------------------------------------------------------------------------------------------


def sealed_by(schema: Mapping[str, Any], value: Any) -> Any:
    """Seal what the JSON schema of a payload says is secret. Where it leaves several ways open, all of them count."""
    return by_nodes([schema, *schema.get("x-holdfast-by-name", [])], value, schema)


def has_secrets(schema: str | None) -> bool:
    """Whether a JSON schema, as it is stored, says of anything that it is secret."""
    return schema is not None and MARK in schema


def by_nodes(nodes: Sequence[Any], value: Any, root: Mapping[str, Any]) -> Any:
    known = [each for node in nodes for each in alternatives(node, root)]
    if value is None or is_sealed(value) or not known:
        return value
    if any(node.get("writeOnly") is True for node in known):
        return seal(value)
    if isinstance(value, dict):
        return {name: by_nodes(list(of_property(known, name)), each, root) for name, each in value.items()}
    if isinstance(value, list):
        return [by_nodes(list(of_item(known, place)), each, root) for place, each in enumerate(value)]
    return value


def without_examples(schema: Any) -> Any:
    """A JSON schema that tells no value of a secret: neither its default nor an example."""
    if isinstance(schema, dict):
        telling = ("default", "examples", "const", "enum") if schema.get("writeOnly") is True else ()
        return {name: without_examples(each) for name, each in schema.items() if name not in telling}
    return [without_examples(each) for each in schema] if isinstance(schema, list) else schema


def alternatives(node: Any, root: Mapping[str, Any], depth: int = 0) -> Iterator[Mapping[str, Any]]:
    """The schemas that a value may be of, references followed."""
    if not isinstance(node, Mapping) or depth > 20:
        return
    yield node
    if isinstance(reference := node.get("$ref"), str):
        yield from alternatives(root.get("$defs", {}).get(reference.rpartition("/")[2]), root, depth + 1)
    for combined in ("anyOf", "oneOf", "allOf"):
        for each in node.get(combined, ()):
            yield from alternatives(each, root, depth + 1)


def of_property(nodes: Iterable[Mapping[str, Any]], name: str) -> Iterator[Any]:
    for node in nodes:
        properties = node.get("properties", {})
        if name in properties:
            yield properties[name]
        else:
            yield node.get("additionalProperties")
            yield from (each for pattern, each in node.get("patternProperties", {}).items() if re.search(pattern, name))


def of_item(nodes: Iterable[Mapping[str, Any]], place: int) -> Iterator[Any]:
    for node in nodes:
        first = node.get("prefixItems", ())
        yield first[place] if place < len(first) else node.get("items")


# -- in what is said --------------------------------------------------------------------------------------------------


class Scrubber:
    """Puts stars in the place of secrets in texts: log lines, messages, tracebacks. It finds them as they are, as
    ``repr`` and JSON write them, and as they stand in URLs; texts of less than four characters are left."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets if len(secret) >= SHORTEST for form in written_as(secret)}
        # The longest first: one secret may be a part of another one.
        self.pattern = re.compile("|".join(map(re.escape, sorted(forms, key=len, reverse=True)))) if forms else None

    def __bool__(self) -> bool:
        return self.pattern is not None

    def text(self, text: str) -> str:
        return text if self.pattern is None else self.pattern.sub(STARS, text)

    def value(self, value: Any) -> Any:
        """Decoded JSON, of whatever depth, scrubbed."""
        whole = [value]
        left: list[tuple[Any, Any]] = [(whole, 0)]
        while left:
            inside, place = left.pop()
            each = inside[place]
            if isinstance(each, dict):
                inside[place] = copy = {self.text(name): one for name, one in each.items()}
                left += [(copy, name) for name in copy]
            elif isinstance(each, list):
                inside[place] = row = list(each)
                left += [(row, number) for number in range(len(row))]
            elif isinstance(each, str):
                inside[place] = self.text(each)
            elif is_number(each) and self.text(said := json.dumps(each)) != said:
                inside[place] = STARS
        return whole[0]


def written_as(secret: str) -> set[str]:
    return {
        secret,
        repr(secret)[1:-1],
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        quote(secret, safe="", errors="replace"),
        quote(secret, errors="replace"),
    }


# -- headers and URLs -------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4_096)
def is_secret_header(name: str) -> bool:
    """Whether what a header of this name says looks like a credential."""
    lower = name.lower()
    if lower == "webhook-signature":  # good for this body and five minutes only, and what one looks for
        return False
    return lower in SECRET_HEADERS or any(word in lower for word in SECRET_WORDS) or lower.endswith(("-key", "_key"))


def is_secret_parameter(name: str) -> bool:
    """Whether what stands behind this name in a URL looks like a credential."""
    lower = unquote_plus(name).lower()
    return lower in SECRET_PARAMETERS or is_secret_header(lower)


def masked_url(url: str) -> str:
    """A URL to keep and to show: without its user and password, and with stars for parameters that look like a
    credential.

    >>> masked_url("https://example.com/jobs?user=5&token=hunter2")
    'https://example.com/jobs?user=5&token=**********'
    """
    shown = USERINFO.sub(rf"\1{STARS}@", url, count=1)
    return PARAMETER.sub(lambda it: f"{it[1]}={STARS}" if is_secret_parameter(it[1]) else it[0], shown)


def masked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers to keep and to show, with stars for what looks like a credential, also in the URLs among them."""
    return {name: masked_header(name, value) for name, value in headers.items()}


def masked_header(name: str, value: str) -> str:
    if name.lower() in LOCATIONS:
        return masked_url(value)
    return STARS if is_secret_header(name) else value


def secrets_in(url: str, headers: Mapping[str, str]) -> list[str]:
    """What looks like a credential in a request, and is long enough to be one and nothing else."""
    found = [unquote_plus(it[2]) for it in PARAMETER.finditer(url) if is_secret_parameter(it[1])]
    for name, value in headers.items():
        found += [value, *value.split()[1:]] if is_secret_header(name) else ()
    return [each for each in found if len(each) >= LONG]
