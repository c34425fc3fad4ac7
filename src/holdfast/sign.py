"""Signatures: that a request comes from this Holdfast, and is what was sent.

Every request has both

    webhook-id, webhook-timestamp, webhook-signature    Standard Webhooks: ``v1,`` and the base64 of an HMAC-SHA256 over
                                                        ``id.timestamp.body``, under a secret of its own (``whsec_…``)
    X-Mergent-Signature                                 the base64 of an HMAC-SHA1 over the body, under the API key:
                                                        what Mergent's clients look at; only where there is a key

The first says which request it is and when it was sent, so that it cannot be replayed or moved; the second says
neither, and is there for apps that come from Mergent. With two secrets a request is signed with both, so that a secret
can be replaced while requests are under way.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from holdfast.duration import Duration, to_ms
from holdfast.errors import HoldfastError, InvalidOption

PREFIX: Final = "whsec_"
SECRET_BYTES: Final = 32
SHORTEST, LONGEST = 24, 64  # bytes
VARIABLE: Final = "HOLDFAST_PUSH_SECRET"


class SignatureInvalid(HoldfastError):
    """The request is not one that was signed with this secret."""


class Delivery(NamedTuple):
    """A request that was verified: the id of its run, which stays the same each time it is tried, and when it was sent,
    in seconds since the epoch."""

    id: str
    timestamp: int


def verify(
    content: bytes | str,
    headers: Mapping[str, str],
    secret: str | Sequence[str] | None = None,
    *,
    tolerance: Duration = "5m",
) -> Delivery:
    """Check that a request was sent by your Holdfast, not long ago, and is what was sent.

    ``content`` is the body as it came in, before anything has parsed it; ``headers`` are the request's, whatever the
    case of their names. ``secret`` is what ``holdfast secret`` prints, or several while one is replaced; default is
    ``HOLDFAST_PUSH_SECRET``. Remember the ``id``: the same request may come again.

    Raises:
        SignatureInvalid: answer 401, and do nothing.
        InvalidOption: the secret is none.

    >>> delivery = verify(await request.body(), request.headers)
    """
    keys = read_secrets(os.environ.get(VARIABLE, "") if secret is None else secret)
    if not keys:
        raise InvalidOption("There is no secret to verify with", do=f"Set {VARIABLE} to what `holdfast secret` prints.")
    found = {name.lower(): value for name, value in headers.items()}
    run_id, stamp, signatures = (found.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature"))
    if not (run_id and stamp and signatures):
        raise SignatureInvalid("The request is not signed", do="Answer 401.")
    seconds = checked_timestamp(stamp, to_ms(tolerance, name="tolerance") / 1000)
    body = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else bytes(content)
    wanted = [standard_signature(key, run_id, stamp, body) for key in keys]
    given = signatures.encode("utf-8", "replace").split()
    # Every pair is compared, in constant time, so that how long it takes tells nothing.
    fits = [hmac.compare_digest(one.encode(), each) for one in wanted for each in given]
    if not any(fits):
        raise SignatureInvalid(
            "The signature is not that of this body",
            seen=f"webhook-id {run_id}"[:80],
            do="Answer 401. If it should be right: give verify() the raw body and what `holdfast secret` prints.",
        )
    return Delivery(run_id, seconds)


def checked_timestamp(stamp: str, tolerance: float) -> int:
    seconds = int(stamp) if stamp.isascii() and stamp.isdigit() and len(stamp) < 16 else None
    if seconds is None or abs(time.time() - seconds) > tolerance:
        raise SignatureInvalid(
            "The request was not signed just now",
            seen=f"webhook-timestamp {stamp}"[:80],
            do="Answer 401; look at this clock.",
        )
    return seconds


# -- secrets ----------------------------------------------------------------------------------------------------------


def new_secret() -> str:
    """A secret to sign with."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode("ascii")


def read_secrets(text: str | Sequence[str]) -> list[bytes]:
    """The keys in these secrets: one text with commas or spaces between them, or a list.

    Raises:
        InvalidOption: one is no secret. It is not shown.
    """
    parts = (
        text.replace(",", " ").split() if isinstance(text, str) else [part for each in text for part in each.split()]
    )
    return [read_secret(part) for part in parts]


def read_secret(text: str) -> bytes:
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not (text.startswith(PREFIX) and SHORTEST <= len(key) <= LONGEST):
        raise InvalidOption(
            f"A secret to sign with is not {PREFIX} and the base64 of {SHORTEST} to {LONGEST} bytes",
            do="Take what `holdfast secret` prints, or make one: openssl rand -base64 32.",
        )
    return key


# -- signatures -------------------------------------------------------------------------------------------------------


def standard_signature(key: bytes, run_id: str, stamp: str, body: bytes) -> str:
    digest = hmac.digest(key, f"{run_id}.{stamp}.".encode("utf-8", "surrogatepass") + body, "sha256")
    return "v1," + base64.b64encode(digest).decode("ascii")


def mergent_signature(api_key: str, body: bytes) -> str:
    """What Mergent's ``X-Mergent-Signature`` says.

    >>> mergent_signature("12345", b"foo")
    'QjZpKdTK/iwkUWiz3seoPbJHA0I='
    """
    return base64.b64encode(hmac.digest(api_key.encode(), body, "sha1")).decode("ascii")


class Signer(NamedTuple):
    """What a pusher signs with."""

    keys: list[bytes]
    api_key: str | None

    def headers(self, run_id: str, body: bytes, now: float) -> dict[str, str]:
        """The headers for a request that is sent now."""
        stamp = str(int(now))
        signed = {
            "webhook-id": run_id,
            "webhook-timestamp": stamp,
            "webhook-signature": " ".join(standard_signature(key, run_id, stamp, body) for key in self.keys),
        }
        return (
            signed if self.api_key is None else {**signed, "X-Mergent-Signature": mergent_signature(self.api_key, body)}
        )
