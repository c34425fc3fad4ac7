"""Options: what may be written at a task and at a trigger, and the one run that follows from them.

    TaskOptions     @app.task(retry=…, queue=…)          what a task says of itself
    TriggerOptions  greet.trigger("Ada", delay="5m")     what one call says
    Rules           the options of a task, read; the app's defaults stand under them
    Target          what a trigger must know of a task: from the task itself, or from the catalogue
    new_run         target, payload and call in; the record of the run out

Everything is checked where it is written, once. An option that is ``None`` was not given. What routes a run (queue,
key, priority, ttl, machine) is settled here, at the trigger; what governs an attempt (max_attempts, max_duration)
travels with the run and is settled when it is claimed, over the options of the code that then runs.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final, NamedTuple, TypedDict, get_args

from holdfast import codec
from holdfast.clock import moment_ms
from holdfast.counts import checked_count
from holdfast.debounce import Debounce
from holdfast.duration import Duration, to_ms
from holdfast.errors import InvalidOption, shown
from holdfast.idempotency import Scope, checked_scope, stored_key
from holdfast.ids import new_id
from holdfast.machine import Isolation, Machine, MachineName, machine_of
from holdfast.names import checked_key, checked_name
from holdfast.queue import Queue, queue_of
from holdfast.records import NewRun
from holdfast.retry import Retry
from holdfast.schedule import Recurring
from holdfast.sizes import METADATA_LIMIT, check_size, size_of

__all__ = [
    "NO_PARENT",
    "Parent",
    "Rules",
    "Target",
    "TaskOptions",
    "TriggerOptions",
    "encode_rules",
    "key_to_reset",
    "new_run",
    "read_rules",
    "read_trigger_options",
]

IDEMPOTENCY_TTL: Final = "30d"
TAG_COUNT: Final = 20
TAG_LENGTH: Final = 128
_LONGEST_PRIORITY_S: Final = 10 * 365 * 86_400


class TriggerOptions(TypedDict, total=False):
    """What one trigger may say. All of it is optional.

    - ``delay``: how long until it may start; ``scheduled_for``: the aware datetime from which on it may. Not both.
    - ``ttl``: it expires if it has not started this long after it could have.
    - ``queue``: another queue than the task's; ``concurrency_key``: whose limit per key it counts under.
    - ``priority``: seconds of head start over what else waits.
    - ``idempotency_key``: the same task and key give the earlier run for as long as ``idempotency_ttl`` (30 days).
      Inside a task, ``idempotency_scope="run"`` makes it a key of that run, and ``"attempt"`` of that attempt.
    - ``debounce``: a burst of triggers makes one run. Neither with ``delay`` nor with an ``idempotency_key``.
    - ``tags``: to find it by; ``metadata``: a small JSON object that the run can read and change.
    - ``max_attempts``, ``max_duration`` and ``machine``: stronger than the task's.
    - ``connection``: the run is made in the transaction of this connection, and is there when that is committed.
    """

    delay: Duration
    scheduled_for: datetime
    ttl: Duration
    queue: Queue | str
    concurrency_key: str
    priority: float
    idempotency_key: str
    idempotency_ttl: Duration
    idempotency_scope: Scope
    debounce: Debounce
    tags: Sequence[str]
    metadata: Mapping[str, Any]
    max_attempts: int
    max_duration: Duration
    machine: Machine | MachineName
    connection: Any


class TaskOptions(TypedDict, total=False):
    """What a task may say of itself. All of it is optional.

    - ``id``: its name; default is the function's.
    - ``retry``: how often it is tried, and how long it backs off. Default ``Retry()``: three attempts.
    - ``queue``: where its runs stand in line; default is a queue of its own.
    - ``max_duration``: an attempt that takes longer ends the run as ``timed_out``.
    - ``ttl`` and ``priority``: as at a trigger, for all its runs.
    - ``machine``: how much CPU and memory a run may use: a `Machine`, or the name of one (``"small-2x"``). Its runs
      have a process of their own, and start where there is room for it.
    - ``isolation``: ``"process"`` gives each run a process of its own, also without a machine; ``"worker"``, the
      default, lets it share the worker's.
    - ``schedule``: a `Cron` or an `RRule`, or a list of them: its runs are made by themselves. The task takes nothing
      but what is injected, or a `Slot`.
    - ``max_crashes``: a run whose process died this often, with nobody else to blame, ends as ``crashed``. Default 3.
    """

    id: str
    retry: Retry
    queue: Queue | str
    machine: Machine | MachineName
    isolation: Isolation
    max_duration: Duration
    ttl: Duration
    priority: float
    max_crashes: int
    schedule: Recurring | Sequence[Recurring]


# -- what a task says -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """A task's options, read. ``None`` is what was not said."""

    retry: Retry | None = None
    max_duration_ms: int | None = None
    ttl_ms: int | None = None
    priority_ms: int | None = None
    max_crashes: int | None = None
    machine: Machine | None = None
    isolation: Isolation | None = None

    def over(self, defaults: Rules) -> Rules:
        """These rules, and where they say nothing, the defaults."""
        return Rules(
            **{
                f.name: mine if (mine := getattr(self, f.name)) is not None else getattr(defaults, f.name)
                for f in fields(self)
            }
        )


