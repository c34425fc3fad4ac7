"""Something to write and read through the doors: the table of blobs, as a little dictionary."""

from __future__ import annotations

import msgspec

from holdfast.storage import Store, Tx


class Note(msgspec.Struct):
    """The columns of ``insert_blobs``."""

    run_id: str
    body: str
    name: str = "note"


def put(tx: Tx, key: str, text: str = "") -> str:
    tx.batch("insert_blobs", [Note(key, text)]).rows()
    return key


def get(tx: Tx, key: str) -> str | None:
    row = tx.row("fill_blob", ids=[key], name="note")
    return None if row is None else row[1]


def there(store: Store, *keys: str) -> list[bool]:
    """Which of these notes have been committed."""
    return [store.read_sync(get, key) is not None for key in keys]
