"""Webhook tasks: a request that somebody else's server sends becomes a run.

    @app.webhook("/stripe", verify=Stripe(os.environ["STRIPE_SECRET"]))
    async def paid(hook: Webhook[Event]) -> None: ...

A server that has this app loaded takes requests at ``/webhooks/stripe``. One that is not what it says is refused, and
kept for a while to be looked at; the others are answered once their run is on disk, and never more than once by the
sender's id.

    request     what came in, and what the task gets of it
    verify      whose signature it has
    endpoint    a path with its task: judges what comes in, and makes the run of it
"""

from __future__ import annotations

from holdfast.webhooks.endpoint import Endpoint
from holdfast.webhooks.request import Webhook, WebhookRequest
from holdfast.webhooks.verify import GitHub, SharedSecret, Slack, StandardWebhooks, Stripe, Svix

__all__ = [
    "Endpoint",
    "GitHub",
    "SharedSecret",
    "Slack",
    "StandardWebhooks",
    "Stripe",
    "Svix",
    "Webhook",
    "WebhookRequest",
]
