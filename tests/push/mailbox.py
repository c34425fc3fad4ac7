"""A mail server that takes what it is given, over TLS if it has a certificate."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Mailbox:
    """What came in, and what is answered to a recipient."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self.context = context
        self.port = 0
        self.mails: list[str] = []
        self.recipients: list[str] = []
        self.refuses = False
        self.offers_tls = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def say(line: str) -> None:
            writer.write(f"{line}\r\n".encode())

        say("220 mailbox")
        while line := (await reader.readline()).decode().strip():
            match line.split()[0].upper():
                case "EHLO":
                    say("250-mailbox")
                    if self.offers_tls:
                        say("250-STARTTLS")
                    say("250 AUTH PLAIN")
                case "STARTTLS":
                    say("220 go on")
                    await writer.start_tls(self.context)  # type: ignore[arg-type]
                case "AUTH":
                    say("235 welcome")
                case "RCPT":
                    self.recipients.append(line)
                    say("550 no such person" if self.refuses else "250 fine")
                case "DATA":
                    say("354 go on")
                    mail = []
                    while (part := (await reader.readline()).decode()) != ".\r\n":
                        mail.append(part)
                    self.mails.append("".join(mail))
                    say("250 taken")
                case "QUIT":
                    say("221 bye")
                    break
                case _:
                    say("250 fine")
        writer.close()


@asynccontextmanager
async def mailbox(context: ssl.SSLContext | None = None, *, tls: bool = False) -> AsyncIterator[Mailbox]:
    """A server on loopback; with ``tls`` from the first byte."""
    made = Mailbox(context)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=context if tls else None)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
