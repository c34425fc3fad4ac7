"""docs/reference.md: every public name with its signature and its docstring, in the order in which one meets them.

    python scripts/reference.py            writes the page anew

`GROUPS` says where a name stands, `INSIDE` which public methods are not for users. A public name that is in no group is
an error, so a new one cannot be forgotten.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import re
import sys
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any, Final, NamedTuple

import holdfast
from holdfast import alerts, errors, remote, testing
from holdfast.hooks import Hooked
from holdfast.model import STATUSES

PAGE: Final = Path(__file__).parents[1] / "docs" / "reference.md"
MODULES: Final = ("alerts", "push", "remote", "testing", "contrib.opentelemetry")
GROUPS: Final = {
    "The app, and its tasks": "Holdfast Task AsyncTask SyncTask TaskOptions Blueprint",
    "Triggering": "TriggerOptions Debounce Item Duration",
    "What a trigger gives": "RunHandle BatchHandle Results Run RunStatus RunError LogLine JournalEntry Progress Usage",
    "Inside a task": (
        "AsyncContext Context step Token Metadata FamilyMetadata StreamWriter StreamReader Chunk Depends Secret"
    ),
    "Retries, queues, machines": "Retry Queue Machine",
    "Hooks": "Hooked Event Success Failure Cancellation Completion",
    "Schedules, their rules and slots": "Cron RRule Slot Schedules Schedule ScheduleOptions FiredSlot",
    "HTTP tasks and webhooks": (
        "PushOptions PushResponse Invocation Webhook WebhookRequest "
        "Stripe GitHub Slack Svix StandardWebhooks SharedSecret"
    ),
    "Looking and changing": (
        "Runs RunFilter RunPage ListedRun Bulk Queues QueueState Tokens TokenState TokenPage TokenStatus"
    ),
}
# What users make by a call; everything else is handed out.
MADE: Final = frozenset(
    getattr(module, name)
    for module, names in {
        holdfast: (
            "Holdfast Blueprint Debounce Depends Retry Queue Machine Cron RRule Webhook "
            "Stripe GitHub Slack Svix StandardWebhooks SharedSecret"
        ),
        alerts: "Failures Backlog NoWorker MissedSchedule Mail Slack Webhook",
        remote: "Client",
        testing: "FakeContext AsyncFakeContext",
    }.items()
    for name in names.split()
)
# What is public for the other parts of Holdfast only: of the class, and of those that are made from it.
INSIDE: Final = {
    "Alert": "gather_ms every_ms entry",
    "Channel": "kind record",
    "Client": "finished afinished updates aupdates chunks achunks",
    "Condition": "kind name after_ms record",
    "Cron": "rule",
    "Debounce": "fields",
    "FamilyMetadata": "take",
    "Holdfast": "alerts declared_queues load webhooks",
    "Hooked": "hooks",
    "Item": "home output said target",
    "Machine": "cpu_millis fits",
    "Metadata": "refresh later take",
    "Payloads": "instead",
    "Progress": "read",
    "Queue": "entry",
    "Retry": "wants delay_ms",
    "RRule": "rule",
    "RunError": "of read text",
    "Slot": "rule",
    "Task": (
        "bind target rename dump load unchecked secrets governing hooks_in_order ends entry declared_schedules "
        "scheduled_payload"
    ),
    "Token": "codec",
    "Usage": "read",
    "Verifier": "secret_headers success",
}
WIDTH: Final = 100
IN: Final = "In "  # the heading of a module
TOP: Final = """\
Every public name, from its docstring. The names are in `holdfast`, those at the end in the module that their heading
names. [Errors](errors.md), [settings](settings.md), [commands](cli.md), the [HTTP API](api.md) and
[`holdfast.contrib.celery`](coming-from-celery.md) have pages of their own.

