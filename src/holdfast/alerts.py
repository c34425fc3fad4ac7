"""Alerts: what somebody is to be told of, and where.

    from holdfast import alerts

    app.alert(
        "ops",
        alerts.Failures(), alerts.Backlog("10m"), alerts.NoWorker("2m"), alerts.MissedSchedule("5m"),
        to=[alerts.Slack(os.environ["SLACK_URL"]), alerts.Mail("ops@example.com")],
    )

What is said in code is announced to the database by workers, or by a server that has the app loaded where there are
none, and looked at by every host, also where no worker is left: that is when it is needed most. What belongs together
is one message: it waits a little for more of its kind, and there is one every few minutes at most. Messages are runs of
a task of their own, sent and tried again like all requests.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from holdfast.duration import Duration, to_ms
from holdfast.errors import InvalidOption, shown
from holdfast.names import ID_LENGTH, checked_name
from holdfast.records import AlertEntry
from holdfast.request import checked_url

__all__ = [
    "Alert",
    "Backlog",
    "Channel",
    "Condition",
    "Failures",
    "Mail",
    "MissedSchedule",
    "NoWorker",
    "Slack",
    "Webhook",
]

ADDRESS: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,255}", re.ASCII)


class Condition:
    """What somebody is to be told of."""

    kind: str
    name: str | None  # of the task or queue that it is limited to
    after_ms: int

    def record(self) -> dict[str, Any]:
        return {"kind": self.kind, "name": self.name, "after_ms": self.after_ms}


class Failures(Condition):
    """Runs that ended badly: failed, timed out, crashed, expired, or stopped by a failure of the system. Of one
    ``task``, or of any.

    Raises:
        InvalidOption: ``task`` is no id.
    """

    kind = "failures"

    def __init__(self, task: str | None = None) -> None:
        self.name = None if task is None else checked_name(task, option="task", length=ID_LENGTH)
        self.after_ms = 0


class Backlog(Condition):
    """A queue's oldest run that could start, and does not, is older than this. Of one ``queue``, or of each.

    Raises:
        InvalidOption: ``older_than`` is no duration, or ``queue`` no name.
    """

    kind = "backlog"

    def __init__(self, older_than: Duration, *, queue: str | None = None) -> None:
        self.name = None if queue is None else checked_name(queue, option="queue")
        self.after_ms = to_ms(older_than, name="older_than")


class NoWorker(Condition):
    """Runs wait, and for so long there has been no live worker that knows their task. Of one ``task``, or of any.

    Raises:
        InvalidOption: ``lasting`` is no duration, or ``task`` no id.
    """

    kind = "no_worker"

    def __init__(self, lasting: Duration = "2m", *, task: str | None = None) -> None:
        self.name = None if task is None else checked_name(task, option="task", length=ID_LENGTH)
        self.after_ms = to_ms(lasting, name="lasting")


class MissedSchedule(Condition):
    """A schedule is so late, has missed a slot, or cannot go on. Of one ``task``, or of any.

    Raises:
        InvalidOption: ``late`` is no duration, or ``task`` no id.
    """

    kind = "missed_schedule"

    def __init__(self, late: Duration = "5m", *, task: str | None = None) -> None:
        self.name = None if task is None else checked_name(task, option="task", length=ID_LENGTH)
        self.after_ms = to_ms(late, name="late")


class Channel:
    """Where a message goes."""

    kind: str

    def __init__(self, url: str) -> None:
        self.url = checked_url(url)

    def record(self) -> dict[str, str]:
        return {"kind": self.kind, "url": self.url}

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"  # the URL may be all that is asked for


class Webhook(Channel):
    """A POST with the message as JSON, signed as all requests of this Holdfast are: `holdfast.push.verify` verifies it.

    Raises:
        InvalidOption: the URL cannot be used.
    """

    kind = "webhook"


class Slack(Channel):
    """An incoming webhook of Slack, or of whatever takes the same: Mattermost, Rocket.Chat, Discord with ``/slack``.

    Raises:
        InvalidOption: the URL cannot be used.
    """

    kind = "slack"


class Mail(Channel):
    """A mail, sent over the server that ``HOLDFAST_SMTP_URL`` names where requests are sent.

    Raises:
        InvalidOption: one is no address.
    """

    kind = "mail"

    def __init__(self, *addresses: str) -> None:
        checked = [checked_address(each) for each in addresses or ("",)]
        self.url = f"mailto:{','.join(checked)}"


def checked_address(value: object) -> str:
    if not isinstance(value, str) or not ADDRESS.fullmatch(value):
        what = "One of addresses is no address for mail"
        raise InvalidOption(what, seen=shown(value), do='Write "ops@example.com".')
    return value


@dataclass(frozen=True)
class Alert:
    """What an app has declared with `Holdfast.alert`."""

    name: str
    conditions: tuple[Condition, ...]
    channels: tuple[Channel, ...]
    gather_ms: int
    every_ms: int

    def entry(self) -> AlertEntry:
        """The alert as workers announce it."""
        body = {
            "conditions": [each.record() for each in self.conditions],
            "channels": [each.record() for each in self.channels],
            "gather_ms": self.gather_ms,
            "every_ms": self.every_ms,
        }
        return AlertEntry(name=self.name, body=msgspec.json.encode(body).decode())


def alert_of(name: str, conditions: Sequence[object], to: object, gather: Duration, every: Duration) -> Alert:
    """The alert in what an app was told. Raises InvalidOption."""
    channels = [to] if isinstance(to, Channel) else list(to) if isinstance(to, list | tuple) else []
    if not channels or not all(isinstance(each, Channel) for each in channels):
        raise InvalidOption(
            "to is not where messages go", seen=shown(to), do='Write to=alerts.Mail("ops@example.com").'
        )
    wrong = [each for each in conditions if not isinstance(each, Condition)]
    if wrong or not conditions:
        raise InvalidOption(
            "conditions are not what somebody is to be told of",
            seen=shown(wrong[0] if wrong else conditions),
            do="Write alerts.Failures(), or another condition of holdfast.alerts.",
        )
    return Alert(
        checked_name(name, option="name", length=ID_LENGTH),
        tuple(each for each in conditions if isinstance(each, Condition)),
        tuple(channels),
        to_ms(gather, name="gather"),
        to_ms(every, name="every"),
    )
