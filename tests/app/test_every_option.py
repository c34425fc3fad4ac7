"""Whatever users can write is refused where they write it if it cannot be used, and nothing has happened then.

The places are derived from the public classes and their signatures, so that a new verb or option is told here before it
can pass: `OBJECTS` says what a verb is called on, `KINDS` and `OF` what an option takes. Every option is then given
everything in `WRONG` that its kind does not say it takes, on both databases.
"""

from __future__ import annotations

import asyncio
import inspect
import typing
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import product
from typing import Annotated, Any

import pytest

import holdfast
import holdfast.testing
from holdfast import (
    BatchHandle,
    Blueprint,
    Cron,
    Debounce,
    Depends,
    DuplicateTask,
    FamilyMetadata,
    GitHub,
    Holdfast,
    HoldfastError,
    Machine,
    Metadata,
    Queue,
    Queues,
    Retry,
    RRule,
    RunHandle,
    RunNotFound,
    Runs,
    SharedSecret,
    Slack,
    Slot,
    StandardWebhooks,
    StreamWriter,
    Stripe,
    Svix,
    Task,
    TaskOptions,
    Tokens,
    TokenUnknown,
    TriggerOptions,
    UnknownQueue,
    UnknownSchedule,
    alerts,
)
from holdfast.errors import shown
from holdfast.http_task import HttpTaskOptions, PushOptions
from holdfast.runs import RunFilter
from holdfast.scheduled import ScheduleOptions
from holdfast.schedules import Schedules
from holdfast.task import TaskFactory
from holdfast.testing import AsyncFakeContext, FakeContext, Jobs
from holdfast.testing.contexts import Facts


class Mute:
    """Cannot be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no words")


class Hostile:
    """Cannot even be looked at."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not comparable")

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        raise RuntimeError("neither true nor false")

    def __len__(self) -> int:
        raise RuntimeError("no length")


def function(value: Any) -> Any:
    return value


def wrapping(event: Any, call_next: Any) -> None: ...


def provided() -> int:
    return 1


WRONG: dict[str, Any] = {
    "none": None,
    "true": True,
    "zero": 0,
    "number": 5,
    "negative": -1,
    "fraction": 2.5,
    "nan": float("nan"),
    "inf": float("inf"),
    "huge": 10**400,
    "large": 10**12,
    "empty": "",
    "word": "soon",
    "spaced": " soon ",
    "nul": "a\0b",
    "surrogate": "a\ud800",
    "long": "x" * 10_000,
    "digits": "9" * 5_000 + "s",
    "bytes": b"soon",
    "nobytes": b"",
    "list": ["soon"],
    "numbers": [5],
    "nul in a list": ["a\0b"],
    "surrogate in a list": ["a\ud800"],
    "empty list": [],
    "mapping": {"soon": 5},
    "empty mapping": {},
    "naive": datetime(2027, 1, 1),
    "date": date(2027, 1, 1),
    "negative delta": timedelta(days=-1),
    "long delta": timedelta.max,
    "queue": Queue("elsewhere"),
    "retry": Retry(),
    "exception": ValueError("no"),
    "thing": object(),
    "mute": Mute(),
    "hostile": Hostile(),
    "class": int,
    "function": function,
}
TEXTS = ("word", "spaced", "empty", "long", "digits")
STRINGS = (*TEXTS, "nul", "surrogate")
KEYS = ("word", "spaced")
NUMBERS = ("zero", "number", "negative", "fraction", "nan", "inf", "huge", "large", "true")


@dataclass(frozen=True)
class Kind:
    """A kind of option: a value that is right, the names in `WRONG` of those that are right as well, and the words of
    which the message has one, if not the option's own name."""

    good: Any
    fine: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


lasting = Kind("5s", ("number", "fraction"))
duration = Kind("5s", ("number", "fraction", "zero"))
counted = Kind(5, ("number",))
name = Kind("greet", ("word",))
key = Kind("greet", KEYS)
looked_up = Kind("greet", TEXTS)
moment = Kind(datetime(2027, 1, 1, tzinfo=UTC))
queue = Kind("mail", ("word", "queue"))
annotation = Kind(str, ("none", "class", "retry"), ("annotation", "type", "task"))
hook = Kind(function, ("function", "class"), ("function", "init", "on_", "middleware", "catch_error", "cleanup"))

