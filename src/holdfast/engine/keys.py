"""Keys of the HTTP API: made, looked up, revoked.

A key is 142 random bits, so one round of SHA-256 keeps it as safe as a slow hash would: a slow one makes guessing dear
where a person chose the word, and here nobody can guess a single one. So a call costs a microsecond, not a tenth of a
second.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec

from holdfast.ids import new_id
from holdfast.storage.base import Row, Tx, repeatable

Revoked = Literal["revoked", "already", "unknown"]
ENDING = 4


class KeyRecord(NamedTuple):
    """A key as people see it. Times are milliseconds since the epoch; ``state`` is active, expired or revoked."""

    id: str
    name: str
    ending: str
    scopes: tuple[str, ...]
    created_at: int
    expires_at: int | None
    revoked_at: int | None
    used_at: int | None
    state: str


class KnownKey(NamedTuple):
    """A key that counts at present; for ``lasting_ms`` more, if it ends."""

    id: str
    name: str
    hash: str
    scopes: tuple[str, ...]
    used_at: int | None
    lasting_ms: int | None


class Known(NamedTuple):
    """What a server must know to tell who calls."""

    keys: tuple[KnownKey, ...]
    any: bool  # whether a key is asked for at all
    issuer: str | None


def hash_of(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def create(tx: Tx, key: str, name: str, scopes: Sequence[str], lasting_ms: int | None) -> KeyRecord:
    """Let ``key`` do what these scopes say."""
    text = msgspec.json.encode(list(scopes)).decode()
    row = tx.row(
        "insert_key",
        id=new_id(),
        name=name,
        hash=hash_of(key),
        ending=key[-ENDING:],
        scopes=text,
        lasting_ms=lasting_ms,
    )
    assert row is not None
    return record(row)


def listed(tx: Tx) -> list[KeyRecord]:
    """All keys, the oldest first, those that count no more as well."""
    return [record(row) for row in tx.rows("api_keys")]


def revoke(tx: Tx, key_id: str) -> Revoked:
    """Let a key count no more."""
    if tx.row("revoke_key", id=key_id) is not None:
        return "revoked"
    return "already" if any(each.id == key_id for each in listed(tx)) else "unknown"


def known(tx: Tx) -> Known:
    found = tuple(
        KnownKey(key_id, name, hashed, scopes_in(scopes), used_at, lasting_ms)
        for key_id, name, hashed, scopes, used_at, lasting_ms in tx.rows("keys_in_force")
    )
    issuer = tx.row("issuer")
    return Known(found, tx.row("any_key") is not None, None if issuer is None else issuer[0])


def used(tx: Tx, key_id: str) -> None:
    """Note that a key is in use."""
    tx.rows("key_used", id=key_id)


@repeatable
def issuer(tx: Tx, new: str) -> str:
    """What public tokens are signed with; ``new`` if there was nothing."""
    tx.rows("insert_issuer", secret=new)
    row = tx.row("issuer")
    assert row is not None
    return str(row[0])


@repeatable
def spend(tx: Tx, hash: str, call: str | None, lasting_ms: int) -> bool:
    """Use what can be used once. True the first time, and for the same ``call`` sent again."""
    if tx.row("spend", hash=hash, call=call, lasting_ms=lasting_ms) is not None:
        return True
    row = tx.row("spent_by", hash=hash)
    return row is not None and call is not None and row[0] == call


def record(row: Row) -> KeyRecord:
    key_id, name, ending, scopes, created_at, expires_at, revoked_at, used_at, now = row
    expired = expires_at is not None and expires_at <= now
    state = "revoked" if revoked_at is not None else "expired" if expired else "active"
    return KeyRecord(key_id, name, ending, scopes_in(scopes), created_at, expires_at, revoked_at, used_at, state)


def scopes_in(text: str) -> tuple[str, ...]:
    return tuple(msgspec.json.decode(text, type=list[str]))
