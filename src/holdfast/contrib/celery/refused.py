"""What Celery has and Holdfast cannot do as it is said there, by name, with what to write instead.

    AT_A_TASK       options of @shared_task
    AT_A_CALL       options of apply_async
    OF_A_TASK       attributes of a task

An option is refused even where its value would do no harm: who reads it later would believe it.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Final

from holdfast.errors import InvalidOption, shown

__all__ = ["AT_A_CALL", "AT_A_TASK", "OF_A_TASK", "PAGE", "refuse"]

PAGE: Final = "docs/coming-from-celery.md"

_AS_IT_IS: Final[Mapping[str, Any]] = {
    "acks_late": True,
    "reject_on_worker_lost": True,
    "serializer": "json",
    "pydantic": True,
}

_SOFT: Final = (
    "A def task runs in a thread, where nothing can be raised from outside. Write time_limit, which ends the run as "
    "timed_out, or give what blocks in it a timeout."
)
_PRIORITY: Final = (
    "9 comes first on RabbitMQ and last on Redis; here a priority is seconds of head start: "
    "task.trigger(task.payload(…), priority=10), or a queue of its own."
)
_HOOKS: Final = "Write a hook: @task.on_success, @task.on_failure, @task.on_error."

AT_A_TASK: Final[Mapping[str, str]] = {
    "acks_late": "A run whose process died is always tried again. Leave it out, and make the task idempotent.",
    "reject_on_worker_lost": "A run whose process died is always tried again. Leave it out.",
    "soft_time_limit": _SOFT,
    "priority": _PRIORITY,
    "base": "Write hooks and middleware instead of a base class: @task.on_failure, @task.middleware.",
    "serializer": "Payloads are JSON, and annotations say how to get values back. Leave it out.",
    "pydantic": "Annotations are always checked. Leave it out.",
    "typing": "Arguments are always checked against the function's own. Leave it out.",
    "throws": "Every failed run has its error. Leave it out.",
    "on_success": _HOOKS,
    "on_failure": _HOOKS,
    "on_retry": _HOOKS,
    "after_return": _HOOKS,
    "before_start": _HOOKS,
}
AT_A_CALL: Final[Mapping[str, str]] = {
    "task_id": "Run ids are made by Holdfast, and .id of the result has it. For one run however often it is called: "
    "task.trigger(task.payload(…), idempotency_key=…).",
    "priority": _PRIORITY,
    "soft_time_limit": _SOFT,
    "link": "Write @task.on_success, or call the next task at the end of this one.",
    "link_error": "Write @task.on_failure.",
    "serializer": "Payloads are JSON, and annotations say how to get values back. Leave it out.",
    "ignore_result": "Write it at @shared_task.",
    "retry_policy": "There is no broker to lose: when the call returns, the run is on disk. Leave it out.",
    "routing_key": "Write queue=….",
    "exchange": "Write queue=….",
    "headers": "Write task.trigger(task.payload(…), metadata={…}).",
    "connection": "Write task.trigger(task.payload(…), connection=…) to join a transaction.",
}

_CANVAS: Final = "Call the next task at the end of this one, and wait for many with batch_trigger(…).results()."
_MANY: Final = "Write task.batch_trigger([task.payload(each) for each in many])."
OF_A_TASK: Final[Mapping[str, str]] = {
    **dict.fromkeys(("s", "si", "subtask", "replace", "add_to_chord"), _CANVAS),
    **dict.fromkeys(("map", "starmap", "chunks"), _MANY),
    "update_state": "Write Context.current().metadata[…] = …, which everybody who looks at the run sees.",
    "run": "Call the task itself.",
    "AsyncResult": "Write AsyncResult(id) of holdfast.contrib.celery, or task.handle(id).",
    "apply_async_on_commit": "Write task.trigger(task.payload(…), connection=connection).",
    "delay_on_commit": "Write task.trigger(task.payload(…), connection=connection).",
}


def refuse(options: Mapping[str, Any], known: Mapping[str, Any], refused: Mapping[str, str], where: str) -> None:
    """Raise InvalidOption for what is neither known nor as it is anyway. None is what was not said."""
    for option, value in options.items():
        if value is None:
            if option in known or option in refused:
                continue
        elif option in known and _AS_IT_IS.get(option, value) == value:
            continue
        do = refused.get(option) or _close(option, known)
        raise InvalidOption(
            f"{option} cannot be honoured at {where}" if option in refused else f"{where} has no option {option}",
            seen=f"{option}={shown(value)}",
            do=f"{do} See {PAGE}.",
        )


def _close(option: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(option, known, n=1)
    return f"Did you mean {close[0]}?" if close else f"Leave it out, or write one of {', '.join(sorted(known))}."