KINDS: dict[str, Kind] = {
    "gather": duration,
    "every": duration,
    "older_than": duration,
    "lasting": duration,
    "late": duration,
    "any_2xx": Kind(True, ("true",)),
    "at": moment,
    "attempt": counted,
    "batch": looked_up,
    "batch_id": name,
    "blueprint": Kind(Blueprint()),
    "by": Kind(1, tuple(each for each in NUMBERS if each not in ("true", "nan", "inf"))),
    "concurrency": counted,
    "concurrency_key": key,
    "concurrency_limit": counted,
    "concurrency_limit_per_key": counted,
    "connection": Kind(None),
    "content": Kind("body", (*TEXTS, "bytes", "nobytes", "nul")),
    "cursor": looked_up,
    "database": Kind(":memory:", ("word", "spaced", "long", "digits")),
    "debounce": Kind(Debounce(key="k", delay="1s")),
    "delay": duration,
    "delays": Kind(["5s"], ("empty list", "numbers")),
    "drain": duration,
    "dtstart": Kind(datetime(2027, 1, 1, tzinfo=UTC), ("naive",)),
    "external_id": key,
    "deduplication_key": key,
    "expression": Kind("@daily", (), ("cron expression", "Cron", "alias")),
    "catch_up": Kind("last", ("zero", "number")),
    "overlap": Kind("skip"),
    "dry_run": Kind(True, ("true",)),
    "duration": duration,
    "factor": Kind(2, ("number", "fraction", "large", "huge")),
    "fn": Kind(function, ("function",)),
    "from_step": Kind("charge", TEXTS, ("from_step", "step")),
    "headers": Kind({"A": "b"}, ("empty mapping",)),
    "hook": hook,
    "id": name,
    "idempotency_key": key,
    "idempotency_scope": Kind("global"),
    "idempotency_ttl": lasting,
    "imports": Kind(["json"], ("list", "empty list")),
    "items": Kind([], ("empty list",), ("batch",)),
    "jitter": Kind(True, ("true",)),
    "key": key,
    "leading": Kind(True, ("true",)),
    "limit": counted,
    "machine": Kind("small-2x"),
    "isolation": Kind("process"),
    "cpu": Kind(2, ("number", "fraction")),
    "memory": Kind("2GB", ("large",)),
    "max_attempts": counted,
    "max_crashes": counted,
    "max_delay": lasting,
    "max_duration": lasting,
    "metadata": Kind({"a": 1}, ("mapping", "empty mapping")),
    "method": Kind("PUT", ("word",)),
    "min_delay": duration,
    "name": name,
    "never": Kind(ValueError),
    "out_of_memory": Kind("large-1x"),
    "on": Kind(ValueError),
    "output_limit": Kind(5, ("number", "large", "huge")),
    "parent_id": name,
    "patience": lasting,
    "payload_limit": Kind(5, ("number", "large", "huge")),
    "payloads": Kind(["Ada"], ("list", "empty list", "surrogate in a list", "nul in a list"), ("batch", "payload")),
    "pin_versions": Kind(True, ("true", "zero")),
    "prefix": Kind("a.", ("word", "empty")),
    "priority": Kind(5, ("zero", "number", "negative", "fraction")),
    "public_url": Kind("https://example.com"),
    "progress": Kind(function, ("function", "class")),
    "provider": Kind(provided, ("function", "class")),
    "queue": queue,
    "queues": Kind(["mail"], ("list",), ("queue",)),
    "rate_limit": Kind("5/s"),
    "rule": Kind(Cron("@daily"), (), ("Cron",)),
    "schedule": Kind(Cron("@daily"), ("empty list",)),
    "timezone": Kind("Europe/Berlin", (), ("time zone",)),
    "rate_limit_per_key": Kind("5/s"),
    "retry": Kind(Retry(), ("retry",)),
    "run_id": Kind("01jh", TEXTS),
    "scheduled_for": moment,
    "scope": Kind("global"),
    "since": Kind("5s", ("zero", "number", "fraction")),
    "status": Kind("failed", ("empty list",)),
    "suspend_above": Kind(5, ("number", "large", "huge")),
    "suspend_after": duration,
    "tag": Kind("a", (*TEXTS, "list", "empty list", "mapping", "empty mapping")),
    "tags": Kind(["a"], ("list", "empty list"), ("tag",)),
    "task": Kind("elsewhere", ("word",)),
    "timeout": Kind(0, ("number", "fraction", "zero")),
    "times": Kind(1, ("zero", "number", "large", "huge")),
    "ttl": lasting,
    "url": Kind("https://example.com/jobs"),
    "version": name,
}

