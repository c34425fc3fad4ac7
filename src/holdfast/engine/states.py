"""The table of states: what an event makes of a run.

What is stored is a little finer than what users see: ``held`` and ``ready`` are both *queued*, and differ in whether
the run has its slot. ``pending_version`` is not a state at all but a fact about a route, derived when read.

Every change is one guarded statement whose guard is a row of this table; who comes late finds the guard shut and is
told so.
"""

from __future__ import annotations

FINAL = frozenset(
    {
        "completed",
        "failed",
        "canceled",
        "expired",
        "timed_out",
        "crashed",
        "system_failure",
    }
)
HOT = frozenset({"delayed", "held", "ready", "executing", "waiting"})

TABLE: dict[tuple[str, str], frozenset[str]] = {
    ("new", "trigger"): frozenset({"delayed", "held", "ready"}),
    ("delayed", "due"): frozenset({"held", "ready"}),
    ("held", "promote"): frozenset({"ready"}),
    ("ready", "demote"): frozenset({"held"}),
    ("ready", "claim"): frozenset({"executing"}),
    ("executing", "complete"): frozenset({"completed"}),
    ("executing", "fail"): frozenset({"failed", "timed_out", "system_failure"}),
    ("executing", "retry"): frozenset({"delayed", "held", "ready"}),
    ("executing", "return"): frozenset({"held", "ready"}),
    ("executing", "suspend"): frozenset({"waiting"}),
    ("waiting", "settle"): frozenset({"held", "ready"}),
    ("waiting", "due"): frozenset({"held", "ready", "executing"}),
    ("waiting", "cancel"): frozenset({"held", "ready"}),
    ("executing", "lose"): frozenset({"held", "ready", "crashed", "canceled"}),
    ("executing", "cancel"): frozenset({"executing", "canceled"}),
    ("delayed", "cancel"): frozenset({"canceled"}),
    ("held", "cancel"): frozenset({"canceled"}),
    ("ready", "cancel"): frozenset({"canceled"}),
    ("delayed", "expire"): frozenset({"expired"}),
    ("held", "expire"): frozenset({"expired"}),
    ("ready", "expire"): frozenset({"expired"}),
}

SHOWN = {"held": "queued", "ready": "queued"}


def allows(state: str, event: str) -> bool:
    """Whether ``event`` means anything to a run in ``state``."""
    return (state, event) in TABLE


def shown(state: str) -> str:
    """The word that users see."""
    return SHOWN.get(state, state)
