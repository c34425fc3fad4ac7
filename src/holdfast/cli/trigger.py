"""``holdfast trigger``: make a run of a task, and perhaps wait for it.

A task of the app that is here has its payload checked against its annotation; any other is known from the catalogue.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast import codec, views
from holdfast.cli.options import App, Database, Json
from holdfast.cli.place import Place, place, using
from holdfast.cli.show import COLOURS, clean, err, note, out, print_json
from holdfast.duration import Duration
from holdfast.errors import HoldfastError, InvalidOption, PayloadInvalid, ResultTimeout, UnknownTask, shown
from holdfast.handle import RunHandle
from holdfast.options import TriggerOptions
from holdfast.views import RunView

app = typer.Typer(add_completion=False)


@app.command()
def trigger(
    task: Annotated[str, typer.Argument(metavar="TASK", help="The id of the task.")],
    payload: Annotated[
        str | None,
        typer.Argument(
            metavar="JSON", help="The payload. @FILE reads it from a file, - from standard input.", show_default=False
        ),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", "-w", metavar="", help="Wait for its end, and print its output.")
    ] = False,
    timeout: Annotated[
        str | None, typer.Option("--timeout", metavar="DURATION", help="Wait no longer than this.", show_default=False)
    ] = None,
    delay: Annotated[
        str | None,
        typer.Option("--delay", metavar="DURATION", help="Not before this time has passed.", show_default=False),
    ] = None,
    scheduled_for: Annotated[
        str | None, typer.Option("--scheduled-for", metavar="TIME", help="Not before this time.", show_default=False)
    ] = None,
    ttl: Annotated[
        str | None,
        typer.Option("--ttl", metavar="DURATION", help="It expires if it has not started by then.", show_default=False),
    ] = None,
    queue: Annotated[
        str | None,
        typer.Option("--queue", "-q", metavar="NAME", help="Another queue than the task's.", show_default=False),
    ] = None,
    concurrency_key: Annotated[
        str | None,
        typer.Option("--concurrency-key", "-k", metavar="KEY", help="Whose limit it counts under.", show_default=False),
    ] = None,
    priority: Annotated[
        float | None, typer.Option("--priority", metavar="SECONDS", help="Its head start.", show_default=False)
    ] = None,
    idempotency_key: Annotated[
        str | None,
        typer.Option(
            "--idempotency-key", metavar="KEY", help="The same key gives the earlier run.", show_default=False
        ),
    ] = None,
    idempotency_ttl: Annotated[
        str | None,
        typer.Option("--idempotency-ttl", metavar="DURATION", help="How long the key is known.", show_default=False),
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="TAG", help="To find it by; several may be given.", show_default=False),
    ] = None,
    metadata: Annotated[
        str | None,
        typer.Option("--metadata", metavar="JSON", help="A small object that the run can change.", show_default=False),
    ] = None,
    max_attempts: Annotated[
        int | None, typer.Option("--max-attempts", metavar="N", help="Stronger than the task's.", show_default=False)
    ] = None,
    max_duration: Annotated[
        str | None,
        typer.Option("--max-duration", metavar="DURATION", help="Stronger than the task's.", show_default=False),
    ] = None,
    machine: Annotated[
        str | None,
        typer.Option("--machine", metavar="MACHINE", help="Stronger than the task's: small-2x.", show_default=False),
    ] = None,
    anyway: Annotated[
        bool, typer.Option("--anyway", metavar="", help="Also an id that looks like a misspelt one.")
    ] = False,
    database: Database = None,
    app: App = None,
    json: Json = False,
) -> None:
    """Make a run of a task. When this returns, it is on disk.

    holdfast trigger greet '"Ada"' --delay 5s --wait
    """
    said = {
        "delay": delay,
        "scheduled_for": None if scheduled_for is None else read_moment(scheduled_for),
        "ttl": ttl,
        "queue": queue,
        "concurrency_key": concurrency_key,
        "priority": priority,
        "idempotency_key": idempotency_key,
        "idempotency_ttl": idempotency_ttl,
        "tags": tag or None,
        "metadata": None if metadata is None else read_json(metadata, "--metadata"),
        "max_attempts": max_attempts,
        "max_duration": max_duration,
        "machine": machine,
    }
    options: Any = {name: value for name, value in said.items() if value is not None}
    value = None if payload is None else read_json(read_text(payload), "The payload")
    with using(place(database, app), make=True) as here:
        handle = triggered(here, task, value, options, anyway=anyway)
        if not wait:
            tell_triggered(handle, json=json)
            return
        run = awaited(here, handle, timeout)
    tell_ended(run, handle, json=json)
    if run.status != "completed":
        raise typer.Exit(1)


def triggered(here: Place, task: str, payload: Any, options: TriggerOptions, *, anyway: bool) -> RunHandle[Any]:
    """Trigger by id, through the task that is here or the catalogue.

    An id that nobody has announced may be that of a task whose worker comes later: its run waits, and that is said.

    Raises:
        UnknownTask: it looks like a misspelt one, and that was not meant.
    """
    local = here.app.tasks.get(task)
    if local is not None:
        return local.trigger(payload_of(local, payload), **options)
    known = {each.id for each in here.app.client.read(views.tasks)}
    if task not in known and not anyway:
        refuse_misspelt(task, sorted(known | here.app.tasks.keys()), here.problem)
    handle = here.app.trigger(task, payload, **options)
    if task not in known:
        warn(f"No worker knows {task} yet. Its run stays pending_version until one does.")
    return handle


def payload_of(task: Any, payload: Any) -> Any:
    """The payload as the task's own type: JSON has no models."""
    if payload is None:
        return None
    return task.load(codec.encode(payload)) if task.signature.payload is not None else payload


