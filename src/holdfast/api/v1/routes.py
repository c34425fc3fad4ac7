"""All of the API of Trigger.dev in one router."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter

from holdfast.api.v1.batches import batches
from holdfast.api.v1.bulk import bulk
from holdfast.api.v1.keys import keys
from holdfast.api.v1.large import large
from holdfast.api.v1.metadata import metadata
from holdfast.api.v1.queues import queues
from holdfast.api.v1.runs import runs
from holdfast.api.v1.schedules import schedules
from holdfast.api.v1.tokens import tokens
from holdfast.api.v1.traces import traces
from holdfast.api.v1.trigger import triggering
from holdfast.api.v1.variables import variables
from holdfast.client import Client


def v1(client: Callable[[], Client]) -> APIRouter:
    """The routes, over the database of ``client()``."""
    router = APIRouter()
    for part in (triggering, batches, bulk, large, runs, traces, metadata, keys, schedules, queues, tokens, variables):
        router.include_router(part(client))
    return router
