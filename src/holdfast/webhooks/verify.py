"""Whose signature a request has.

Each of these is a function of the request that answers what it found, or raises `NotVerified`. Signatures are over the
raw body and are compared in constant time, all of them, so that how long it takes tells nothing. Give several secrets
while one is replaced. Where the sender signs the time, a request that is older (or newer) than the ``tolerance`` is
refused, or whoever has overheard one could send it again.
"""

from __future__ import annotations

import hmac
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from holdfast import sign
from holdfast.duration import Duration, to_ms
from holdfast.errors import HoldfastError, InvalidOption, shown
from holdfast.webhooks.request import WebhookRequest

__all__ = ["GitHub", "NotVerified", "SharedSecret", "Slack", "StandardWebhooks", "Stripe", "Svix", "Verified"]

Secrets = str | Sequence[str]

SHORTEST: Final = 8  # characters of a secret: an empty variable must not open the door
HEADER_LENGTH: Final = 100
TAKE: Final = "Take what the sender shows, from the environment: os.environ[…]."
HEADER_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")


class NotVerified(HoldfastError):
    """The request is not from whom it should be."""


class Verified(NamedTuple):
    """A request is what it should be. ``id`` is the sender's for this delivery; with an ``answer`` it is a question
    that makes no run: a dictionary is sent as JSON."""

    id: str | None = None
    answer: Any = None


class Verifier:
    """What all of them have: secrets, of which one must fit, and a name to show."""

    secret_headers: tuple[str, ...] = ()  # which hold the secret itself
    success = 202

    def __init__(self, secret: Secrets) -> None:
        self._secrets = checked_secrets(secret)

    @abstractmethod
    def __call__(self, request: WebhookRequest) -> Verified:
        """Raises NotVerified."""

    def _compare(
        self, wanted: Iterable[str], given: Iterable[str], wrong: str = "The signature is not that of this body"
    ) -> None:
        found = [hmac.compare_digest(a.encode(), b.encode("utf-8", "replace")) for a in wanted for b in given]
        if not any(found):
            raise NotVerified(wrong)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class Timed(Verifier):
    """A sender that signs the time."""

    def __init__(self, secret: Secrets, *, tolerance: Duration = "5m") -> None:
        super().__init__(secret)
        self._tolerance = to_ms(tolerance, name="tolerance") / 1000

    def _check_time(self, stamp: str, request: WebhookRequest) -> None:
        seconds = int(stamp) if stamp.isascii() and stamp.isdigit() and len(stamp) < 16 else None
        if seconds is None or abs(request.received_at.timestamp() - seconds) > self._tolerance:
            raise NotVerified("It was not signed just now", seen=shown(stamp))


class Stripe(Timed):
    """Requests of Stripe: ``secret`` is the endpoint's, which begins with ``whsec_``. Deduplicated by the event's id.

    Raises:
        InvalidOption: the secret cannot be one, or the tolerance is no duration.

    >>> @app.webhook("/stripe", verify=Stripe(os.environ["STRIPE_SECRET"]))
    """

    def __call__(self, request: WebhookRequest) -> Verified:
        parts = [part.strip().partition("=") for part in header(request, "stripe-signature").split(",")]
        stamp = next((value for name, _, value in parts if name == "t"), "")
        signed = stamp.encode() + b"." + request.body
        self._compare(
            (hex_sha256(secret, signed) for secret in self._secrets),
            [value for name, _, value in parts if name == "v1"],
        )
        self._check_time(stamp, request)
        return Verified(id_in(request, "id"))


class GitHub(Verifier):
    """Requests of GitHub: ``secret`` is the webhook's. Deduplicated by ``X-GitHub-Delivery``; a ``ping`` is answered,
    and makes no run. GitHub does not sign the time.

    Raises:
        InvalidOption: the secret cannot be one.

    >>> @app.webhook("/github", verify=GitHub(os.environ["GITHUB_WEBHOOK_SECRET"]))
    """

    def __call__(self, request: WebhookRequest) -> Verified:
        given = header(request, "x-hub-signature-256")
        self._compare(("sha256=" + hex_sha256(secret, request.body) for secret in self._secrets), [given])
        ping = request.headers.get("x-github-event") == "ping"
        return Verified(request.headers.get("x-github-delivery"), {"status": "pong"} if ping else None)


class Slack(Timed):
    """Requests of Slack: events, commands and interactions; ``secret`` is the app's signing secret. Deduplicated by the
    id of the event or of the trigger; Slack's question whether the URL is yours is answered, and makes no run.

    Raises:
        InvalidOption: the secret cannot be one, or the tolerance is no duration.

    >>> @app.webhook("/slack", verify=Slack(os.environ["SLACK_SIGNING_SECRET"]))
    """

    success = 200  # a command shows its user anything else

    def __call__(self, request: WebhookRequest) -> Verified:
        stamp = header(request, "x-slack-request-timestamp")
        signed = b"v0:" + stamp.encode("utf-8", "replace") + b":" + request.body
        self._compare(
            ("v0=" + hex_sha256(secret, signed) for secret in self._secrets), [header(request, "x-slack-signature")]
        )
        self._check_time(stamp, request)
        data = request.data
        if isinstance(data, dict) and data.get("type") == "url_verification":
            return Verified(answer={"challenge": str(data.get("challenge", ""))})
        return Verified(id_in(request, "event_id") or id_in(request, "trigger_id"))


