"""Messages of alerts: as requests, signed, and as mail, over TLS."""

from __future__ import annotations

import asyncio
import json
import ssl
from typing import Any

import pytest
import trustme

from holdfast import InvalidOption, alerting, alerts
from holdfast.engine import alerts as engine
from holdfast.engine import schedules
from holdfast.ids import new_id
from holdfast.push import mail, verify
from holdfast.push.mail import MailServer
from holdfast.records import NewSchedule
from holdfast.storage import Store
from tests.engine.making import Hand, know, new, send
from tests.push.conftest import SECRET, Pushing
from tests.push.mailbox import mailbox
from tests.push.receiver import Receiver

BODY = json.dumps({"subject": "[ops] 3 runs\r\nBcc: x@example.com", "text": "hello\n.\nBcc: x"}).encode()


@pytest.fixture
def context(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> ssl.SSLContext:
    """A certificate for this machine, of an authority that is trusted."""
    authority, made = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(made)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return made


async def sent(url: str, addresses: str = "a@example.com,b@example.com") -> dict[str, Any]:
    return await mail.send(MailServer.reading(url, None), f"mailto:{addresses}", BODY, "01run")


@pytest.mark.parametrize("scheme", ["smtps", "smtp"])
async def test_a_mail_goes_over_tls(scheme: str, context: ssl.SSLContext) -> None:
    async with mailbox(context, tls=scheme == "smtps") as box:
        box.offers_tls = True
        answer = await sent(f"{scheme}://ada%40example.com:p%2Fw@127.0.0.1:{box.port}")
        assert (answer["status"], answer["error"]) == (200, None)
        [text] = box.mails
    assert "From: ada@example.com" in text
    assert "To: a@example.com, b@example.com" in text
    assert "Subject: [ops] 3 runs Bcc: x@example.com" in text
    assert "Message-ID: <01run@holdfast>" in text
    assert text.count("\nBcc:") == 1  # in its text, and not in its head
    assert len(box.recipients) == 2


async def test_without_tls_nothing_is_sent_but_where_that_was_said(context: ssl.SSLContext) -> None:
    async with mailbox() as box:
        refused = await sent(f"smtp://127.0.0.1:{box.port}")
        assert "STARTTLS" in refused["error"]
        assert box.mails == []
        assert (await sent(f"smtp+plain://127.0.0.1:{box.port}"))["status"] == 200


async def test_a_server_that_nobody_vouches_for_gets_nothing() -> None:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(made)
    async with mailbox(made, tls=True) as box:
        answer = await sent(f"smtps://u:hunter2@127.0.0.1:{box.port}")
    assert "CERTIFICATE_VERIFY_FAILED" in answer["error"]
    assert "hunter2" not in answer["error"]


async def test_what_went_wrong_is_said(context: ssl.SSLContext) -> None:
    async with mailbox() as box:
        box.refuses = True
        assert "refused a@example.com" in (await sent(f"smtp+plain://127.0.0.1:{box.port}"))["error"]
        port = box.port
    assert "no mail could be handed in" in (await sent(f"smtp+plain://127.0.0.1:{port}"))["error"]
    assert "HOLDFAST_SMTP_URL" in (await mail.send(None, "mailto:a@b.c", BODY, "1"))["error"]


@pytest.mark.parametrize("url", ["smtp.example.com", "http://a", "smtps://", "smtps://u:hunter2@h/path", "smtp://h:x"])
def test_what_names_no_server_is_refused_and_no_password_shown(url: str) -> None:
    with pytest.raises(InvalidOption, match="HOLDFAST_SMTP_URL") as refused:
        MailServer.reading(url, None)
    assert "hunter2" not in str(refused.value)


def go_wrong(store: Store) -> None:
    """Whatever somebody can be told of: a thousand failures, a run that nobody takes, a slot that nobody fires."""
    send(store, *(new() for _ in range(1_000)))
    hand = Hand(store)
    for _ in range(2):
        hand.end(*hand.claim(500), status="failed", error='{"type": "ValueError", "message": "no"}')
    send(store, new("other"))
    rule, make = json.dumps(["cron", "* * * * * *", "UTC", 0]), json.dumps({"task": "greet"})
    store.run_sync(schedules.create, NewSchedule(id=new_id(), task="greet", rule=rule, make=make))


KINDS = [alerts.Failures(), alerts.Backlog("0s"), alerts.NoWorker("0s"), alerts.MissedSchedule("0s")]
WORDS = (
    "1000 x greet failed",
    "ValueError: no",
    "The oldest run that could start in the queue task/other has waited",
    "No live worker knows the task other: 1 run waits",
    "A schedule of greet is late",
)


async def test_whatever_goes_wrong_is_one_message_at_each_channel(
    pushing: Pushing, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerting, "EVERY_MS", 0)
    monkeypatch.setattr(alerting, "LATE_MS", 0)
    store = pushing.app.client.store
    async with mailbox() as box:
        to = [
            alerts.Webhook(f"{receiver.url}/hook"),
            alerts.Slack(f"{receiver.url}/slack"),
            alerts.Mail("a@example.com"),
        ]
        know(store, tasks=("greet", "other"))
        store.run_sync(engine.declare, "shop", [alerts.alert_of("ops", KINDS, to, "0s", "5m").entry()])
        store.run_sync(alerting.look)
        go_wrong(store)
        async with asyncio.timeout(30):
            while not store.read_sync(engine.late_schedules, 0):  # noqa: ASYNC110 - its second has to pass
                await asyncio.sleep(0.05)
        assert [store.run_sync(alerting.look) for _ in range(2)] == [3, 0]
        pushing.start(smtp_url=f"smtp+plain://127.0.0.1:{box.port}")
        runs = await pushing.app.runs.alist(task=alerting.TASK)
        for run in runs:
            ended = await pushing.ended(pushing.app.handle(run.id))
            assert ended.status == "completed", ended.error
    hook, slack = sorted(receiver.received, key=lambda request: request.path)
    assert verify(hook.body, hook.headers, SECRET).id in [run.id for run in runs]
    told, [mail] = json.loads(hook.body), box.mails
    said = [f"{each['count']} x {each['task']} {each['status']}" for each in told["failed"]]
    said += [run["error"] for run in told["runs"]] + [each["text"] for each in told["firing"]]
    assert told["headline"].startswith("1000 runs have failed; The oldest run")
    assert json.loads(slack.body)["text"].startswith("*[ops] 1000 runs have failed; The oldest run")
    assert "Subject: [ops] 1000 runs have failed" in mail
    for text in ("\n".join(said), json.loads(slack.body)["text"], mail.replace("=\n", "").replace("\r\n", "\n")):
        assert [words for words in WORDS if words not in text] == []
