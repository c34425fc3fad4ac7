"""Idempotency keys and their scopes.

    global     the same key is the same run, whoever triggers it
    run        … for triggers inside one run: its retries and replays give the same child, another run its own
    attempt    … for triggers inside one attempt: a retry gives a new child

A key is stored with what its scope mixes into it, and shown as it was written. The mark between the two is one that
no global key can begin with, so that nobody can write what would be another's scoped key.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

from holdfast.errors import InvalidOption, shown

__all__ = ["SCOPES", "Scope", "checked_scope", "shown_key", "stored_key"]

Scope = Literal["global", "run", "attempt"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
_MARK: Final = "\x1e"


def checked_scope(value: object, option: str) -> Scope:
    """``value`` if it is a scope. Raises InvalidOption."""
    if isinstance(value, str):
        for scope in SCOPES:
            if value == scope:
                return scope
    raise InvalidOption(f"{option} is not a scope", seen=shown(value), do=f"Write one of {', '.join(SCOPES)}.")


def stored_key(key: str, scope: Scope, run_id: str | None, attempt: int | None) -> str:
    """The key as it is stored, for a trigger inside this attempt of this run, or outside of any.

    Raises:
        InvalidOption: the scope is that of a run, and there is none here; or the key begins with U+001E.
    """
    if scope == "global":
        if key.startswith(_MARK):
            raise InvalidOption("idempotency_key begins with U+001E", seen=shown(key), do="Begin it otherwise.")
        return key
    if run_id is None:
        raise InvalidOption(
            f'idempotency_scope="{scope}" needs a run to belong to, and there is none here',
            seen=shown(key),
            do="Trigger inside a task of this app, or leave the scope out.",
        )
    return f"{_MARK}{run_id}{f'/{attempt}' if scope == 'attempt' else ''}{_MARK}{key}"


def shown_key(stored: str | None) -> str | None:
    """The key as it was written."""
    return stored.split(_MARK, 2)[2] if stored is not None and stored.startswith(_MARK) else stored
