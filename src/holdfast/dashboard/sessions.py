"""Sessions: who has logged in with a key need not bring it with each call.

A cookie says which key it was, signed with the secret of the deployment, so every server knows it. It counts for as
long as the key does, at most two weeks; with another HOLDFAST_API_KEY, sessions of the old one are over. It holds no
key.
"""

from __future__ import annotations

import time
from typing import Final

from fastapi import Request, Response
from itsdangerous import BadData, URLSafeTimedSerializer

from holdfast.api.auth import THIS_MACHINE, Caller
from holdfast.api.keyring import ENVIRONMENT_KEY, Keyring, caller_with
from holdfast.engine.keys import hash_of

COOKIE: Final = "holdfast_session"
LASTING: Final = 14 * 86_400  # seconds


class Sessions:
    """The sessions of one server, over its keys."""

    def __init__(self, keys: Keyring) -> None:
        self.keys = keys
        keys.sessions.append(self.caller)

    async def begin(self, request: Request, answer: Response, caller: Caller) -> None:
        """Let this browser be known as this caller."""
        signer = await self.signer(caller.key_id)
        answer.set_cookie(
            COOKIE,
            f"{caller.key_id or ''}.{signer.dumps(caller.key_id or '')}",
            max_age=LASTING,
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https",
        )

    def end(self, answer: Response) -> None:
        answer.delete_cookie(COOKIE)

    async def caller(self, request: Request) -> Caller | None:
        """Who calls, by the cookie that a call brings; None if it is none of ours, or its key counts no more."""
        key_id, _, signed = request.cookies.get(COOKIE, "").partition(".")
        if not signed:
            return None
        try:
            if (await self.signer(key_id or None)).loads(signed, max_age=LASTING) != key_id:
                return None
        except BadData:
            return None
        if not key_id:
            return None if self.keys.key is None else Caller(ENVIRONMENT_KEY, None, THIS_MACHINE.rights)
        return next(
            (
                caller_with(key)
                for key, until in self.keys.by_hash.values()
                if key.id == key_id and time.monotonic() < until
            ),
            None,
        )

    async def signer(self, key_id: str | None) -> URLSafeTimedSerializer:
        own = hash_of(self.keys.key) if key_id is None and self.keys.key is not None else ""
        return URLSafeTimedSerializer(await self.keys.issuer() + own, salt="holdfast session")
