"""Looking at alerts: a duty of every host, and whoever comes first does it.

    the facts of this moment ─► decide, purely ─► how it stands now, and perhaps a message ─► both in one transaction

A message is a run for each channel, sent by a pusher like all requests, so it is as durable as they are, and no two
hosts send it twice. Failures are counted from history, each once; what else there is holds or holds no more, and that
it holds no more is told, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from holdfast.clock import utc
from holdfast.duration import format_ms
from holdfast.engine import alerts as engine
from holdfast.engine import catalogue
from holdfast.engine.alerts import AlertRow, Failed, FailedRun, Late, Standing
from holdfast.engine.trigger import RouteName, insert
from holdfast.ids import new_id
from holdfast.records import NewRun, QueueEntry, TaskEntry
from holdfast.request import HTTP_RETRY, Request
from holdfast.storage import Tx

if TYPE_CHECKING:
    from holdfast.views.backlog import Waiting

TASK: Final = "holdfast.alert"
EVERY_MS: Final = 10_000  # how often an alert is looked at
LATE_MS: Final = 5_000  # how long the commit of an end may take
TTL_MS: Final = 24 * 3_600_000
TOLD: Final = 20  # lines of a message
LONGEST: Final = 200  # keys that are kept of one alert


class Condition(msgspec.Struct):
    """A condition as it was announced."""

    kind: str
    name: str | None
    after_ms: int


class Channel(msgspec.Struct):
    """A channel as it was announced."""

    kind: str
    url: str


class Body(msgspec.Struct):
    """An alert as it was announced."""

    conditions: list[Condition]
    channels: list[Channel]
    gather_ms: int
    every_ms: int


class Problem(msgspec.Struct):
    """Something that holds: what it is, since when it was seen, and whether somebody was told."""

    text: str
    since: int
    lasting_ms: int = 0  # it is told of when it has held for so long
    told: bool = False


class State(msgspec.Struct):
    """How an alert stands."""

    until: int | None = None  # ends up to then were counted
    problems: dict[str, Problem] = {}
    failed: dict[str, dict[str, int]] = {}  # by task and status: what nobody was told of yet
    first: list[str] = []  # some of these runs
    resolved: list[str] = []
    pending_at: int | None = None  # since when there is something to tell
    sent_at: int | None = None


class Facts(NamedTuple):
    """What is so at this moment, as far as some alert asks for it."""

    now: int
    lines: Sequence[Waiting] = ()
    paused: frozenset[str] = frozenset()
    late: Sequence[Late] = ()
    missed: Sequence[Late] = ()
    broken: Sequence[tuple[str, str, str]] = ()
    failed: Sequence[Failed] = ()


class Message(NamedTuple):
    """What is told at once."""

    alert: AlertRow
    at: int
    firing: Sequence[Problem]
    resolved: Sequence[str]
    failed: Mapping[str, Mapping[str, int]]
    runs: Sequence[FailedRun] = ()


# -- looking ----------------------------------------------------------------------------------------------------------


def look(tx: Tx) -> int:
    """Look at the alerts that are due, and have told what there is to tell. Answers how many messages were made."""
    rows = engine.due(tx)
    if not rows:
        return 0
    now, known = tx.now(), [(row, body_of(row), state_of(row)) for row in rows]
    shared = facts(tx, now, {each.kind for _, body, _ in known for each in body.conditions})
    standing: list[Standing] = []
    messages: list[NewRun] = []
    for row, body, state in known:
        until = now - LATE_MS
        seen = shared
        if any(each.kind == "failures" for each in body.conditions) and until > (state.until or until):
            seen = shared._replace(failed=engine.failures(tx, state.until or until, until))
        state.until = until
        if message := decide(row, body, state, seen):
            message = message._replace(runs=engine.errors(tx, state.first))
            messages += [sent(channel, message) for channel in body.channels]
            told(state, now)
        standing.append(Standing(row.app, row.name, msgspec.json.encode(state).decode(), now + EVERY_MS))
    engine.settle(tx, standing)
    send(tx, messages)
    return len(messages)


def send(tx: Tx, runs: Sequence[NewRun]) -> None:
    """Have these messages sent."""
    if runs:
        options = {"max_attempts": HTTP_RETRY.max_attempts, "http": {}}
        entry = TaskEntry(id=TASK, queue=TASK, options=msgspec.json.encode(options).decode(), kind="http")
        catalogue.ensure_names(tx, [QueueEntry(name=TASK)], [RouteName(TASK, TASK)], [entry])
        insert(tx, runs)()


def body_of(row: AlertRow) -> Body:
    return msgspec.json.decode(row.body, type=Body)


def state_of(row: AlertRow) -> State:
    return msgspec.json.decode(row.state, type=State)


def facts(tx: Tx, now: int, kinds: set[str]) -> Facts:
    """What is so, read once for all alerts."""
    from holdfast.views import backlog  # only where there are alerts: the views are much for a supervisor to load
    from holdfast.views.scheduled import scheduled

    found = Facts(now)
    if kinds & {"backlog", "no_worker"}:
        lines, paused = backlog.lines(tx)
        found = found._replace(lines=lines, paused=paused)
    if "missed_schedule" in kinds:
        broken = [(each.id, each.task, each.problem) for each in scheduled(tx).broken]
        found = found._replace(late=engine.late_schedules(tx, 0), missed=engine.missed_slots(tx), broken=broken)
    return found


# -- deciding: nothing below asks the database -------------------------------------------------------------------------


def decide(row: AlertRow, body: Body, state: State, seen: Facts) -> Message | None:
    """Take in what is so, and say what is to be told now."""
    found = {key: each for condition in body.conditions for key, each in problems(condition, seen)}
    follow(state, dict(list(found.items())[:LONGEST]), seen.now)
    count(state, body.conditions, seen.failed)
    firing = [each for each in state.problems.values() if not each.told and seen.now - each.since >= each.lasting_ms]
    if not (firing or state.resolved or state.failed):
        state.pending_at = None
        return None
    state.pending_at = seen.now if state.pending_at is None else state.pending_at
    gathered = seen.now - state.pending_at >= body.gather_ms
    rested = state.sent_at is None or seen.now - state.sent_at >= body.every_ms
    return Message(row, seen.now, firing, list(state.resolved), state.failed) if gathered and rested else None


def follow(state: State, found: Mapping[str, Problem], now: int) -> None:
    """What is new, and what holds no more."""
    for key in [key for key in state.problems if key not in found]:
        gone = state.problems.pop(key)
        if gone.told:
            state.resolved.append(f"{gone.text} (for {format_ms(max(0, now - gone.since))})")
    for key, each in found.items():
        if key not in state.problems:
            state.problems[key] = each
        elif not state.problems[key].told:
            state.problems[key].text = each.text


def count(state: State, conditions: Iterable[Condition], failed: Iterable[Failed]) -> None:
    wanted = [each.name for each in conditions if each.kind == "failures"]
    for each in failed:
        if each.task != TASK and any(name is None or name == each.task for name in wanted):
            statuses = state.failed.setdefault(each.task, {})
            statuses[each.status] = statuses.get(each.status, 0) + each.n
            if len(state.first) < engine.NAMED:
                state.first.append(each.first)


def told(state: State, now: int) -> None:
    """Everything that there was to tell has been told."""
    for each in state.problems.values():
        each.told = each.told or now - each.since >= each.lasting_ms
    state.resolved, state.failed, state.first = [], {}, []
    state.pending_at, state.sent_at = None, now


def problems(condition: Condition, seen: Facts) -> Iterator[tuple[str, Problem]]:
    """What holds of a condition, by a key that stays the same while it does."""
    match condition.kind:
        case "backlog":
            yield from backlogs(condition, seen)
        case "no_worker":
            yield from unserved(condition, seen)
        case "missed_schedule":
            yield from missed(condition, seen)


def backlogs(condition: Condition, seen: Facts) -> Iterator[tuple[str, Problem]]:
    oldest: dict[str, int] = {}
    for line in seen.lines:
        if line.since is not None and line.queue not in seen.paused and line.queue != TASK:
            oldest[line.queue] = min(oldest.get(line.queue, line.since), line.since)
    for queue, since in sorted(oldest.items()):
        if condition.name in (None, queue) and seen.now - since >= condition.after_ms:
            text = f"The oldest run that could start in the queue {queue} has waited for {format_ms(seen.now - since)}"
            yield f"backlog {queue}", Problem(text, seen.now)


def unserved(condition: Condition, seen: Facts) -> Iterator[tuple[str, Problem]]:
    waiting: dict[str, int] = {}
    for line in seen.lines:
        if not line.served and line.task != TASK:
            waiting[line.task] = waiting.get(line.task, 0) + line.count
    for task, n in sorted(waiting.items()):
        if condition.name in (None, task):
            text = f"No live worker knows the task {task}: {n} {'run waits' if n == 1 else 'runs wait'}"
            yield f"no_worker {task}", Problem(text, seen.now, condition.after_ms)


def missed(condition: Condition, seen: Facts) -> Iterator[tuple[str, Problem]]:
    for late in seen.late:
        if condition.name in (None, late.task) and seen.now - late.at >= condition.after_ms:
            text = f"A schedule of {late.task} is late: nobody has fired its slot of {iso(late.at)}"
            yield f"schedule {late.id}", Problem(text, seen.now)
    for gone in seen.missed:
        if condition.name in (None, gone.task):
            text = f"A schedule of {gone.task} has missed its slot of {iso(gone.at)}"
            yield f"schedule {gone.id} {gone.at}", Problem(text, seen.now)
    for schedule, task, problem in seen.broken:
        if condition.name in (None, task):
            yield f"schedule {schedule} broken", Problem(f"A schedule of {task} does not go on: {problem}", seen.now)


# -- telling ----------------------------------------------------------------------------------------------------------


def headline(message: Message) -> str:
    """A message in a few words."""
    failed = sum(n for statuses in message.failed.values() for n in statuses.values())
    parts = [f"{failed} {'run has' if failed == 1 else 'runs have'} failed"] if failed else []
    parts += [each.text for each in message.firing[:1]]
    parts += [f"{len(message.firing) - 1} more"] if len(message.firing) > 1 else []
    return "; ".join(parts) if parts else f"Resolved: {message.resolved[0]}"


def lines(message: Message) -> list[str]:
    """A message as text, line by line."""
    found = [f"{n} x {task} {status}" for task, statuses in message.failed.items() for status, n in statuses.items()]
    found += [f"  {run.id} {run.task}: {run.error or run.status}" for run in message.runs]
    found += [each.text for each in message.firing]
    found += [f"Resolved: {text}" for text in message.resolved]
    rest = len(found) - TOLD
    return [*found[:TOLD], f"… and {rest} lines more"] if rest > 0 else found


def document(message: Message) -> dict[str, Any]:
    """A message as JSON."""
    return {
        "type": "holdfast.alert",
        "alert": message.alert.name,
        "app": message.alert.app,
        "at": iso(message.at),
        "headline": headline(message),
        "firing": [{"text": each.text, "since": iso(each.since)} for each in message.firing],
        "resolved": list(message.resolved),
        "failed": [
            {"task": task, "status": status, "count": n}
            for task, statuses in message.failed.items()
            for status, n in statuses.items()
        ],
        "runs": [run._asdict() for run in message.runs],
    }


def sent(channel: Channel, message: Message) -> NewRun:
    """The run that sends a message to a channel."""
    head, text = f"[{message.alert.name}] {headline(message)}", "\n".join(lines(message))
    match channel.kind:
        case "slack":
            body: dict[str, Any] = {"text": f"*{escaped(head)}*\n{escaped(text)}"}
        case "mail":
            body = {"subject": head, "text": f"{text}\n\n{message.alert.app}, {iso(message.at)}"}
        case _:
            body = document(message)
    request = Request(url=channel.url, body="json", any_2xx=True)
    return NewRun(
        id=new_id(),
        task=TASK,
        queue=TASK,
        payload=msgspec.json.encode(body).decode(),
        ttl_ms=TTL_MS,
        options=msgspec.json.encode({"http": msgspec.to_builtins(request)}).decode(),
    )


def test_runs(row: AlertRow, now: int) -> list[NewRun]:
    """A message to each channel of an alert, which says that it is a test."""
    message = Message(row, now, [Problem("This is a test: nothing is wrong", now)], [], {})
    return [sent(channel, message) for channel in body_of(row).channels]


def escaped(text: str) -> str:
    """Text as Slack wants it."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def iso(ms: int) -> str:
    return utc(ms).isoformat(timespec="seconds").replace("+00:00", "Z")