class StandardWebhooks(Verifier):
    """Requests signed as Standard Webhooks says, with ``webhook-id``, ``webhook-timestamp`` and ``webhook-signature``;
    those of another Holdfast, too. ``secret`` begins with ``whsec_``. Deduplicated by ``webhook-id``.

    Raises:
        InvalidOption: the secret cannot be one, or the tolerance is no duration.

    >>> @app.webhook("/orders", verify=StandardWebhooks(os.environ["ORDERS_SECRET"]))
    """

    _prefix = "webhook"

    def __init__(self, secret: Secrets, *, tolerance: Duration = "5m") -> None:
        super().__init__(secret)
        checked_standard(self._secrets)
        to_ms(tolerance, name="tolerance")
        self._tolerance = tolerance

    def __call__(self, request: WebhookRequest) -> Verified:
        wanted = {f"webhook-{part}": header(request, f"{self._prefix}-{part}") for part in PARTS}
        try:
            delivery = sign.verify(request.body, wanted, self._secrets, tolerance=self._tolerance)
        except sign.SignatureInvalid as error:
            raise NotVerified(error.what, seen=error.seen) from None
        return Verified(delivery.id)


PARTS: Final = ("id", "timestamp", "signature")


class Svix(StandardWebhooks):
    """Requests that Svix sends for others, with ``svix-id``, ``svix-timestamp`` and ``svix-signature``. ``secret``
    begins with ``whsec_``. Deduplicated by ``svix-id``.

    Raises:
        InvalidOption: the secret cannot be one, or the tolerance is no duration.

    >>> @app.webhook("/clerk", verify=Svix(os.environ["CLERK_SECRET"]))
    """

    _prefix = "svix"


class SharedSecret(Verifier):
    """Requests that bring a secret in a ``header``; in ``Authorization`` it may stand after ``Bearer``. It signs
    nothing, so use it over HTTPS only. Deduplicated by the header ``id_header``, if the sender gives one.

    Raises:
        InvalidOption: the secret cannot be one, or the name of a header.

    >>> @app.webhook("/gitlab", verify=SharedSecret(secret, header="X-Gitlab-Token", id_header="X-Gitlab-Event-UUID"))
    """

    def __init__(self, secret: Secrets, *, header: str = "Authorization", id_header: str | None = None) -> None:
        super().__init__(secret)
        self._header = checked_header(header, "header")
        self._id_header = None if id_header is None else checked_header(id_header, "id_header")
        self.secret_headers = (self._header,)

    def __call__(self, request: WebhookRequest) -> Verified:
        given = header(request, self._header)
        kind, _, rest = given.partition(" ")
        told = rest.strip() if kind.lower() == "bearer" else given
        self._compare(self._secrets, [told], f"Its header {self._header} does not have the secret")
        return Verified(request.headers.get(self._id_header) if self._id_header else None)


# -- reading ----------------------------------------------------------------------------------------------------------


def checked_secrets(secret: object) -> list[str]:
    """The secrets in what a verifier was given. Raises InvalidOption; no secret is shown."""
    parts = [secret] if isinstance(secret, str) else list(secret) if isinstance(secret, list | tuple) else []
    if not parts or not all(isinstance(each, str) and len(each) >= SHORTEST and each.isprintable() for each in parts):
        what = f"secret is not text of at least {SHORTEST} characters, or a list of such"
        raise InvalidOption(what, seen=unshown(secret), do=TAKE)
    return parts


def checked_standard(secrets: list[str]) -> list[str]:
    """These secrets, if they are such as Standard Webhooks has. Raises InvalidOption."""
    try:
        sign.read_secrets(secrets)
    except InvalidOption as error:
        what = error.what.replace("A secret to sign with", "secret")
        raise InvalidOption(what, seen=unshown(secrets[0]), do=TAKE) from None
    return secrets


def unshown(secret: object) -> str:
    return (
        f"{type(secret).__name__}, of {len(secret)}"
        if isinstance(secret, str | list | tuple)
        else type(secret).__name__
    )


def checked_header(value: object, option: str) -> str:
    if (
        not isinstance(value, str)
        or not 0 < len(value) <= HEADER_LENGTH
        or not HEADER_CHARACTERS.issuperset(value.lower())
    ):
        raise InvalidOption(f"{option} is not the name of a header", seen=shown(value), do='Write "X-Token".')
    return value.lower()


def header(request: WebhookRequest, name: str) -> str:
    value = request.headers.get(name, "")
    if not value:
        raise NotVerified(f"It has no header {name}")
    return value


def hex_sha256(secret: str, signed: bytes) -> str:
    return hmac.digest(secret.encode(), signed, "sha256").hex()


def id_in(request: WebhookRequest, name: str) -> str | None:
    value = request.data.get(name) if isinstance(request.data, dict) else None
    return value if isinstance(value, str) and value else None