# Where an option is of another kind than its name says elsewhere: "Class.verb.option" or "Class.option".
JSON = tuple(
    set(WRONG) - {"nan", "inf", "bytes", "nobytes", "exception", "thing", "mute", "hostile", "class", "function"}
)
around = Kind(wrapping, ("class", "function"), ("middleware",))
ANYTHING = Kind("Ada", tuple(WRONG))
OF: dict[str, Kind] = {
    "RunHandle.replay.payload": Kind("Ada", JSON, ("value", "NaN")),
    "Runs.replay.payload": Kind("Ada", JSON, ("value", "NaN")),
    "RunHandle.stream.name": name,
    "RunHandle.stream.type": Kind(str, ("none", "class")),
    "RunHandle.stream.start": Kind(0, ("number", "large", "zero")),
    "Debounce.delay": lasting,
    "Depends.scope": Kind("worker"),
    "Holdfast.declare.output": annotation,
    "Holdfast.declare.payload": annotation,
    "Holdfast.http_task.payload": annotation,
    "Holdfast.http_task.timeout": lasting,
    "Holdfast.push.timeout": lasting,
    "Holdfast.push.json": Kind({"n": 1}, JSON, ("value", "NaN")),
    "Holdfast.trigger.payload": Kind("Ada", JSON, ("value", "NaN", "payload")),
    "Jobs.assert_not_triggered.payload": ANYTHING,
    "Jobs.assert_triggered.payload": ANYTHING,
    "Jobs.override.value": ANYTHING,
    "Jobs.replace.output": Kind("Ada", (*STRINGS, "exception")),
    "Jobs.target": Kind(..., ("function", "class"), ("task",)),
    "Jobs.task": Kind(...),  # the task that is told to `called`
    "Holdfast.middleware.hook": around,
    "Task.middleware.hook": around,
    "Queues.concurrency_limit": Kind(5, ("number", "none")),
    "Queues.concurrency_limit_per_key": Kind(5, ("number", "none")),
    **{f"{owner}.key": Kind("row", STRINGS) for owner in ("Metadata", "FamilyMetadata")},
    **{f"{owner}.append.key": Kind("rows", STRINGS) for owner in ("Metadata", "FamilyMetadata")},
    **{f"{owner}.append.value": Kind("Ada", JSON, ("value", "NaN")) for owner in ("Metadata", "FamilyMetadata")},
    "StreamWriter.value": Kind("Ada", JSON, ("value", "NaN")),
    "Cron.jitter": duration,
    "RRule.jitter": duration,
    "RRule.text": Kind("FREQ=DAILY", (), ("rule", "RRule", "FREQ")),
    "FakeContext.slot": Kind(Slot(datetime(2027, 1, 1, tzinfo=UTC))),
    "AsyncFakeContext.slot": Kind(Slot(datetime(2027, 1, 1, tzinfo=UTC))),
    "Schedules.schedule": Kind("01jh", TEXTS),
    "Schedules.task": Kind("greet", ("word",)),
    "Schedules.payload": Kind("Ada", (*STRINGS, "bytes", "nobytes")),
    "Schedules.before": looked_up,
    "Schedules.list.external_id": looked_up,
    "Schedules.update.external_id": Kind("a", (*KEYS, "none")),
    "Schedules.update.payload": ANYTHING,  # an unknown schedule is told first
    "Schedules.update.rule": Kind(None, ("none",), ("Cron",)),
    "Holdfast.http_task.schedule": Kind([], ("empty list",)),
    "Tokens.token": looked_up,
    "Tokens.type": annotation,
    "Tokens.value": ANYTHING,  # an unknown token is told first
    "Tokens.status": Kind("open"),
    "Tokens.tag": Kind("a", ("word", "list", "empty list")),
    "Runs.task": looked_up,
    "Runs.queue": Kind("mail", (*TEXTS, "queue")),
    "Holdfast.alert.conditions": Kind(alerts.Failures()),
    "Holdfast.alert.to": Kind(alerts.Mail("ops@example.com")),
    "Holdfast.alert.name": name,
    "Failures.task": Kind("greet", ("word",)),
    "NoWorker.task": Kind("greet", ("word",)),
    "MissedSchedule.task": Kind("greet", ("word",)),
    "Backlog.queue": Kind("mail", ("word",)),
    "Mail.addresses": Kind("ops@example.com"),
    **{f"{owner}.webhook.path": Kind("/stripe") for owner in ("Blueprint", "Holdfast")},
    **{f"{owner}.webhook.verify": Kind(function, ("function",)) for owner in ("Blueprint", "Holdfast")},
    **{
        f"{sender}.secret": Kind("whsec_" + "A" * 32, ("long", "digits"))
        for sender in ("GitHub", "SharedSecret", "Slack", "Stripe")
    },
    **{f"{sender}.secret": Kind("whsec_" + "A" * 32) for sender in ("StandardWebhooks", "Svix")},
    **{f"{sender}.tolerance": duration for sender in ("Slack", "StandardWebhooks", "Stripe", "Svix")},
    "SharedSecret.header": Kind("X-Token", ("word",)),
    "SharedSecret.id_header": Kind("X-Id", ("word",)),
    "Queues.queue": Kind("mail", (*TEXTS, "queue")),
    "Task.payload": Kind("Ada", (*STRINGS, "bytes", "nobytes")),
    "Jobs.payload": Kind("Ada", (*STRINGS, "bytes", "nobytes")),
}

