"""The verbs over HTTP, for Python programs that cannot reach the database.

from holdfast.remote import Client

jobs = Client("https://jobs.example.com", key="tr_prod_sk_…")
jobs.trigger("greet", "Ada").result(timeout="1m")

connection   calls: one event loop in a thread of its own for both colours, and what is sent again
wire         what is said and answered, as Holdfast's own values
client       trigger, batch, retrieve, wait, cancel, replay, list
operate      queues, schedules, tokens
"""

from __future__ import annotations

from holdfast.remote.client import Client, Item
from holdfast.remote.connection import RemoteError, RemoteUnavailable
from holdfast.remote.operate import Queue, Queues, Schedule, Schedules, Token, Tokens

__all__ = [
    "Client",
    "Item",
    "Queue",
    "Queues",
    "RemoteError",
    "RemoteUnavailable",
    "Schedule",
    "Schedules",
    "Token",
    "Tokens",
]
