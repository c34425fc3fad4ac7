"""Who comes to the shop from outside: the bank, whose webhooks are runs; strangers, whose requests are refused; the
operators, whose changes are in the audit log; and a host that requests are sent to in vain.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple

from holdfast.engine import audit, pushes, webhooks
from holdfast.ids import new_id
from holdfast.records import Rejected
from holdfast.storage import Store

HEADERS: Final = {"content-type": "application/json", "stripe-signature": "**********", "user-agent": "Stripe/1.0"}
REFUSED: Final = (
    ("The signature is not that of this body", "203.0.113.7", '{"id": "evt_9", "type": "paid", "order": 1}'),
    ("It has no header stripe-signature", "198.51.100.23", "<?php system($_GET['c']); ?>"),
    ("It was not signed just now", "192.0.2.81", '{"id": "evt_4", "type": "paid", "order": 4711}'),
)
DOWN: Final = "10.0.4.9:8080"  # a host that requests are sent to
CHANGES: Final = (
    ("grace", "queues pause", "newsletter", "10.0.4.12"),
    ("grace", "schedules update", "nightly-report", "10.0.4.12"),
    ("deploys", "workers drain", "reef-2", "10.0.4.3"),
    ("ada (command line)", "errors replay", "shop.BankUnreachable", "reef-1"),
    ("ada (command line)", "keys create", "billing", "reef-1"),
)


def told(order: int, amount: float) -> dict[str, Any]:
    """What the task ``payment`` gets."""
    body = {"id": f"evt_{order}", "type": "paid", "order": order, "amount": amount}
    return {"body": body, "id": body["id"], "path": "/stripe", "headers": HEADERS, "query": {}}


class Visit(NamedTuple):
    """Something that happens when this share of the past is over."""

    at: float
    come: Callable[[Store], object]


def visits() -> list[Visit]:
    """What is refused, what is changed, and who does not answer, in their order."""
    found = [Visit(random.uniform(0.2, 1), partial(refuse, *told)) for told in random.choices(REFUSED, k=7)]
    found += [Visit(0.3 + 0.15 * n, partial(change, *told)) for n, told in enumerate(CHANGES)]
    found.append(
        Visit(1, lambda store: store.run_sync(pushes.open_circuit, DOWN, 12, "connection refused", 900_000, "reef-2"))
    )
    return sorted(found, key=lambda each: each.at)


def refuse(reason: str, source: str, body: str, store: Store) -> None:
    headers = {"user-agent": "curl/8.5"} if "no header" in reason else HEADERS
    request = Rejected(
        id=new_id(),
        path="/stripe",
        reason=reason,
        source=source,
        headers=json.dumps(headers),
        body=body,
        size=len(body),
    )
    store.run_sync(webhooks.reject, [request])


def change(actor: str, verb: str, subject: str, origin: str, store: Store) -> None:
    store.run_sync(audit.write, actor, verb, subject, origin)
