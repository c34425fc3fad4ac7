"""Requests: what an HTTP task is to send, and how it is to be tried.

A run of an HTTP task has its body as the payload, and a `Request` among its options: what the call said. Under it
stands the request that its task was announced with. Both are put together when the run is claimed, so that a corrected
URL or a new key in the code reaches what is queued already.

Everything a user may write is checked here, once: the URL, the method, the headers. Header names and values are parsed
as HTTP tokens, so that no line can be smuggled in; those that a connection, a signature or a proxy lives by are not the
user's to set.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import msgspec

from holdfast.errors import InvalidOption, shown
from holdfast.retry import Retry
from holdfast.sizes import KIB

__all__ = [
    "HTTP_QUEUE",
    "HTTP_RETRY",
    "HTTP_TASK",
    "LOOPBACK_NETWORKS",
    "METHODS",
    "Request",
    "RetryRecord",
    "checked_headers",
    "checked_method",
    "checked_url",
    "host_of",
    "request_in",
]

HTTP_TASK: Final = "http"  # the task of requests that belong to none
HTTP_QUEUE: Final = "default"
LOOPBACK_NETWORKS: Final = "127.0.0.0/8,::1/128"
HTTP_RETRY: Final = Retry(delays=("5s", "5m", "30m", "2h", "5h", "10h", "10h"), jitter=False)
METHODS: Final = ("POST", "PUT", "PATCH", "DELETE", "GET", "HEAD", "OPTIONS")
URL_LENGTH: Final = 4096
HEADER_COUNT: Final = 64
HEADER_BYTES: Final = 16 * KIB
# 25 and the like: what would let a request speak to something that is not HTTP. The list browsers have, in short.
BLOCKED_PORTS: Final = frozenset(
    {0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109}
    | {110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530}
    | {531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 2049, 3659, 4045, 5060, 5061, 6000, 6566}
    | {6665, 6666, 6667, 6668, 6669, 6697, 10080}
)
TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")  # what a field value may hold: never CR, LF or NUL
OURS: Final = ("x-mergent-", "webhook-", "x-holdfast-", "proxy-")
RESERVED: Final = frozenset(
    ("connection", "content-length", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade")
)
Body = Literal["json", "text", "bytes", "none"]


class RetryRecord(msgspec.Struct, omit_defaults=True, frozen=True):
    """A `Retry` as it is stored: milliseconds, and no exceptions."""

    max_attempts: int = 3
    factor: float = 2
    min_delay_ms: int = 1_000
    max_delay_ms: int = 30_000
    jitter: bool = True
    delays_ms: tuple[int, ...] = ()

    @classmethod
    def of(cls, retry: Retry) -> RetryRecord:
        """Raises InvalidOption: it names exceptions, and a request raises none."""
        if retry.on or retry.never:
            raise InvalidOption(
                "The retry of a request names exceptions", seen=shown(retry), do="Leave on= and never= out."
            )
        return cls(
            retry.max_attempts, retry.factor, retry.min_delay_ms, retry.max_delay_ms, retry.jitter, retry.delays_ms
        )

    def retry(self) -> Retry:
        if self.delays_ms:
            return Retry(delays=[each / 1000 for each in self.delays_ms], jitter=self.jitter)
        return Retry(
            max_attempts=self.max_attempts,
            factor=self.factor,
            min_delay=self.min_delay_ms / 1000,
            max_delay=self.max_delay_ms / 1000,
            jitter=self.jitter,
        )


class Request(msgspec.Struct, omit_defaults=True, frozen=True, kw_only=True):
    """A request, or what one call says of it. None is what was not said."""

    url: str | None = None
    method: str | None = None
    headers: dict[str, str] | None = None
    body: Body | None = None
    timeout_ms: int | None = None
    retry: RetryRecord | None = None
    any_2xx: bool | None = None
    name: str | None = None  # under which it was made, for whoever lists it
    at: int | None = None  # when it was to be sent, in milliseconds: what was asked for, and stays

    def over(self, usual: Request) -> Request:
        """This, and where it says nothing, the ``usual``. Headers are put together, by name."""
        headers = usual.headers if self.headers is None else merged(usual.headers or {}, self.headers)
        said = {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None}
        return msgspec.structs.replace(usual, **said | {"headers": headers})


def merged(usual: Mapping[str, str], said: Mapping[str, str]) -> dict[str, str]:
    """Headers of which the second ones win, whatever the case of their names."""
    names = {name.lower() for name in said}
    return {name: value for name, value in usual.items() if name.lower() not in names} | dict(said)


def request_in(options: Mapping[str, Any] | None) -> Request:
    """The request among the options of a run, or of a task as it was announced."""
    said = options.get("http") if options else None
    return msgspec.convert(said, Request) if said else Request()


# -- what a user may write --------------------------------------------------------------------------------------------


def checked_url(value: object, *, option: str = "url") -> str:
    """``value`` if a request can be sent there: http or https, a host, no user and password, no port of another
    service.

    Which address it leads to is looked at each time it is sent.

    Raises:
        InvalidOption: naming ``option`` and the value.
    """
    write = "Write it like https://example.com/jobs."
    if not isinstance(value, str):
        raise InvalidOption(f"{option} is not a string", seen=shown(value), do=write)
    if len(value) > URL_LENGTH:
        raise InvalidOption(f"{option} is longer than {URL_LENGTH} characters", seen=shown(value), do=write)
    if any(character <= " " or character in '\x7f\\<>"`{|}^' for character in value):
        raise InvalidOption(f"{option} has a character that no URL has", seen=shown(value), do="Percent-encode it.")
    try:
        parts = urlsplit(value)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise InvalidOption(f"{option} is not a URL", seen=shown(value), do=write) from None
    if parts.scheme.lower() not in ("http", "https") or not host:
        raise InvalidOption(f"{option} is not an http or https URL", seen=shown(value), do=write)
    if parts.username is not None or parts.password is not None:
        raise InvalidOption(
            f"{option} has a user and password in it",
            seen=f"{parts.scheme}://…@{host}",
            do="Send an Authorization header.",
        )
    if port is not None and port in BLOCKED_PORTS:
        raise InvalidOption(
            f"{option} has the port of another service", seen=str(port), do="Serve HTTP on another port."
        )
    return value


@lru_cache(maxsize=4_096)
def host_of(url: str) -> str:
    """The host and port that a URL leads to, as ``host:port``: what limits and circuits are kept for."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme.lower() == "https" else 80)
    host = parts.hostname or ""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def checked_method(value: object, *, option: str = "method") -> str:
    """``value`` as a method, in capitals. Raises InvalidOption."""
    method = value.upper() if isinstance(value, str) else ""
    if method not in METHODS:
        raise InvalidOption(f"{option} is not a method", seen=shown(value), do=f"Write one of {', '.join(METHODS)}.")
    return method


