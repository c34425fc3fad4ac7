"""Who may ask.

With ``HOLDFAST_API_KEY`` every call must bring that key: as a Bearer token, or as the user name of HTTP Basic with any
password. Without a key only loopback is served, and only to programs: a page that a browser has open may not call its
visitor's own machine.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from urllib.parse import urlsplit

from fastapi import Request

OPEN = frozenset(("/healthz", "/readyz"))  # for those who look whether it is up


def given_key(request: Request) -> str | None:
    """The key that a call brings."""
    kind, _, rest = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return rest.strip()
    if kind.lower() != "basic":
        return None
    try:
        return base64.b64decode(rest.strip(), validate=True).decode("utf-8").partition(":")[0]
    except (binascii.Error, ValueError):
        return None


def has_key(request: Request, key: str) -> bool:
    given = given_key(request)
    return given is not None and hmac.compare_digest(given.encode(), key.encode())


def from_elsewhere(request: Request) -> bool:
    """Whether a page from another place makes this call, as browsers say of each."""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        return True
    return request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
