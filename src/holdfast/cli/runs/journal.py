"""The journal of a run, as ``holdfast runs show`` prints it: a line for each thing it has done or waits for."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Final

from holdfast.cli.show import (
    COLOURS,
    DIM,
    Column,
    clean,
    duration,
    moment,
    note,
    out,
    plural,
    print_table,
    show,
    styled,
    when,
)
from holdfast.views import EntryView, RelatedRun, RunView

if TYPE_CHECKING:
    from rich.text import Text

ENTRIES: Final = 50  # the last so many
DETAIL: Final = 200
BARE: Final = ("sleep", "token", "wait")  # kinds that have no other name


def print_journal(run: RunView) -> None:
    """The last entries, and the tokens that somebody may still complete."""
    show("")
    out().print("Journal", style="bold")
    columns = [
        Column("STATUS", lambda each: styled(each.status, "green" if each.status == "done" else None)),
        Column("ENTRY", what, flexible=True),
        Column("BRANCH", lambda each: each.branch.rstrip("/"), from_width=120, style=DIM),
        Column("TRIES", lambda each: str(each.tries) if each.tries > 1 else "", from_width=60, right=True),
        Column("TOOK", lambda each: took(run, each), right=True),
        Column("BEGAN", lambda each: moment(each.started_at), from_width=100, style=DIM),
        Column("", lambda each: detail(run, each), flexible=True),
    ]
    print_table(columns, run.journal[-ENTRIES:])
    if run.journal_count > ENTRIES:
        note(f"These are the last {ENTRIES} of {run.journal_count:,} entries. More of them: --json")
    print_tokens(run)


def what(each: EntryView) -> str:
    """What it is, and of which name."""
    if each.kind in BARE:
        return each.kind
    if each.kind == "value":
        return each.name
    if each.kind in ("children", "trigger") and each.run_count != 1:
        return (
            f"{plural(each.run_count, 'run')} of {each.name}" if each.name != "batch" else plural(each.run_count, "run")
        )
    return f"{each.kind} {each.name}"


def took(run: RunView, each: EntryView) -> str:
    if each.kept:
        return "kept"
    if each.kind in ("step", "sleep", "wait", "child", "children"):
        return duration(each.took_ms)
    return ""


def detail(run: RunView, each: EntryView) -> str | Text:
    """What came of it, or what it waits for."""
    match each.kind:
        case "sleep":
            return until(run, each)
        case "token" | "wait":
            return token(run, each)
        case "child" | "children" | "trigger":
            return runs(each)
        case _:
            return outcome(run, each)


def until(run: RunView, each: EntryView) -> str:
    waits = each.status == "waiting" and each.until_at is not None
    return f"until {when(run.now, each.until_at)}" if waits else ""


def token(run: RunView, each: EntryView) -> str:
    name = each.token.id if each.token is not None else "a token that is gone"
    return "  ".join(part for part in (until(run, each), name, short(each) if each.kind == "wait" else "") if part)


def runs(each: EntryView) -> Text:
    """One by its id, and how many there are of several, by their statuses."""
    from rich.text import Text

    if each.run_count == 1:
        return related(each.runs[0])
    counts = Counter(run.status or "removed" for run in each.runs).most_common()
    if each.run_count > len(each.runs):
        return Text(f"{each.remaining:,} have not ended" if each.remaining else "all have ended")
    text = Text()
    for status, count in counts:
        text.append(", " if text else "").append(f"{count} ").append(status, style=COLOURS.get(status, ""))
    return text


def related(run: RelatedRun) -> Text:
    """Another run, and how it stands."""
    from rich.text import Text

    status = run.status or "removed"
    return Text(status, style=COLOURS.get(status, DIM)).append(f"  {run.id}", style="not bold")


def outcome(run: RunView, each: EntryView) -> str | Text:
    """Of a step: what it returned, or raised, and when it is tried again. Of ctx.now(): the time."""
    from rich.text import Text

    if each.kind == "value" and isinstance(each.result, int):
        return moment(each.result)
    if each.error is None:
        return Text(short(each), style=DIM)
    again = each.status == "retrying" and each.until_at is not None
    text = Text(f"again in {duration((each.until_at or 0) - run.now)}  " if again else "")
    return text.append(clean(brief(each.error), one_line=True), style="red")


def brief(error: dict[str, str]) -> str:
    """The class of an error, and the first line of what it said."""
    return f"{error['type']}: {error['message'].strip().partition(chr(10))[0]}"


def short(each: EntryView) -> str:
    """Its result on one line; what is long is cut."""
    if each.result is None:
        return f"{each.result_size:,} characters" if each.result_size > len("null") else ""
    text = json.dumps(each.result, ensure_ascii=False)
    return clean(text if len(text) <= DETAIL else f"{text[:DETAIL]}…", one_line=True)


def print_tokens(run: RunView) -> None:
    """Where to complete what is open, each on a line of its own that can be copied."""
    from rich.text import Text

    made = [each.token for each in run.journal if each.kind == "token" and each.token is not None]
    for each in made[-ENTRIES:]:
        if each.status == "open" and not run.finished:
            head = Text("  POST ", style="cyan").append(clean(each.url or ""), style="cyan")
            out().print(head, soft_wrap=True)
