"""Public access tokens: what a browser may hold, as clients of Trigger.dev make and expect them.

A token is a JWT (HS256) with an end, and with scopes such as ``read:runs:<id>``, ``read:tags:<tag>``,
``read:batch:<id>``, ``trigger:tasks:<task>``, ``write:waitpoints:<id>``. Who has ``HOLDFAST_API_KEY`` signs them with
it and need not ask; a stored key is kept as a hash, with which nobody can sign, so for its bearers the server does,
with a secret of its own.

A scope that is not known here allows nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import time
import warnings
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import jwt
import msgspec

from holdfast.scopes import Action, Kind, Right

ISSUER: Final = "https://id.trigger.dev"  # what their clients write, and check
AUDIENCE: Final = "https://api.trigger.dev"
ENVIRONMENT: Final = "env_holdfast"
KEY: Final = "key_"  # before the id of a stored key
LONGEST: Final = 8_192
KINDS: Final[Mapping[str, Kind]] = {
    "runs": "run",
    "tasks": "task",
    "tags": "tag",
    "batch": "batch",
    "waitpoints": "token",
}
ACTIONS: Final[Mapping[str, Action]] = {
    "read": "read",
    "write": "write",
    "trigger": "trigger",
    "batchTrigger": "trigger",
}
PREFIXES: Final[Mapping[Kind, str]] = {"run": "run_", "batch": "batch_", "token": "waitpoint_"}  # of ids on the wire


class Public(NamedTuple):
    """What a token says. ``once`` names one that is for one use; its bearer is not shown the ``hidden`` columns."""

    subject: str
    rights: frozenset[Right]
    once: str | None
    hidden: frozenset[str]
    expires_at: int


def looks_like_one(text: str) -> bool:
    return text.count(".") == 2 and text.startswith("ey") and len(text) <= LONGEST


def read(text: str, secrets: Iterable[str]) -> Public | None:
    """What a token says; None if none of these secrets has signed it, it is over, or it is none of ours."""
    for secret in secrets:
        try:
            claims = decoded(text, secret)
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            continue
        return said(claims, text)
    return None


def decoded(text: str, secret: str) -> dict[str, Any]:
    with warnings.catch_warnings():  # an operator's key may be short
        warnings.simplefilter("ignore")
        claims: dict[str, Any] = jwt.decode(
            text,
            secret,
            algorithms=["HS256"],
            audience=AUDIENCE,
            issuer=ISSUER,
            options={"require": ["exp", "iss", "aud"]},
        )
    if claims.get("pub") is not True:
        raise jwt.InvalidTokenError
    return claims


def said(claims: Mapping[str, Any], text: str) -> Public:
    scopes, realtime = claims.get("scopes"), claims.get("realtime")
    rights = (right_of(each) for each in (scopes if isinstance(scopes, list) else []) if isinstance(each, str))
    columns = realtime.get("skipColumns") if isinstance(realtime, dict) else None
    return Public(
        subject=str(claims.get("sub", "")),
        rights=frozenset(right for right in rights if right is not None),
        once=hashlib.sha256(text.encode()).hexdigest() if claims.get("otu") is True else None,
        hidden=frozenset(str(each) for each in (columns if isinstance(columns, list) else [])),
        expires_at=int(claims["exp"]),
    )


def right_of(scope: str) -> Right | None:
    """What a token's scope stands for; only its first two colons part it, for tags may have some. One that ends with a
    colon was to name a thing and names none, so it allows nothing.

    >>> right_of("read:tags:user:1")
    Right(action='read', kind='tag', id='user:1')
    """
    word, _, rest = scope.partition(":")
    kinds, colon, thing = rest.partition(":")
    action, kind = ACTIONS.get(word), KINDS.get(kinds)
    if action is None or kind is None:
        return None
    named = bare(kind, thing)
    return None if colon and not named else Right(action, kind, named or None)


def bare(kind: Kind, id: str) -> str:
    """An id without the prefix that those of its kind have on the wire; tasks and tags are called as they are."""
    return id.removeprefix(PREFIXES.get(kind, ""))


def written(
    secret: str,
    subject: str,
    scopes: list[str],
    expires_at: float,
    *,
    once: bool = False,
    realtime: Mapping[str, Any] | None = None,
) -> str:
    """A token. ``expires_at`` is seconds since the epoch."""
    claims: dict[str, Any] = {
        "sub": subject,
        "pub": True,
        "scopes": scopes,
        "iss": ISSUER,
        "aud": AUDIENCE,
        "iat": int(time.time()),
        "exp": int(expires_at),
    }
    claims |= {"otu": True} if once else {}
    claims |= {"realtime": dict(realtime)} if realtime is not None else {}
    return signed(claims, secret)


HEAD: Final = b"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"  # {"alg":"HS256","typ":"JWT"}


def signed(claims: Mapping[str, Any], secret: str) -> str:
    """The claims as a JWT. Each trigger brings one, and PyJWT, which reads them, takes ten times as long to write one:
    it looks at what kind of key it has been given every time. (``hmac.digest`` lets other threads go first.)"""
    said = HEAD + b"." + urlsafe_b64encode(msgspec.json.encode(claims)).rstrip(b"=")
    return (said + b"." + urlsafe_b64encode(hmac.new(secret.encode(), said, "sha256").digest()).rstrip(b"=")).decode()