What waits for the database or for a run has a twin for async code with the same arguments: `atrigger` for `trigger`."""


class Entry(NamedTuple):
    """A public name, where it stands, and what it is."""

    name: str
    thing: Any


def entries() -> dict[str, list[Entry]]:
    """The names by the heading that they stand under. Errors have a page of their own."""
    found = {
        title: [Entry(name, Hooked if name == "Hooked" else getattr(holdfast, name)) for name in names.split()]
        for title, names in GROUPS.items()
    }
    told = {each.name for group in found.values() for each in group}
    missing = set(holdfast.__all__) - set(errors.__all__) - told
    if missing:
        raise SystemExit(f"These public names are in no group of scripts/reference.py: {', '.join(sorted(missing))}")
    for module in (importlib.import_module(f"holdfast.{name}") for name in MODULES):
        found[f"{IN}{module.__name__}"] = [Entry(name, getattr(module, name)) for name in module.__all__]
    return found


def page() -> str:
    found = entries()
    told = {each.name for group in found.values() for each in group}
    parts = [
        "# Reference",
        TOP,
        "\n".join(f"- [{title}](#{anchor(title)}): {contents(title, group)}" for title, group in found.items()),
    ]
    for title, group in found.items():
        parts.append(f"## {title}")
        module = module_of(title)
        if module:
            parts += prose(story(importlib.import_module(module)), told)
        for each in group:
            parts += told_of(each, module, told)
    return "\n\n".join(parts) + "\n"


def contents(title: str, group: list[Entry]) -> str:
    module = module_of(title)
    return " · ".join(f"[{shown(each)}](#{anchor(heading(each, module))})" for each in group)


def module_of(title: str) -> str:
    return title.removeprefix(IN) if title.startswith(IN) else ""


def shown(each: Entry) -> str:
    return "hooks" if each.thing is Hooked else each.name


def heading(each: Entry, module: str) -> str:
    return "Of a task, and of the app" if each.thing is Hooked else f"{module}.{each.name}".lstrip(".")


def anchor(text: str) -> str:
    """As GitHub makes it of a heading."""
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")


def told_of(each: Entry, module: str, told: set[str]) -> Iterator[str]:
    yield f"### {heading(each, module)}"
    if inspect.isclass(each.thing) and typing.is_typeddict(each.thing):
        yield fence(
            f"{name}: {written(hint, globals_of(each.thing))}" for name, hint in each.thing.__annotations__.items()
        )
        yield from prose(inspect.getdoc(each.thing) or "", told)
    elif inspect.isclass(each.thing):
        yield from of_class(each, heading(each, module), told)
    elif inspect.isfunction(each.thing):
        yield fence(signatures(each.name, each.thing))
        yield from prose(inspect.getdoc(each.thing) or "", told)
    elif each.thing is holdfast.RunStatus:
        yield "\n".join(f'- `"{status}"`: {meaning}' for status, meaning in STATUSES.items())
    elif typing.get_origin(each.thing) is typing.Literal:
        yield "One of " + ", ".join(f'`"{value}"`' for value in typing.get_args(each.thing)) + "."
    else:
        yield f"`{written(str(each.thing), {})}`"


def of_class(each: Entry, title: str, told: set[str]) -> Iterator[str]:
    cls = each.thing
    made = cls in MADE
    if made:
        yield fence(signatures(each.name, cls.__init__))
    yield from prose(inspect.getdoc(cls) or "", told)
    if cls is Hooked:
        yield table([hook_row(name, value, told) for name, value in public(cls)])
        return
    if cls is holdfast.Context:
        yield from as_in_async_code(told)
        return
    base = next((base for base in cls.__mro__[1:] if base.__name__ in told - {"Hooked"}), None)
    members, shared = public(cls), dict(public(base) if base else ())
    if shared and base:
        yield link(f"And what a `{base.__name__}` has.", told)
    own = {name: value for name, value in members if name not in shared or value is not shared[name]}
    rows = [row(cls, name, value, told) for name, value in own.items() if is_attribute(value)]
    if rows and not (made and dataclasses.is_dataclass(cls)):
        yield table(rows) if any(text for _, _, text in rows) else fence(f"{name}: {hint}" for name, hint, _ in rows)
    for name, value in own.items():
        if not is_attribute(value) and not (name.startswith("a") and name[1:] in own):
            yield from method("" if each.thing is Hooked else f"{title}.", name, value, f"a{name}" in own, told)


def as_in_async_code(told: set[str]) -> Iterator[str]:
    """What is said of the one context goes for the other, as long as both have the same."""
    names = [[name for name, _ in public(cls)] for cls in (holdfast.Context, holdfast.AsyncContext)]
    if names[0] != names[1]:
        raise SystemExit("Context and AsyncContext differ: tell of each in docs/reference.md")
    yield link('It has what `AsyncContext` has, without `await`: `ctx.sleep("3d")`.', told)


def public(cls: type) -> list[tuple[str, Any]]:
    """The members that users have, its own before those of its bases, in the order of the source."""
    found: dict[str, Any] = {}
    hidden = {name for base in cls.__mro__ for name in INSIDE.get(base.__name__, "").split()}
    for base in (each for each in cls.__mro__ if each.__module__.startswith("holdfast")):
        if base is Hooked and cls is not Hooked:
            continue
        names = [*inspect.get_annotations(base), *base.__dict__]
        for name in dict.fromkeys(names):
            if not name.startswith("_") and name not in hidden:
                found.setdefault(name, base.__dict__.get(name))
    derived = {each.name for each in dataclasses.fields(cls) if not each.init} if dataclasses.is_dataclass(cls) else ()
    return [(name, value) for name, value in found.items() if name not in derived]


def is_attribute(value: Any) -> bool:
    return not (inspect.isfunction(value) or isinstance(value, classmethod | staticmethod))


def row(cls: type, name: str, value: Any, told: set[str]) -> tuple[str, str, str]:
    """An attribute: its name, its type, what it is."""
    getter = getattr(value, "fget", None)
    hint = getter.__annotations__.get("return", "") if getter else hint_of(cls, name)
    return name, written(hint, globals_of(cls)), in_a_line(getter, told) if getter else ""


def hook_row(name: str, value: Any, told: set[str]) -> tuple[str, str, str]:
    """A hook: its name, what it is told, when."""
    hints = " ".join(
        str(hint) for each in [value, *typing.get_overloads(value)] for hint in each.__annotations__.values()
    )
    event = next(word for word in re.findall(r"\w+", hints) if word in told and word != "Any")
    return name, event, in_a_line(value, told)


def in_a_line(function: Callable[..., Any], told: set[str]) -> str:
    return " ".join(" ".join(prose(inspect.getdoc(function) or "", told, examples=False)).split())


def table(rows: list[tuple[str, str, str]]) -> str:
    cells = [(f"`{name}`", f"`{hint}`" if hint else "", text) for name, hint, text in rows]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in cells]
    return "\n".join(["| | | |", "|---|---|---|", *lines])


def hint_of(cls: type, name: str) -> Any:
    """The type of a field; of a slot, that of the argument it was made from."""
    for base in cls.__mro__:
        init = base.__dict__.get("__init__")
        hints = {**getattr(init, "__annotations__", {}), **inspect.get_annotations(base)}
        if name in hints:
            return hints[name]
    return ""


def method(before: str, name: str, value: Any, twin: bool, told: set[str]) -> Iterator[str]:
    function = getattr(value, "__func__", value)
    iterated = "Iterator" in str(function.__annotations__.get("return", ""))
    yield f"#### {before}{name}"
    yield fence(
        [
            *signatures(name, function),
            *([f"# in async code: {'async for … in' if iterated else 'await'} a{name}(…)"] if twin else []),
        ]
    )
    yield from prose(inspect.getdoc(function) or "", told)


def signatures(name: str, function: Callable[..., Any]) -> list[str]:
    """As it is called. Where only its overloads say what it takes, the last one for the same names."""
    by_names: dict[tuple[str, ...], str] = {}
    known = inspect.unwrap(function).__globals__
    vague = "Any" in " ".join(map(str, function.__annotations__.values()))
    for each in (vague and typing.get_overloads(function)) or [function]:
        signature = inspect.signature(each)
        result = "" if signature.return_annotation is signature.empty else written(signature.return_annotation, known)
        result = "" if function.__name__ == "__init__" else result
        before = "await " if inspect.iscoroutinefunction(function) or result.startswith("Coro[") else ""
        hidden = (
            "self",
            "cls",
            *(name for name, each in signature.parameters.items() if "Codec" in str(each.annotation)),
        )
        taken = [parameter for name, parameter in signature.parameters.items() if name not in hidden]
        by_names[tuple(parameter.name for parameter in taken)] = laid_out(
            before + name, arguments(taken, known), re.sub(r"^Coro\[(.*)\]$", r"\1", result)
        )
    return list(by_names.values())


def arguments(parameters: list[inspect.Parameter], known: dict[str, Any]) -> list[str]:
    found: list[str] = []
    for index, each in enumerate(parameters):
        before = parameters[index - 1].kind if index else None
        if each.kind is each.KEYWORD_ONLY and before not in (each.KEYWORD_ONLY, each.VAR_POSITIONAL):
            found.append("*")
        if before is each.POSITIONAL_ONLY and each.kind is not each.POSITIONAL_ONLY:
            found.insert(len(found) - (found[-1:] == ["*"]), "/")
        star = "*" if each.kind is each.VAR_POSITIONAL else "**" if each.kind is each.VAR_KEYWORD else ""
        hint = "" if each.annotation is each.empty else f": {written(each.annotation, known)}"
        default = "" if each.default is each.empty else f" = {default_of(each.default)}"
        found.append(f"{star}{each.name}{hint}{default if hint else default.replace(' ', '')}")
    if parameters and parameters[-1].kind is inspect.Parameter.POSITIONAL_ONLY:
        found.append("/")
    return found


def default_of(value: Any) -> str:
    return "…" if value is ... else json.dumps(value) if isinstance(value, str) else repr(value)


def laid_out(name: str, parts: list[str], result: str) -> str:
    arrow = f" -> {result}" if result else ""
    line = f"{name}({', '.join(parts)}){arrow}"
    if len(line) <= WIDTH:
        return line
    return f"{name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){arrow}"


def globals_of(cls: type) -> dict[str, Any]:
    return vars(sys.modules[cls.__module__])


def written(hint: Any, known: dict[str, Any]) -> str:
    """A type as a reader wants it: with what stands behind the short names of a module."""
    text = getattr(hint, "__forward_arg__", hint)
    text = text if isinstance(text, str) else inspect.formatannotation(text)

    def spelt(match: re.Match[str]) -> str:
        meant = None if match[0] in holdfast.__all__ else known.get(match[0])
        if typing.get_origin(meant) is typing.Literal and len(values := typing.get_args(meant)) < 5:
            return " | ".join(map(json.dumps, values))
        return written(str(meant), {}) if isinstance(meant, types.UnionType | types.GenericAlias) else match[0]

    text = re.sub(r"\b[A-Z]\w+\b(?!\[)", spelt, text)
    text = re.sub(r"\b(typing|types|collections\.abc|datetime|holdfast(\.\w+)*)\.(?=[A-Za-z])", "", text)
    text = re.sub(r"Literal\[(.*?)\]", lambda match: match[1].replace("'", '"').replace(", ", " | "), text)
    return re.sub(r"\b([TR])_co\b", r"\1", text).replace(" | ellipsis", "")


def fence(lines: Any) -> str:
    return "```python\n" + "\n".join(lines) + "\n```"


def story(module: Any) -> str:
    return (inspect.getdoc(module) or "").split("\n\n")[0]


def prose(text: str, told: set[str], examples: bool = True) -> Iterator[str]:
    """A docstring as Markdown: its paragraphs, what is raised as a list, its example."""
    for block in re.split(r"\n\n(?=\S)", text):
        if block.startswith(">>>"):
            if examples:
                yield example(block)
        elif block.startswith("Raises:"):
            yield from raised(dedent(block.partition("\n")[2]), told, examples)
        elif block:
            yield link(block.replace("``", "`"), told)


def raised(text: str, told: set[str], listed: bool) -> Iterator[str]:
    cases = [" ".join(case.split()) for case in re.split(r"\n(?=\S)", text)]
    cases = [re.sub(r"^([A-Z]\w+(?:, [A-Z]\w+)*)(?=:|$)", codes, case).replace("``", "`") for case in cases]
    cases = [link(case, told) for case in cases]
    yield (
        ("Raises\n\n" + "\n".join(f"- {case}" for case in cases))
        if listed
        else f"Raises {'; '.join(case.rstrip('.') for case in cases)}."
    )


def codes(match: re.Match[str]) -> str:
    return ", ".join(f"`{name}`" for name in match[1].split(", "))


def example(text: str) -> str:
    lines = text.splitlines()
    if all(line[:3] in (">>>", "...") for line in lines):
        return fence(line[4:] for line in lines)
    return "```pycon\n" + text + "\n```"


def link(text: str, told: set[str]) -> str:
    """Names of this page lead to their place on it."""

    def linked(match: re.Match[str]) -> str:
        name = match[1].partition(".")[0]
        return f"[{match[0]}](#{name.lower()})" if name in told and name in holdfast.__all__ else match[0]

    return re.sub(r"(?<!\[)`([A-Z]\w+(?:\.\w+)?)`", linked, text)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
