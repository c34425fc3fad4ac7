"""Signatures, and receivers that verify them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time

import pytest

from holdfast import InvalidOption
from holdfast.push import SignatureInvalid, verify
from holdfast.sign import Signer, mergent_signature, new_secret, read_secrets
from tests.push.conftest import SECRET, Pushing
from tests.push.receiver import Receiver

OLD = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


def signed(body: bytes, *secrets: str, at: float | None = None) -> dict[str, str]:
    return Signer(read_secrets(list(secrets)), None).headers("01run", body, time.time() if at is None else at)


def test_the_signature_of_mergent() -> None:
    assert mergent_signature("12345", b"foo") == "QjZpKdTK/iwkUWiz3seoPbJHA0I="
    assert mergent_signature("12345", b"") == base64.b64encode(hmac.digest(b"12345", b"", "sha1")).decode()


def test_the_signature_is_that_of_standard_webhooks() -> None:
    """The example of its specification, computed by hand."""
    headers = signed(b'{"test": 2432232314}', SECRET, at=1614265330)
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    wanted = hmac.new(key, b'01run.1614265330.{"test": 2432232314}', hashlib.sha256).digest()
    assert headers == {
        "webhook-id": "01run",
        "webhook-timestamp": "1614265330",
        "webhook-signature": f"v1,{base64.b64encode(wanted).decode()}",
    }


def test_what_was_signed_is_verified() -> None:
    headers = {name.title(): value for name, value in signed(b"hello", SECRET).items()}
    delivery = verify(b"hello", headers, SECRET)
    assert delivery.id == "01run"
    assert abs(delivery.timestamp - time.time()) < 60
    assert verify("hello", headers, SECRET) == delivery


def test_either_secret_will_do_while_one_is_replaced() -> None:
    both = signed(b"x", SECRET, OLD)
    assert len(both["webhook-signature"].split()) == 2
    for secret in (SECRET, OLD, [SECRET, OLD], f"{OLD}, {SECRET}"):
        assert verify(b"x", both, secret)
    assert verify(b"x", signed(b"x", OLD), [SECRET, OLD])
    with pytest.raises(SignatureInvalid):
        verify(b"x", signed(b"x", OLD), SECRET)


@pytest.mark.parametrize(
    "change",
    [{"webhook-id": "other"}, {"webhook-timestamp": str(int(time.time()) - 100)}, {"webhook-signature": "v1,"},
     {"webhook-signature": "v1,\u2603"}, {"webhook-signature": ""}, {"webhook-timestamp": "soon"}, {"webhook-id": ""},
     {"webhook-timestamp": "-1"}, {"webhook-timestamp": "9" * 30}],
)  # fmt: skip
def test_whatever_is_changed_is_noticed(change: dict[str, str]) -> None:
    with pytest.raises(SignatureInvalid):
        verify(b"x", signed(b"x", SECRET) | change, SECRET)
    with pytest.raises(SignatureInvalid):
        verify(b"y", signed(b"x", SECRET), SECRET)
    with pytest.raises(SignatureInvalid):
        verify(b"x", {}, SECRET)


@pytest.mark.parametrize("age", [-400, 400])
def test_an_old_one_is_refused_and_so_is_one_from_the_future(age: int) -> None:
    headers = signed(b"x", SECRET, at=time.time() - age)
    with pytest.raises(SignatureInvalid, match="not signed just now"):
        verify(b"x", headers, SECRET)
    assert verify(b"x", headers, SECRET, tolerance="1h")


@pytest.mark.parametrize("secret", ["", "x", "whsec_", "whsec_c2hvcnQ=", "whsec_!", [], "whsec_" + "A" * 400])
def test_a_secret_that_is_none_is_refused_and_not_shown(secret: str) -> None:
    with pytest.raises(InvalidOption) as refused:
        verify(b"x", signed(b"x", SECRET), secret)
    assert "c2hvcnQ" not in str(refused.value)


def test_new_secrets_are_secrets() -> None:
    assert len(read_secrets(new_secret())[0]) == 32
    assert new_secret() != new_secret()


async def test_every_request_is_signed_and_each_attempt_anew(pushing: Pushing, receiver: Receiver) -> None:
    pushing.start(api_key="12345", secrets=f"{SECRET} {OLD}")
    run = await pushing.ended(await pushing.app.apush(receiver.url, content="foo"))
    [request] = receiver.received
    for secret in (SECRET, OLD):
        assert verify(request.body, request.headers, secret).id == run.id
    assert request.headers["X-Mergent-Signature"] == "QjZpKdTK/iwkUWiz3seoPbJHA0I="


async def test_without_a_setting_the_database_has_the_secret(pushing: Pushing, receiver: Receiver) -> None:
    from holdfast.engine import pushes

    pushing.start(secrets="")
    await pushing.ended(await pushing.app.apush(receiver.url, content="foo"))
    [row] = await pushing.app.client.aread(pushes.signing_rows)
    [request] = receiver.received
    assert verify(request.body, request.headers, row.secret)
    assert "X-Mergent-Signature" not in request.headers  # there is no API key
