"""Who changes something with the command line, for the audit log."""

from __future__ import annotations

import getpass
import socket
from typing import TYPE_CHECKING

from holdfast.engine import audit

if TYPE_CHECKING:
    from holdfast.client import Client


def record(client: Client, verb: str, subject: str = "") -> None:
    """Note what a command has changed: ``queues pause``, of ``orders``."""
    client.write(audit.write, actor(), verb, subject, socket.gethostname())


def actor() -> str:
    """Whose command this is, as the system calls them."""
    try:
        return f"{getpass.getuser()} (command line)"
    except (OSError, KeyError, ImportError):  # a container may run under a number that has no name
        return "command line"