# An option that needs another one beside it.
BESIDE: dict[str, dict[str, Any]] = {
    **{f"alert.{option}": {"conditions": alerts.Failures()} for option in ("name", "to", "gather", "every")},
    "idempotency_ttl": {"idempotency_key": "k"},
    "idempotency_scope": {"idempotency_key": "k"},
    **{
        f"{verb}.{option}": {"task": "greet"}
        for verb in ("cancel_all", "acancel_all", "replay_all", "areplay_all")
        for option in ("limit", "dry_run", "progress")
    },
}

MADE = (
    AsyncFakeContext, Cron, Debounce, Depends, FakeContext, GitHub, Holdfast, Machine, Queue, RRule, Retry,
    SharedSecret, Slack, StandardWebhooks, Stripe, Svix,
)  # fmt: skip
# What Holdfast makes and hands out, and what takes no options. A RetryAfter is raised where an error is on its way
# already: one with a delay that is none falls back on the task's Retry, and hides nothing.
HANDED_OUT = {
    "AbortRun", "AsyncContext", "AsyncTask", "BatchHandle", "Blueprint", "Bulk", "Cancellation", "Chunk",
    "Completion", "Context", "Event", "Failure", "FamilyMetadata", "FiredSlot", "Invocation", "Item", "Jobs",
    "JournalEntry", "ListedRun", "LogLine", "Metadata", "Payloads", "Progress", "PushOptions", "PushResponse",
    "QueueState", "Queues", "Results", "RetryAfter", "Run", "RunError", "RunFilter", "RunHandle", "RunPage", "Runs",
    "Schedule", "ScheduleOptions", "Schedules", "Secret", "Slot", "StreamReader", "StreamWriter", "Success",
    "Suspended", "SyncTask", "Task", "TaskOptions", "Token", "TokenPage", "TokenState", "Tokens", "TriggerOptions",
    "Usage", "Webhook", "WebhookRequest",
}  # fmt: skip
# What tasks answer to the app and the worker, and a Retry and metadata to the worker.
INSIDE = {
    Task: {
        "bind",
        "declared_schedules",
        "dump",
        "entry",
        "governing",
        "load",
        "rename",
        "scheduled_payload",
        "secrets",
        "unchecked",
    },
    Retry: {"delay_ms", "wants"},
    Metadata: {"later", "refresh", "take"},
    FamilyMetadata: {"take"},
}
TYPED_DICTS = {
    each.__name__: each
    for each in (Facts, HttpTaskOptions, PushOptions, RunFilter, ScheduleOptions, TaskOptions, TriggerOptions)
}


