"""The concurrency keys of a queue: who has its slots, and who stands in line for them."""

from __future__ import annotations

from typing import Final, NamedTuple

from holdfast.storage import Tx
from holdfast.views.backlog import COUNTED

TOP: Final = 10


class KeyView(NamedTuple):
    """A concurrency key, with how many of its runs have a slot, and how many wait for one."""

    key: str
    slots: int
    waiting: int


def keys(tx: Tx, queue_id: int) -> list[KeyView]:
    """The keys of a queue that want most of it. Counted among the first `COUNTED` runs of either kind."""
    bounds = {"queue_id": queue_id, "bound": COUNTED, "n": TOP}
    slots: dict[str, int] = dict(tx.rows("keys_with_slots", **bounds))
    waiting: dict[str, int] = dict(tx.rows("keys_in_line", **bounds))
    found = [KeyView(key, slots.get(key, 0), waiting.get(key, 0)) for key in {**slots, **waiting}]
    return sorted(found, key=lambda each: (-each.slots - each.waiting, each.key))[:TOP]
