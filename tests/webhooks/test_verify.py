"""Signatures of those who send: what is verified, and what is not."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from holdfast import GitHub, InvalidOption, SharedSecret, Slack, StandardWebhooks, Stripe, Svix, WebhookRequest
from holdfast.webhooks.endpoint import Endpoint
from holdfast.webhooks.verify import NotVerified, Verified
from tests.webhooks import senders

VERIFIERS: dict[str, Any] = {
    "stripe": Stripe([senders.STRIPE, "whsec_the_next_one"]),
    "github": GitHub(senders.GITHUB),
    "slack": Slack(senders.SLACK),
    "standard": StandardWebhooks(senders.STANDARD),
    "svix": Svix(senders.STANDARD),
    "shared": SharedSecret(senders.SHARED, header="X-Token", id_header="X-Id"),
}
OTHER = {"standard": "whsec_" + "B" * 32, "svix": "whsec_" + "B" * 32}
TIMED = ("stripe", "slack", "standard", "svix")
DATA = {"id": "evt_1"}


def sent_by(name: str, data: Any = DATA, **said: Any) -> senders.Sent:
    found: senders.Sent = getattr(senders, name)(data, **said)
    return found


async def judged(name: str, sent: senders.Sent) -> Verified:
    headers = {key.lower(): value for key, value in sent.headers.items()}
    request = WebhookRequest("/x", headers, {}, sent.body, datetime.now(UTC))
    return await Endpoint("/x", VERIFIERS[name]).judge(request)


@pytest.mark.parametrize("name", VERIFIERS)
async def test_what_is_signed_is_verified_and_says_its_id(name: str) -> None:
    assert (await judged(name, sent_by(name))).id == "evt_1"


@pytest.mark.parametrize("name", VERIFIERS)
@pytest.mark.parametrize("spoil", ["body", "secret", "signature", "no signature", "empty", "garbage", "surrogates"])
async def test_what_is_not_signed_is_not(name: str, spoil: str) -> None:
    sent = sent_by(name)
    key = next(each for each in sent.headers if "ignature" in each or each == "X-Token")
    others = {each: value for each, value in sent.headers.items() if each != key}
    spoiled = {
        "body": sent._replace(body=sent.body + b" "),
        "secret": sent_by(name, secret=OTHER.get(name, "another secret")),
        "signature": sent._replace(headers={**others, key: sent.headers[key].translate(str.maketrans("aBc", "bcd"))}),
        "no signature": sent._replace(headers=others),
        "empty": sent._replace(body=b""),
        "garbage": senders.Sent(b"\xff\0\xfe", {**others, key: "=,;v1==t=" + "9" * 5000}),
        "surrogates": sent._replace(headers={**others, key: "\udcff"}),
    }
    if name == "shared" and spoil in ("body", "empty"):
        assert await judged(name, spoiled[spoil])  # a shared secret says nothing of the body
        return
    with pytest.raises(NotVerified):
        await judged(name, spoiled[spoil])


@pytest.mark.parametrize("name", TIMED)
@pytest.mark.parametrize("off", [-400, 400])
async def test_what_is_from_another_time_is_not(name: str, off: int) -> None:
    with pytest.raises(NotVerified, match="just now"):
        await judged(name, sent_by(name, at=time.time() + off))
    assert await judged(name, sent_by(name, at=time.time() + off / 2))


@pytest.mark.parametrize("name", TIMED)
async def test_the_time_cannot_be_changed(name: str) -> None:
    old = sent_by(name, at=time.time() - 1000)
    stamp = str(int(time.time() - 1000))
    headers = {key: value.replace(stamp, str(int(time.time()))) for key, value in old.headers.items()}
    with pytest.raises(NotVerified, match="signature"):
        await judged(name, senders.Sent(old.body, headers))


async def test_each_of_several_secrets_is_good() -> None:
    assert await judged("stripe", sent_by("stripe", secret="whsec_the_next_one"))


@pytest.mark.parametrize("make", [Stripe, GitHub, Slack, SharedSecret, StandardWebhooks, Svix])
@pytest.mark.parametrize("secret", ["", "short", [], None, 5, [""], "nul\0nul\0nul"])
def test_a_secret_that_is_none_is_refused_and_not_shown(make: Any, secret: Any) -> None:
    with pytest.raises(InvalidOption) as refused:
        make(secret)
    assert "short" not in str(refused.value).replace("shorten", "")


def test_a_verifier_does_not_show_its_secret() -> None:
    assert all(secret not in repr(each) for each in VERIFIERS.values() for secret in vars(senders).values()
               if isinstance(secret, str) and len(secret) > 8)  # fmt: skip


def test_a_path_that_cannot_be_served_is_refused() -> None:
    for path in ("", "stripe", "/", "/a/", "//a", "/a b", "/ä", "/a/../b", "/.", "/" + "a" * 300, None, 5):
        with pytest.raises(InvalidOption, match="path"):
            Endpoint(path, VERIFIERS["stripe"])  # type: ignore[arg-type]


@pytest.mark.parametrize("verify", [None, "secret", Stripe, 5])
def test_what_cannot_verify_is_refused(verify: Any) -> None:
    with pytest.raises(InvalidOption, match="verify"):
        Endpoint("/a", verify)