@dataclass(frozen=True)
class Place:
    """A constructor or verb: the class, its name, and the options it takes."""

    owner: type
    verb: str
    parameters: dict[str, inspect.Parameter]

    @property
    def path(self) -> str:
        return f"{self.owner.__name__}.{self.verb}"

    def kind(self, option: str) -> Kind | None:
        twin = self.verb.removeprefix("a")
        paths = [f"{self.owner.__name__}.{verb}.{option}" for verb in (self.verb, twin)]
        found = [OF[path] for path in (*paths, f"{self.owner.__name__}.{option}") if path in OF]
        return found[0] if found else KINDS.get(option)

    def optional(self, option: str) -> bool:
        """Whether None says nothing."""
        return self.parameters[option].default is None


def expanded(signature: inspect.Signature) -> dict[str, inspect.Parameter]:
    """The parameters of a function, with those that a TypedDict brings."""
    found: dict[str, inspect.Parameter] = {}
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            options = next(known for name, known in TYPED_DICTS.items() if f"[{name}]" in str(parameter.annotation))
            for name in typing.get_type_hints(options):
                found[name] = inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None)
        elif parameter.name not in ("self", "functions"):
            found[parameter.name] = parameter
    return found


def verbs(owner: type) -> Iterator[Place]:
    for name, member in inspect.getmembers(owner, inspect.isfunction):
        if not name.startswith("_") and name not in INSIDE.get(owner, ()) and member.__module__.startswith("holdfast"):
            parameters = expanded(inspect.signature(member))
            if parameters:
                yield Place(owner, name, parameters)


PLACES = [
    *(Place(each, "__init__", expanded(inspect.signature(each))) for each in MADE),
    Place(TaskFactory, "__call__", expanded(inspect.signature(TaskFactory.__call__))),
    *(
        place
        for owner in (
            BatchHandle,
            Blueprint,
            FamilyMetadata,
            Holdfast,
            Jobs,
            Metadata,
            Queues,
            RunHandle,
            Runs,
            StreamWriter,
            Schedules,
            Task,
            Tokens,
        )
        for place in verbs(owner)
    ),
]
OWNERS = list(dict.fromkeys(place.owner for place in PLACES))


# -- nothing is left out ----------------------------------------------------------------------------------------------


def test_every_public_class_is_looked_at() -> None:
    public = [
        *(getattr(holdfast, n) for n in holdfast.__all__),
        *(getattr(holdfast.testing, n) for n in holdfast.testing.__all__),
    ]
    classes = {each for each in public if inspect.isclass(each) and not issubclass(each, HoldfastError)}
    assert {each.__name__ for each in classes - set(MADE)} == HANDED_OUT


def test_every_option_has_a_kind() -> None:
    without = [f"{place.path}.{option}" for place in PLACES for option in place.parameters if not place.kind(option)]
    assert without == []


# -- and everything is refused ----------------------------------------------------------------------------------------


