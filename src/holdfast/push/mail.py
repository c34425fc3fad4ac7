"""Mail: what an alert sends to people, as a request whose URL is ``mailto:ops@example.com``.

    smtps://user:password@smtp.example.com        TLS from the first byte, port 465
    smtp://user:password@smtp.example.com         STARTTLS, or nothing is sent, port 587
    smtp+plain://127.0.0.1                        without TLS, for a server on this machine, port 25

The server's certificate is checked. A mail keeps its Message-ID when it is tried again, so that a server can tell. Only
alerts make such requests: a URL that a user writes is HTTP's.
"""

from __future__ import annotations

import asyncio
import smtplib
import ssl
import time
from email.message import EmailMessage
from email.utils import formatdate
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

import msgspec

from holdfast.errors import InvalidOption, shown

SCHEME: Final = "mailto:"
PORTS: Final = {"smtps": 465, "smtp": 587, "smtp+plain": 25}
CONNECT_SECONDS: Final = 30.0
ACCEPTED: Final = 200  # as HTTP says it: the mail is the server's now
VARIABLE: Final = "HOLDFAST_SMTP_URL"


class Letter(msgspec.Struct):
    """The body of such a request."""

    subject: str
    text: str


class MailServer(NamedTuple):
    """Where mail is handed in, and from whom it is."""

    scheme: str
    host: str
    port: int
    user: str
    password: str
    sender: str

    @classmethod
    def reading(cls, url: str, sender: str | None) -> MailServer:
        """From ``HOLDFAST_SMTP_URL`` and ``HOLDFAST_MAIL_FROM``.

        Raises:
            InvalidOption: the URL cannot be used. It is not shown, for it has a password.
        """
        what = f"{VARIABLE} is not the URL of a mail server"
        do = "Write it like smtps://user:password@smtp.example.com, with % escapes in the password."
        try:
            said = urlsplit(url)
            port = said.port
        except ValueError:
            raise InvalidOption(
                f"{VARIABLE} is not the URL of a mail server", seen="it cannot be read", do=do
            ) from None
        if said.scheme not in PORTS or not said.hostname or said.path.strip("/") or said.query:
            raise InvalidOption(what, seen=shown(said.scheme), do=do)
        user, password = unquote(said.username or ""), unquote(said.password or "")
        usual = user if "@" in user else f"holdfast@{said.hostname}"
        return cls(said.scheme, said.hostname, port or PORTS[said.scheme], user, password, sender or usual)

    def deliver(self, addresses: list[str], letter: Letter, id: str) -> None:
        """Hand a mail in. Raises OSError, smtplib.SMTPException."""
        message = EmailMessage()
        message["From"], message["To"] = self.sender, ", ".join(addresses)
        message["Subject"] = " ".join(letter.subject.split())[:200]
        message["Date"], message["Message-ID"] = formatdate(), f"<{id}@holdfast>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(letter.text.replace("\r", "").replace("\0", ""))
        with self.connected() as smtp:
            if self.user:
                smtp.login(self.user, self.password)
            refused = smtp.send_message(message, self.sender, addresses)
            if refused:
                raise smtplib.SMTPRecipientsRefused(refused)

    def connected(self) -> smtplib.SMTP:
        if self.scheme == "smtps":
            context = ssl.create_default_context()
            return smtplib.SMTP_SSL(self.host, self.port, timeout=CONNECT_SECONDS, context=context)
        smtp = smtplib.SMTP(self.host, self.port, timeout=CONNECT_SECONDS)
        if self.scheme == "smtp":
            smtp.starttls(context=ssl.create_default_context())  # raises where the server does not offer it
        return smtp


def is_mail(url: str) -> bool:
    return url.startswith(SCHEME)


async def send(server: MailServer | None, url: str, body: bytes, id: str) -> dict[str, Any]:
    """Send it, and say what came of it, in the words of an answer over HTTP: a status, or an error."""
    began, at = time.perf_counter(), int(time.time() * 1000)
    error = await asyncio.to_thread(failure, server, url, body, id)
    took = round((time.perf_counter() - began) * 1e6)
    return {"at": at, "status": None if error else ACCEPTED, "error": error, "total_us": took}


def failure(server: MailServer | None, url: str, body: bytes, id: str) -> str | None:
    """Why a mail could not be handed in; None if it was."""
    if server is None:
        return f"no mail server is known here: set {VARIABLE} where requests are sent"
    try:
        letter = msgspec.json.decode(body, type=Letter)
        server.deliver(url.removeprefix(SCHEME).split(","), letter, id)
    except smtplib.SMTPRecipientsRefused as error:
        return f"the mail server refused {', '.join(error.recipients)}"
    except smtplib.SMTPResponseException as error:
        said = error.smtp_error.decode("utf-8", "replace") if isinstance(error.smtp_error, bytes) else error.smtp_error
        return f"the mail server answered {error.smtp_code}: {shown(str(said), 200)}"
    except (smtplib.SMTPException, OSError, ValueError) as error:
        return f"no mail could be handed in: {type(error).__name__}: {shown(str(error), 200)}"
    return None
