"""The pusher: a host beside the worker, which carries runs of HTTP tasks out by sending requests.

It is a worker in all that concerns the database: it registers, beats, claims by route, reports, and hands back what it
cannot keep; only what an attempt *is* differs. It knows no app. Which tasks are requests it reads from the catalogue,
again every second, so that a new task, or a corrected URL, needs no restart.
"""

from __future__ import annotations

import logging
from typing import Any, Final, NamedTuple

from holdfast.engine import pushes
from holdfast.http_task import HttpTask
from holdfast.push.deliver import Sender
from holdfast.push.guard import Guard
from holdfast.push.mail import MailServer
from holdfast.push.open import OpenRequests
from holdfast.records import TaskEntry
from holdfast.settings import Settings as AppSettings
from holdfast.sign import Signer, new_secret, read_secrets
from holdfast.storage import Store
from holdfast.worker.home import Home, Settings
from holdfast.worker.worker import Worker

log = logging.getLogger("holdfast")

SIGNING_SECONDS: Final = 30.0


class PushSettings(NamedTuple):
    """How requests are sent, beside what `holdfast.worker.home.Settings` says of any worker."""

    per_host: int = 10_000
    timeout_ms: int = 15 * 60_000
    keep_bytes: int = 16_384
    allow: str = ""
    secrets: str = ""
    api_key: str | None = None
    smtp_url: str = ""
    mail_from: str | None = None

    def mail(self) -> MailServer | None:
        """Where mail is handed in, if somebody has said so. Raises InvalidOption."""
        return MailServer.reading(self.smtp_url, self.mail_from) if self.smtp_url else None


def push_settings(settings: AppSettings, *, drain_seconds: float = 30.0) -> tuple[Settings, PushSettings]:
    """What is said of pushing where this process runs.

    Raises:
        InvalidOption: something cannot be used.
    """
    said = {each: settings.get(each).value for each in settings.names}
    Guard.reading(said["push_allow"] or "")
    read_secrets(said["push_secret"] or "")
    usual = Settings(concurrency=said["push_concurrency"], lease_ms=said["lease"], drain_seconds=drain_seconds)
    found = PushSettings(
        per_host=said["push_per_host"] or said["push_concurrency"],
        timeout_ms=said["push_timeout"],
        keep_bytes=said["push_response_limit"],
        allow=said["push_allow"] or "",
        secrets=said["push_secret"] or "",
        api_key=said["api_key"],
        smtp_url=said["smtp_url"] or "",
        mail_from=said["mail_from"],
    )
    found.mail()
    return usual, found


class Pusher(Worker):
    """One pusher: an event loop, and the requests that are open on it."""

    sender: Sender
    what = "pusher"

    def __init__(self, store: Store, settings: Settings, push: PushSettings, **more: Any) -> None:
        self.push = push
        self.known: dict[str, HttpTask[Any]] = {}
        self.announced: dict[str, tuple[str, str, bool]] = {}
        self.mail = push.mail()
        self.signer = Signer(read_secrets(push.secrets), push.api_key)
        self.signed_at = float("-inf")
        super().__init__(Home(self.known, [], None), store, settings, **more)

    async def run(self) -> None:
        self.sender = Sender(Guard.reading(self.push.allow), keep_bytes=self.push.keep_bytes)
        try:
            await super().run()
        finally:
            await self.sender.close()

    def make_hold(self) -> OpenRequests:
        return OpenRequests(self)

    def entries(self) -> list[TaskEntry]:
        """It announces nothing: it knows these tasks from the catalogue."""
        return []

    async def register(self) -> None:
        await self.learn_tasks()
        await self.learn_secrets()
        await super().register()

    async def find_routes(self) -> None:
        if new := await self.learn_tasks():
            await self.store.run(pushes.know, self.me, new)
        if self.loop.time() - self.signed_at > SIGNING_SECONDS:
            await self.learn_secrets()
        await super().find_routes()

    async def learn_tasks(self) -> list[str]:
        """Read which tasks are requests; answers those that were not known."""
        tasks = await self.store.read(pushes.http_tasks)
        found = {task.id: (task.queue, task.options, not task.end_hooks) for task in tasks}
        new = [name for name in found if name not in self.known]
        for name, announced in found.items():
            if self.announced.get(name) != announced:
                self.learn_task(name, *announced)
        return new

    def learn_task(self, id: str, queue: str, options: str, heard: bool) -> None:
        self.announced[id] = queue, options, heard
        try:
            self.known[id] = HttpTask.announced(id, queue, options, heard=heard)
        except Exception:  # written by a newer version, perhaps: its runs wait for who can read it
            log.exception("the HTTP task %s cannot be read", id)

    async def learn_secrets(self) -> None:
        """Read what requests are signed with, where no setting says so; the first pusher of all makes a secret."""
        self.signed_at = self.loop.time()
        if not self.push.secrets:
            secrets = await self.store.run(pushes.signing, new_secret())
            self.signer = self.signer._replace(keys=read_secrets(secrets))
