"""Which keys there are, and whose a call brings.

What the database says of keys is read again when it is older than a second, so a key that is revoked opens nothing a
second later, on any server. For a key that is not there it is read once more, as it may have been made just now, but
only so often, whoever guesses. When a key was used last is written once in a minute for each.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from fastapi import Request

from holdfast.api import public
from holdfast.api.auth import THIS_MACHINE, Caller
from holdfast.api.limit import Limit
from holdfast.client import Client
from holdfast.engine import keys
from holdfast.engine.keys import Known, KnownKey
from holdfast.errors import DatabaseError
from holdfast.ids import new_secret
from holdfast.rate import Rate
from holdfast.scopes import right_of

FRESH_SECONDS: Final = 1.0
LOOKS: Final = Rate(5, 1_000)  # more, for keys that are not known
USED_SECONDS: Final = 60.0
ENVIRONMENT_KEY: Final = "HOLDFAST_API_KEY"
Session = Callable[[Request], Awaitable[Caller | None]]
log = logging.getLogger("holdfast")


class Keyring:
    """The keys of one server: the operator's, and those in the database of ``client()``.

    ``sessions`` are asked who calls where a call brings no key: what knows of them (a page with a login) adds itself.
    """

    def __init__(self, client: Callable[[], Client], key: str | None) -> None:
        self.client, self.key = client, key
        self.sessions: list[Session] = []
        self.lock = asyncio.Lock()
        self.looks = Limit(LOOKS)
        self.read_at = float("-inf")
        self.snapshot = Known((), False, None)
        self.by_hash: dict[str, tuple[KnownKey, float]] = {}
        self.noted: dict[str, float] = {}

    # -- who calls --

    async def caller(self, given: str) -> Caller | None:
        """Whose key or public token this is; None if nobody's."""
        if public.looks_like_one(given) and (found := await self.caller_of_token(given)) is not None:
            return found
        return await self.caller_of_key(given)

    async def caller_of_key(self, given: str) -> Caller | None:
        """Whose key this is; None if nobody's."""
        if self.key is not None and same(given, self.key):
            return Caller(ENVIRONMENT_KEY, None, THIS_MACHINE.rights)
        came, hashed = time.monotonic(), keys.hash_of(given)
        await self.refresh()
        if hashed not in self.by_hash and self.read_at < came and self.looks.count(came).allowed:
            await self.refresh(came)
        key, until = self.by_hash.get(hashed, (None, 0.0))
        if key is None or not hmac.compare_digest(key.hash, hashed) or time.monotonic() >= until:
            return None
        await self.note(key)
        return caller_with(key)

    async def caller_of_token(self, given: str) -> Caller | None:
        """Who may what by this public token; None if it is none, it is over, or the key that it came from is."""
        await self.refresh()
        secrets = [each for each in (self.key, self.snapshot.issuer) if each is not None]
        said = public.read(given, secrets)
        if said is None:
            return None
        key_id = said.subject.removeprefix(public.KEY) if said.subject.startswith(public.KEY) else None
        if key_id is not None and not any(each.id == key_id for each, _ in self.by_hash.values()):
            return None
        return Caller("public token", key_id, said.rights, once=said.once, ends_at=said.expires_at, hidden=said.hidden)

    async def keyed(self) -> bool:
        """Whether a key is asked for at all."""
        if self.key is None:
            await self.refresh()
        return self.key is not None or self.snapshot.any

    async def session(self, request: Request) -> Caller | None:
        """Who calls, by what a page's login has left with a browser."""
        for each in self.sessions:
            if (caller := await each(request)) is not None:
                return caller
        return None

    # -- public tokens --

    async def issuer(self) -> str:
        """What this server signs with, the same on all servers of a database."""
        await self.refresh()
        if self.snapshot.issuer is None:
            secret = await self.client().awrite(keys.issuer, new_secret())
            self.snapshot = self.snapshot._replace(issuer=secret)
            return secret
        return self.snapshot.issuer

    async def public_token(
        self,
        caller: Caller,
        scopes: list[str],
        expires_at: float,
        *,
        once: bool = False,
        realtime: Mapping[str, Any] | None = None,
    ) -> str:
        """A token with these scopes, which counts for as long as the caller's key does."""
        subject = public.ENVIRONMENT if caller.key_id is None else f"{public.KEY}{caller.key_id}"
        return public.written(await self.issuer(), subject, scopes, expires_at, once=once, realtime=realtime)

    # -- what the database says --

    async def refresh(self, since: float | None = None) -> None:
        """Read the keys again, if it was too long ago, or before then. Who comes meanwhile waits for the same."""
        oldest = time.monotonic() - FRESH_SECONDS if since is None else since
        if self.read_at > oldest:
            return
        async with self.lock:
            began = time.monotonic()
            if self.read_at > oldest:
                return
            self.snapshot = await self.client().aread(keys.known)
            self.by_hash = {key.hash: (key, ends(key, began)) for key in self.snapshot.keys}
            self.read_at = began

    async def note(self, key: KnownKey) -> None:
        """Note that a key is in use. That this cannot be written refuses nobody."""
        now = time.monotonic()
        if now - self.noted.get(key.id, float("-inf")) < USED_SECONDS:
            return
        self.noted[key.id] = now
        try:
            await self.client().awrite(keys.used, key.id)
        except DatabaseError as error:
            log.warning("when the key %s was used could not be noted: %s", key.id, error)


def caller_with(key: KnownKey) -> Caller:
    return Caller(key.name, key.id, frozenset(right_of(scope) for scope in key.scopes))


def ends(key: KnownKey, now: float) -> float:
    return float("inf") if key.lasting_ms is None else now + key.lasting_ms / 1000


def same(given: str, key: str) -> bool:
    """Whether two texts are one, found out in the same time whatever they are."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), key.encode("utf-8", "surrogatepass"))
