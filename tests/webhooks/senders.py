"""What servers elsewhere send, signed as each of them does it: written from their documentation, without our code."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any, NamedTuple

STRIPE = "whsec_4f2b9a61c87d4e0bb3f0e6c1d5a79288"
GITHUB = "It's a Secret to Everybody"
SLACK = "8f742231b10e8888abcd99yyyzzz85a5"
STANDARD = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SHARED = "a token of ours"


class Sent(NamedTuple):
    body: bytes
    headers: dict[str, str]


def sha256(secret: bytes, signed: bytes) -> Any:
    return hmac.new(secret, signed, hashlib.sha256)


def stripe(data: Any, *, secret: str = STRIPE, at: float | None = None) -> Sent:
    body, stamp = json.dumps(data).encode(), int(time.time() if at is None else at)
    signature = sha256(secret.encode(), f"{stamp}.".encode() + body).hexdigest()
    return Sent(body, {"Stripe-Signature": f"t={stamp},v1={'0' * 64},v1={signature},v0=old"})


def github(data: Any, *, secret: str = GITHUB, at: float | None = None, event: str = "push") -> Sent:
    body = json.dumps(data).encode()
    signature = sha256(secret.encode(), body).hexdigest()
    headers = {"X-Hub-Signature-256": f"sha256={signature}", "X-GitHub-Event": event, "X-GitHub-Delivery": data["id"]}
    return Sent(body, headers)


def slack(data: Any, *, secret: str = SLACK, at: float | None = None) -> Sent:
    body, stamp = json.dumps({**data, "event_id": data["id"]}).encode(), int(time.time() if at is None else at)
    signature = sha256(secret.encode(), f"v0:{stamp}:".encode() + body).hexdigest()
    return Sent(body, {"X-Slack-Signature": f"v0={signature}", "X-Slack-Request-Timestamp": str(stamp)})


def standard(data: Any, *, secret: str = STANDARD, at: float | None = None, prefix: str = "webhook") -> Sent:
    body, stamp = json.dumps(data).encode(), int(time.time() if at is None else at)
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signature = base64.b64encode(sha256(key, f"{data['id']}.{stamp}.".encode() + body).digest()).decode()
    names = {"id": data["id"], "timestamp": str(stamp), "signature": f"v1,{'A' * 43}= v1,{signature}"}
    return Sent(body, {f"{prefix}-{name}": value for name, value in names.items()})


def svix(data: Any, *, secret: str = STANDARD, at: float | None = None) -> Sent:
    return standard(data, secret=secret, at=at, prefix="svix")


def shared(data: Any, *, secret: str = SHARED, at: float | None = None) -> Sent:
    return Sent(json.dumps(data).encode(), {"X-Token": secret, "X-Id": data["id"]})
