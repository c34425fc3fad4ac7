"""Which runs a list shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec


class Filter(msgspec.Struct, kw_only=True, frozen=True):
    """Which runs. What is empty or None says nothing.

    They have any of these ``statuses``, ``tasks``, ``queues`` and ``versions``, this ``concurrency_key``, all of these
    ``tags`` and any of ``any_tags``; were made by this ``schedule``, ``since`` then at the earliest and ``until`` then
    at the latest; ended with the ``error`` of this fingerprint; and ``told`` is true of the options that they were
    triggered with.
    """

    statuses: frozenset[str] = frozenset()
    tasks: frozenset[str] = frozenset()
    queues: frozenset[str] = frozenset()
    versions: frozenset[str] = frozenset()
    concurrency_key: str | None = None
    tags: tuple[str, ...] = ()
    any_tags: frozenset[str] = frozenset()
    batch: str | None = None
    schedule: str | None = None
    error: str | None = None
    since: int | None = None
    until: int | None = None
    told: Callable[[Mapping[str, Any]], bool] | None = None
