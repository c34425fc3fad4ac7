"""What a caller of ``/v2`` sends, checked: JSON, or a form with ``request[url]=…`` as in Mergent's first guide.

Which of them it is, the body itself tells: curl calls everything a form, and no form of ours begins with a brace.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
from fastapi import Request as HttpRequest

from holdfast import codec
from holdfast.api.refused import Refused, all_of, invalid
from holdfast.clock import utc
from holdfast.errors import InvalidOption, PayloadInvalid
from holdfast.ids import from_uuid
from holdfast.request import Request, checked_headers, checked_url

NAME: Final = re.compile(r"[a-zA-Z0-9._-]+")
NAME_LENGTH: Final = 500
DURATION: Final = re.compile(r"(?:([0-9]*\.?[0-9]+)h)?\s*(?:([0-9]*\.?[0-9]+)m)?\s*(?:([0-9]*\.?[0-9]+)s)?")
ISO_DURATION: Final = re.compile(
    r"P(?:([0-9.]+)W)?(?:([0-9.]+)D)?(?:T(?:([0-9.]+)H)?(?:([0-9.]+)M)?(?:([0-9.]+)S)?)?", re.IGNORECASE
)
LONGEST_MS: Final = 366 * 86_400_000 * 100
FORM: Final = "application/x-www-form-urlencoded"
JSON_BEGINS: Final = (b"{", b"[")
Said = Mapping[str, Any]


async def document(request: HttpRequest, limit: int) -> Any:
    """The body of a call, decoded. An empty one is no statement at all.

    Raises:
        Refused: it is neither JSON nor a form, or has more than ``limit`` bytes.
    """
    body = await limited(request, limit)
    if not body.strip():
        return {}
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == FORM and body.lstrip()[:1] not in JSON_BEGINS:
        return form(body)
    try:
        return codec.decode(body.decode("utf-8"))
    except (PayloadInvalid, UnicodeDecodeError) as error:
        raise Refused(422, f"The body is not valid JSON{place_of(error)}") from None


def place_of(error: Exception) -> str:
    """Where it goes wrong, if that is known."""
    found = re.search(r"line [0-9]+ column [0-9]+", str(error))
    return f" ({found[0]})" if found else ""


async def limited(request: HttpRequest, limit: int) -> bytes:
    found = bytearray()
    async for chunk in request.stream():
        found += chunk
        if len(found) > limit:
            raise Refused(413, f"The body is larger than {limit} bytes", headers={"Connection": "close"})
    return bytes(found)


def form(body: bytes) -> dict[str, Any]:
    """``request[url]=x&queue=y`` as the object it stands for."""
    found: dict[str, Any] = {}
    for name, value in parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True):
        first, *rest = re.findall(r"[^\[\]]+", name) or [name]
        place = found
        for part in rest:
            inner = place.setdefault(first, {})
            if not isinstance(inner, dict):
                raise invalid("is given twice, as a value and as an object", first)
            place, first = inner, part
        place[first] = value
    return found


def object_of(value: Any) -> Said:
    if not isinstance(value, Mapping):
        raise Refused(422, "The body is not a JSON object")
    return value


class Reader:
    """Reads the parameters of a call, and gathers what is wrong with them."""

    def __init__(self, said: Said) -> None:
        self.said, self.problems = said, list[Refused]()

    def __contains__(self, name: str) -> bool:
        return name in self.said

    def take(self, name: str, read: Callable[[Any, str], Any]) -> Any:
        """A parameter, read; None if it is not given, null, or wrong."""
        value = self.said.get(name)
        if value is None:
            return None
        try:
            return read(value, name)
        except Refused as problem:
            self.problems.append(problem)
            return None

    def check(self) -> None:
        """Raises Refused: something was wrong."""
        if self.problems:
            raise all_of(self.problems)


def titled(param: str) -> str:
    return param.replace(".", " ").replace("_", " ").capitalize()


def name(value: Any, param: str) -> str:
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise invalid(f"{titled(param)} contains invalid characters", param)
    if len(value) > NAME_LENGTH:
        raise invalid(f"{titled(param)} is too long (maximum is {NAME_LENGTH} characters)", param)
    return value


def text(value: Any, param: str, longest: int = 500) -> str:
    if not isinstance(value, str) or len(value) > longest or "\0" in value:
        raise invalid(f"{titled(param)} is not text of at most {longest} characters", param)
    return value


def flag(value: Any, param: str) -> bool:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise invalid(f"{titled(param)} is neither true nor false", param)
    return value


def delay_ms(value: Any, param: str) -> int:
    """``5s``, ``1.5h``, ``2h45m``; ISO 8601 (``PT5M``), too."""
    written = value.strip() if isinstance(value, str) else ""
    simple, iso = DURATION.fullmatch(written), ISO_DURATION.fullmatch(written)
    try:
        if simple and any(simple.groups()):
            parts = zip(simple.groups(), (3_600_000, 60_000, 1_000), strict=True)
        elif iso and any(iso.groups()):
            parts = zip(iso.groups(), (604_800_000, 86_400_000, 3_600_000, 60_000, 1_000), strict=True)
        else:
            raise ValueError
        milliseconds = sum(float(count) * size for count, size in parts if count)
    except ValueError:
        raise invalid(f"{titled(param)} is not a valid duration, such as 5s, 1.5h or 2h45m", param) from None
    if milliseconds > LONGEST_MS:
        raise invalid(f"{titled(param)} is too long", param)
    return -int(-milliseconds // 1)  # never early


def moment(value: Any, param: str) -> int:
    """An ISO 8601 timestamp, in milliseconds; without an offset it is UTC."""
    try:
        found = datetime.fromisoformat(value)
        found = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
        return -int(-found.timestamp() * 1000 // 1)
    except (TypeError, ValueError, OverflowError):
        raise invalid(f"{titled(param)} is not a valid ISO 8601 timestamp", param) from None


def request(value: Any, param: str) -> tuple[Request, str | None]:
    """The request of a task, and its body as JSON text, None if none is said. A body that is an object is sent as
    JSON."""
    if not isinstance(value, Mapping):
        raise invalid("Request is not an object", param)
    reader = Reader(value)
    url = reader.take("url", checked(checked_url, "Request url is not a valid URL", f"{param}.url"))
    headers = reader.take("headers", header_values)
    body = value.get("body")
    reader.check()
    kind: Any = None if "body" not in value else "none" if body is None else "text" if isinstance(body, str) else "json"
    payload = codec.encode(body) if "body" in value else None
    return Request(url=url, headers=headers, body=kind), payload


def checked(check: Callable[..., Any], message: str, param: str) -> Callable[[Any, str], Any]:
    def read(value: Any, _: str) -> Any:
        try:
            return check(value, option=param)
        except InvalidOption as error:
            raise invalid(f"{message}: {error}", param) from None

    return read


def header_values(value: Any, _: str) -> dict[str, str]:
    said = {name: str(each) if isinstance(each, int | float) and not isinstance(each, bool) else each
            for name, each in value.items()} if isinstance(value, Mapping) else value  # fmt: skip
    return checked(checked_headers, "Request headers cannot be sent", "request.headers")(said, "")  # type: ignore[no-any-return]


def run_id(id: str, what: str) -> str:
    """The run that an id here stands for. Raises Refused (404)."""
    found = from_uuid(id)
    if found is None:
        raise Refused(404, f"There is no such {what}")
    return found


def iso(milliseconds: int | None) -> str | None:
    if milliseconds is None:
        return None
    return utc(milliseconds).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def encoded(request: Request, more: Mapping[str, Any] | None = None) -> str:
    """The options of a run that sends this."""
    return codec.encode({**(more or {}), "http": msgspec.to_builtins(request)})