class Called:
    """An app with everything that verbs are called on."""

    def __init__(self, app: Holdfast, tested: Holdfast, jobs: Jobs, runner: asyncio.Runner) -> None:
        @app.task
        def greet(name: str) -> str:
            return name

        @tested.task
        def wave(name: str) -> str:
            return name

        @tested.task
        def ask(*, value: Annotated[Any, Depends(provided)]) -> None: ...

        self.app, self.tested, self.jobs, self.runner = app, tested, jobs, runner
        self.on: dict[type, list[Any]] = {
            BatchHandle: [app.batch_trigger([])],
            Blueprint: [Blueprint()],
            Holdfast: [app],
            Jobs: [jobs],
            FamilyMetadata: [FamilyMetadata()],
            Metadata: [FakeContext().metadata],
            Queues: [app.queues],
            RunHandle: [app.handle("01jh")],
            Runs: [app.runs],
            StreamWriter: [FakeContext().stream("tokens")],
            Schedules: [app.schedules],
            Tokens: [app.tokens],
            Task: [greet, app.declare("train", str, str)],
        }
        self.task = wave

    def functions(self, place: Place) -> list[Callable[..., Any]]:
        if place.owner is TaskFactory:
            return [self.app.task, Blueprint().task]
        if place.verb == "__init__":
            return [place.owner]
        objects = self.on[place.owner][:1] if "hook" in place.parameters else self.on[place.owner]
        return [getattr(each, place.verb) for each in objects]

    def call(self, function: Callable[..., Any], place: Place, option: str, value: Any) -> None:
        given = {
            each.name: self.good(place, each.name)
            for each in place.parameters.values()
            if (each.default is each.empty and each.kind is not each.VAR_POSITIONAL) or each.name == "payload"
        }
        given |= BESIDE.get(option, {}) | BESIDE.get(f"{place.verb}.{option}", {}) | {option: value}
        if place.owner is TaskFactory and option == "fn":
            function(value)
            return
        by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL)
        positional = [
            given.pop(name) for name, each in place.parameters.items() if each.kind in by_position and name in given
        ]
        made = function(*positional, **given)
        if inspect.iscoroutine(made):
            self.runner.run(made)

    def good(self, place: Place, option: str) -> Any:
        kind = place.kind(option)
        assert kind is not None
        return self.task if kind.good is ... else Blueprint() if option == "blueprint" else kind.good

    def state(self) -> list[Any]:
        """What is kept, here and in the database."""
        apps = (self.app, self.tested)
        here = [(sorted(app.tasks), sorted(app.declared_queues), app.hooks) for app in apps]
        return [here, [run.id for app in apps for run in app.runs.list()], [app.queues.list() for app in apps]]


@pytest.fixture
def called(database_url: str) -> Iterator[Called]:
    app, tested = Holdfast(database_url), Holdfast(":memory:")
    with tested.testing() as jobs, asyncio.Runner() as runner:
        yield Called(app, tested, jobs, runner)
    app.close()


@pytest.mark.parametrize("owner", OWNERS, ids=lambda owner: owner.__name__)
def test_what_cannot_be_used_is_refused_where_it_is_written(called: Called, owner: type) -> None:
    before = called.state()
    wrong: list[str] = []
    for place in (place for place in PLACES if place.owner is owner):
        for function, option in product(called.functions(place), place.parameters):
            for said, value in WRONG.items():
                kind = place.kind(option)
                if kind is None or said in kind.fine or (value is None and place.optional(option)):
                    continue
                told = refusal(partial(called.call, function, place, option), option, kind, value)
                wrong += [f"{place.path}({option}={said}): {told}"] if told else []
    assert not wrong, "\n".join(wrong)
    assert called.state() == before


def refusal(call: Callable[[Any], None], option: str, kind: Kind, value: Any) -> str | None:
    """What is wrong with how this call is refused."""
    try:
        call(value)
    except HoldfastError as error:
        if not (error.what and error.do and error.seen):
            return f"lacks a part: {error}"
        if not any(word.lower() in error.what.lower() for word in (option, *kind.words)):
            return f"does not name the option: {error}"
        entries = set(value) if isinstance(value, str) else value if isinstance(value, list | dict) else ()
        texts = [type(value).__name__, *(shown(each)[:20].strip("'") for each in (value, *entries))]
        if not any(text in error.seen for text in texts):
            return f"does not show the value: {error}"
        return None
    except Exception as error:
        return f"raised {type(error).__name__}: {str(error)[:100]}"
    return "was taken"


@pytest.mark.parametrize("owner", OWNERS, ids=lambda owner: owner.__name__)
def test_what_is_right_is_taken(called: Called, owner: type) -> None:
    for place in (place for place in PLACES if place.owner is owner):
        for function, option in product(called.functions(place), place.parameters):
            with suppress(RunNotFound, TokenUnknown, UnknownQueue, UnknownSchedule, DuplicateTask, AssertionError):
                called.call(function, place, option, called.good(place, option))