def checked_headers(value: object, *, option: str = "headers") -> dict[str, str]:
    """``value`` if these headers may be sent along: HTTP tokens, none of a connection's own, none of ours.

    Raises:
        InvalidOption: naming ``option`` and the header.
    """
    if not isinstance(value, Mapping):
        raise InvalidOption(
            f"{option} is not a mapping of names to values", seen=shown(value), do='Write {"X-Kind": "nightly"}.'
        )
    if len(value) > HEADER_COUNT:
        raise InvalidOption(
            f"{option} has more than {HEADER_COUNT} entries", seen=len(value), do="Put data in the body."
        )
    headers = {checked_header_name(name, option): header_value(name, each, option) for name, each in value.items()}
    size = sum(len(name) + len(each) + 4 for name, each in headers.items())
    if size > HEADER_BYTES:
        raise InvalidOption(
            f"{option} is larger than {HEADER_BYTES} bytes", seen=f"{size} bytes", do="Put data in the body."
        )
    return headers


def checked_header_name(name: object, option: str) -> str:
    if not isinstance(name, str) or not TOKEN.fullmatch(name):
        raise InvalidOption(f"{option} has a name that is no header's", seen=shown(name), do="Write it like X-Kind.")
    lower = name.lower()
    if lower in RESERVED or lower.startswith(OURS):
        raise InvalidOption(
            f"{option} has a header that is not yours to set",
            seen=name,
            do="Leave it out: the connection's headers and the signature are made when the request is sent.",
        )
    return name


def header_value(name: object, value: object, option: str) -> str:
    # The value itself is not shown: it may well be a credential.
    if not isinstance(value, str) or not VALUE.fullmatch(value) or value != value.strip(" \t"):
        what = "has a value that is no text" if not isinstance(value, str) else "has a value that no header has"
        raise InvalidOption(
            f"{option} {what}",
            seen=f"that of {name}",
            do="Leave out line breaks, NUL, spaces at its ends and non-Latin text.",
        )
    return value
