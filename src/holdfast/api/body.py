"""The body of a call: so many bytes at most, and each of them before long.

A route reads its body; this stands in between. Where an answer goes out before the body is there, the connection ends
with it, or a client could go on sending for ever.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from fastapi import Request
from starlette.types import Message, Receive

from holdfast.api.refused import Refused

PIECE_SECONDS: Final = 30.0
ALL_SECONDS: Final = 600.0


class Body:
    """What is still to come of one call's body."""

    def __init__(self, request: Request, receive: Receive) -> None:
        self.request, self.next = request, receive
        length = request.headers.get("content-length", "")
        self.length = int(length) if length.isdecimal() and len(length) < 20 else 0
        self.more = self.length > 0 or "transfer-encoding" in request.headers
        self.found, self.most = 0, 0
        self.ends_at = time.monotonic() + ALL_SECONDS

    def limit(self, most: int) -> None:
        """Let it have at most so many bytes. Raises Refused (413): it says itself that it has more."""
        self.most = most
        self.check(self.length)

    def check(self, size: int) -> None:
        if size > self.most:
            raise Refused(413, f"The body is larger than {self.most} bytes")

    async def receive(self) -> Message:
        """What comes next, as ASGI has it. Raises Refused (408, 413): it does not come, or is too much."""
        if not self.more:
            return await self.next()
        try:
            async with asyncio.timeout(min(PIECE_SECONDS, max(0.0, self.ends_at - time.monotonic()))):
                message = await self.next()
        except TimeoutError:
            raise Refused(408, "The body did not arrive in time") from None
        self.found += len(message.get("body", b""))
        self.more = message.get("more_body", False)
        self.check(self.found)
        return message

    def headers(self) -> dict[str, str]:
        """What an answer that goes out now has to say of the connection."""
        return {"Connection": "close"} if self.more else {}