def read_rules(options: Mapping[str, Any]) -> Rules:
    """The rules in a task's options, or in the app's defaults.

    Raises:
        InvalidOption: an option is unknown or has a value that cannot be used.
    """
    return Rules(**_read(options, _TASK_READERS, "a task"))


def encode_rules(rules: Rules) -> str:
    """The rules as workers announce them: JSON text with every value settled, durations in milliseconds."""
    retry = rules.retry or Retry()
    settled = {
        "max_attempts": retry.max_attempts,
        "max_duration_ms": rules.max_duration_ms,
        "ttl_ms": rules.ttl_ms,
        "priority_ms": rules.priority_ms,
        "max_crashes": rules.max_crashes,
        "machine": rules.machine.name if rules.machine else None,
        "isolation": rules.isolation,
        "out_of_memory": retry.larger.name if retry.larger else None,
    }
    return codec.encode({name: value for name, value in settled.items() if value is not None})


# -- what a trigger says ----------------------------------------------------------------------------------------------


class Target(NamedTuple):
    """What a trigger must know of the task. Its runs may be requests that are ``sent``: pushers have no version."""

    task: str
    queue: str
    ttl_ms: int | None = None
    priority_ms: int = 0
    machine: str | None = None
    sent: bool = False


DEEPEST: Final = 50  # how many runs may be above one


class Parent(NamedTuple):
    """The attempt whose code triggers: its run, the claim that fences it, the run at the top of the family, the number
    of the attempt, and how many runs are above what it triggers."""

    id: str | None
    claim: int | None
    root_id: str | None
    attempt: int | None = None
    depth: int = 0

    def adopt(self, run: NewRun) -> None:
        """Place a run under this attempt's.

        Raises:
            InvalidOption: they are nested too deep.
        """
        if self.depth > DEEPEST:
            raise InvalidOption(
                f"Runs are nested more than {DEEPEST} deep",
                seen=f"run {self.id} triggers {run.task}",
                do="Look for a task that triggers itself without end.",
            )
        run.parent_id, run.parent_claim, run.root_id, run.depth = self.id, self.claim, self.root_id, self.depth


NO_PARENT: Final = Parent(None, None, None)
_NOTHING: Final[dict[str, Any]] = {}