def refuse_misspelt(task: str, known: Sequence[str], problem: HoldfastError | None) -> None:
    """Raise for an id that nobody knows and that is close to one that somebody does."""
    close = difflib.get_close_matches(task, known, n=1)
    if close:
        why = "" if problem is None else f" The app that is here could not be used: {problem}"
        raise UnknownTask(
            "No task has this id", seen=task, do=f"Did you mean {close[0]}? --anyway triggers it nevertheless.{why}"
        )


def warn(text: str) -> None:
    typer.echo(f"Warning: {text}", err=True)


# -- reading ----------------------------------------------------------------------------------------------------------


def read_text(written: str) -> str:
    """What was written, or what it points to."""
    if written == "-":
        return sys.stdin.read()
    if not written.startswith("@"):
        return written
    try:
        return Path(written[1:]).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidOption("The payload's file cannot be read", seen=str(error), do="Name another file.") from None


def read_json(text: str, what: str) -> Any:
    try:
        return codec.decode(text)
    except PayloadInvalid:
        bare = text.strip()
        do = f"For a string, write '\"{bare}\"'." if bare.isalnum() else "Write JSON, in single quotes for the shell."
        raise InvalidOption(f"{what} is not JSON", seen=shown(text), do=do) from None


def read_moment(text: str, option: str = "--scheduled-for") -> datetime:
    """A date and time; without a zone that of whoever asks."""
    try:
        moment = datetime.fromisoformat(text.strip())
        return moment.astimezone() if moment.tzinfo is None else moment
    except (ValueError, OverflowError):  # the second: there is no such time in this zone
        raise InvalidOption(
            f"{option} is not a date and time", seen=shown(text), do='Write "2027-01-31T09:00+01:00".'
        ) from None


# -- waiting and telling ----------------------------------------------------------------------------------------------


def awaited(here: Place, handle: RunHandle[Any], timeout: Duration | None) -> RunView:
    """The run at its end.

    Raises:
        ResultTimeout: it has not ended; why it has not is said.
    """
    console = err()
    client = here.app.client
    try:
        if console.is_terminal:
            with console.status(f"{handle.id} …"):
                client.finished([handle.id], [codec.AnyCodec()], timeout)
        else:
            client.finished([handle.id], [codec.AnyCodec()], timeout)
    except ResultTimeout:
        for reason in getattr(client.read(views.run, handle.id), "reasons", []):
            note(reason.text)
        raise
    run = client.read(views.run, handle.id)
    if run is None:
        raise HoldfastError(
            "The run ended and was forgotten before it could be read", seen=handle.id, do="Give it a longer retention."
        )
    return run


def tell_triggered(handle: RunHandle[Any], *, json: bool) -> None:
    if json:
        print_json({"id": handle.id, "created": handle.created})
        return
    out().print(handle.id)
    if not handle.created:
        note("The idempotency key is known: this is the earlier run.")


def tell_ended(run: RunView, handle: RunHandle[Any], *, json: bool) -> None:
    """The output on stdout, and how it ended on stderr."""
    if json:
        print_json(
            {"id": run.id, "created": handle.created, "status": run.status, "output": run.output, "error": failure(run)}
        )
        return
    if run.status == "completed":
        print_json(run.output)
        return
    from rich.text import Text

    text = Text(f"{run.id} ", style="bright_black").append(run.status, style=COLOURS.get(run.status, ""))
    if run.error is not None:
        text.append(f" {clean(run.error.type)}: {clean(run.error.message)}", style="not bold")
    err().print(text, soft_wrap=True)


def failure(run: RunView) -> Any:
    error = run.error
    return None if error is None else {"type": error.type, "message": error.message, "traceback": error.traceback}
