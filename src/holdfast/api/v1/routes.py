"""All of the API of Trigger.dev, a router for each of its parts."""

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


def v1(client: Callable[[], Client]) -> list[APIRouter]:
    """The routes, over the database of ``client()``."""
    parts = (triggering, batches, bulk, large, runs, traces, metadata, keys, schedules, queues, tokens, variables)
    return [part(client) for part in parts]