def read_trigger_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a NewRun that these options decide, and the scope of its key if that is not global.

    ``connection`` says nothing of the run, and is left to the verb.

    Raises:
        InvalidOption: an option is unknown, has a value that cannot be used, or contradicts another.
        TooLarge: the metadata is larger than 256 KiB.
    """
    if not options:
        return _NOTHING
    found = _read(options, _TRIGGER_READERS, "a trigger")
    if "delay_ms" in found and "due_at" in found:
        raise InvalidOption(
            "delay and scheduled_for are both given",
            seen=f"delay={shown(options['delay'])}, scheduled_for={shown(options['scheduled_for'])}",
            do="Keep one of them.",
        )
    found.pop("connection", None)
    if debounce := found.pop("debounce", None):
        _refuse_with_debounce(options, found)
        found |= debounce.fields()
    if "idempotency_key" in found:
        found.setdefault("idempotency_ttl_ms", to_ms(IDEMPOTENCY_TTL, name="idempotency_ttl"))
        if found.setdefault("idempotency_scope", "global") == "global":
            found["idempotency_key"] = stored_key(found["idempotency_key"], found.pop("idempotency_scope"), None, None)
    elif without := {"idempotency_ttl_ms", "idempotency_scope"} & found.keys():
        option = min(without).removesuffix("_ms")
        raise InvalidOption(f"{option} is given without idempotency_key", do="Add the key, or leave it out.")
    governing = {name: found.pop(name) for name in ("max_attempts", "max_duration_ms", "machine") if name in found}
    if governing:
        found["options"] = codec.encode(governing)
    return found


def new_run(
    target: Target,
    payload: str,
    said: Mapping[str, Any] = _NOTHING,
    *,
    parent: Parent = NO_PARENT,
    batch_id: str | None = None,
) -> NewRun:
    """The run to make: its task, its payload as JSON text, and what `read_trigger_options` found in the call.

    What the call says beats what the target says.
    """
    run = NewRun(
        id=new_id(),
        task=target.task,
        queue=target.queue,
        payload=payload,
        ttl_ms=target.ttl_ms,
        priority_ms=target.priority_ms,
        batch_id=batch_id,
    )
    if parent is not NO_PARENT:
        parent.adopt(run)
    for name, value in said.items():
        if name != "idempotency_scope":
            setattr(run, name, value)
    if target.sent:
        run.version = None
    if target.machine is not None:
        run.options = with_machine(target.machine, run.options)
    if scope := said.get("idempotency_scope"):
        run.idempotency_key = stored_key(said["idempotency_key"], scope, parent.id, parent.attempt)
    return run


def with_machine(machine: str, options: str | None) -> str:
    """The options of a run whose task usually has this machine: what they say themselves is stronger."""
    said = {} if options is None else codec.decode(options)
    return codec.encode({**said, "machine": said.get("machine", machine)})


def key_to_reset(key: object, scope: object, parent: Parent) -> str:
    """An idempotency key as it is stored, for who wants to free it. Raises InvalidOption."""
    checked = checked_key(key, option="idempotency_key")
    return stored_key(checked, checked_scope(scope, "scope"), parent.id, parent.attempt)


def _refuse_with_debounce(options: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    for option, field in ("delay", "delay_ms"), ("idempotency_key", "idempotency_key"):
        if field in found:
            raise InvalidOption(
                f"debounce and {option} are both given",
                seen=f"{option}={shown(options[option])}, debounce={shown(options['debounce'])}",
                do="Keep one of them; a Debounce has a delay and a key of its own.",
            )


# -- reading single options -------------------------------------------------------------------------------------------


def _read(options: Mapping[str, Any], readers: Mapping[str, _Reader], of: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for option, value in options.items():
        reader = readers.get(option)
        if reader is None:
            raise _unknown(option, readers, of)
        if value is not None:
            field, read = reader
            found[field] = read(value, option)
    return found


def _unknown(option: str, known: Iterable[str], of: str) -> InvalidOption:
    close = difflib.get_close_matches(option, known, n=1)
    do = f"Did you mean {close[0]}?" if close else f"There are {', '.join(sorted(known))}."
    return InvalidOption(f"{option} is not an option of {of}", do=do)


def _duration(value: Any, option: str) -> int:
    return to_ms(value, name=option)


def _lasting(value: Any, option: str) -> int:
    lasting = to_ms(value, name=option)
    if lasting == 0:
        raise InvalidOption(f"{option} is no time at all", seen=shown(value), do="Leave it out for no limit.")
    return lasting


def _moment(value: Any, option: str) -> int:
    return moment_ms(value, option=option, do="Write an aware datetime; for a duration there is delay.")


def _queue_name(value: Any, option: str) -> str:
    return value.name if isinstance(value, Queue) else checked_name(value, option=option)


def _key(value: Any, option: str) -> str:
    return checked_key(value, option=option)


def _head_start_ms(value: Any, option: str) -> int:
    seconds = isinstance(value, int | float) and not isinstance(value, bool)
    if not seconds or not -_LONGEST_PRIORITY_S <= value <= _LONGEST_PRIORITY_S:
        raise InvalidOption(
            f"{option} is not a number of seconds", seen=shown(value), do="Write the head start in seconds, such as 10."
        )
    milliseconds: int = round(value * 1000)
    return milliseconds


def _count(value: Any, option: str) -> int:
    return checked_count(value, option=option)


def _retry(value: Any, option: str) -> Retry:
    if not isinstance(value, Retry):
        raise InvalidOption(f"{option} is not a Retry", seen=shown(value), do="Write Retry(max_attempts=5).")
    return value


def _machine(value: Any, option: str) -> Machine:
    return machine_of(value, option=option)


def _machine_name(value: Any, option: str) -> str:
    return machine_of(value, option=option).name


def _isolation(value: Any, option: str) -> str:
    if isinstance(value, str) and value in get_args(Isolation):
        return value
    raise InvalidOption(
        f'{option} is neither "worker" nor "process"',
        seen=shown(value),
        do='Write isolation="process", or leave it out.',
    )


def _tags(value: Any, option: str) -> str:
    return codec.encode(checked_tags(value, option))


def checked_tags(value: Any, option: str) -> list[str]:
    """``value`` if it is a list of tags, each once. Raises InvalidOption."""
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise InvalidOption(f"{option} is not a list of strings", seen=shown(value), do='Write tags=["signup"].')
    tags = list(dict.fromkeys(checked_name(tag, option="A tag", length=TAG_LENGTH) for tag in value))
    if len(tags) > TAG_COUNT:
        raise InvalidOption(
            f"{option} has more than {TAG_COUNT} entries", seen=len(tags), do="Put what is data into metadata."
        )
    return tags


def _metadata(value: Any, option: str) -> str:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise InvalidOption(f"{option} is not a JSON object", seen=shown(value), do='Write metadata={"step": 1}.')
    text = codec.encode(dict(value))
    check_size(size_of(text), METADATA_LIMIT, what="The metadata of the run", limit="the limit for metadata")
    return text


def _queue(value: Any, option: str) -> Queue:
    return queue_of(value)


def _debounce(value: Any, option: str) -> Debounce:
    if not isinstance(value, Debounce):
        raise InvalidOption(
            f"{option} is not a Debounce", seen=shown(value), do='Write Debounce(key="user-1", delay="10s").'
        )
    return value


def _connection(value: Any, option: str) -> Any:
    return value  # looked at by the verb that uses it


_Reader = tuple[str, Callable[[Any, str], Any]]

# Option, the field it becomes, and how it is read.
_TRIGGER_READERS: Final[Mapping[str, _Reader]] = {
    "delay": ("delay_ms", _duration),
    "scheduled_for": ("due_at", _moment),
    "ttl": ("ttl_ms", _lasting),
    "queue": ("queue", _queue_name),
    "concurrency_key": ("concurrency_key", _key),
    "priority": ("priority_ms", _head_start_ms),
    "idempotency_key": ("idempotency_key", _key),
    "idempotency_ttl": ("idempotency_ttl_ms", _lasting),
    "idempotency_scope": ("idempotency_scope", checked_scope),
    "debounce": ("debounce", _debounce),
    "tags": ("tags", _tags),
    "metadata": ("metadata", _metadata),
    "max_attempts": ("max_attempts", _count),
    "max_duration": ("max_duration_ms", _lasting),
    "machine": ("machine", _machine_name),
    "connection": ("connection", _connection),
}

_TASK_READERS: Final[Mapping[str, _Reader]] = {
    "retry": ("retry", _retry),
    "max_duration": ("max_duration_ms", _lasting),
    "ttl": ("ttl_ms", _lasting),
    "priority": ("priority_ms", _head_start_ms),
    "max_crashes": ("max_crashes", _count),
    "machine": ("machine", _machine),
    "isolation": ("isolation", _isolation),
}
