"""``holdfast alerts``: what is declared, and whether its messages arrive."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from holdfast.cli.options import App, Database, Json
from holdfast.cli.place import opened
from holdfast.cli.show import Column, out, print_json, print_list
from holdfast.client import Client
from holdfast.errors import HoldfastError, ResultTimeout, RunFailed

app = typer.Typer(no_args_is_help=True, add_completion=False)


class NoSuchAlert(HoldfastError):
    """There is no such alert."""


@app.command("list")
def list_alerts(database: Database = None, app: App = None, json: Json = False) -> None:
    """List the alerts that apps declare, as workers announced them last."""
    from holdfast import alerting
    from holdfast.engine import alerts

    with opened(database, app) as client:
        rows = client.read(alerts.alerts)
    found = [summary(row, alerting.body_of(row), alerting.state_of(row)) for row in rows]
    if json:
        print_json({"alerts": found})
        return
    columns = [
        Column("ALERT", lambda each: each["name"]),
        Column("APP", lambda each: each["app"], from_width=100),
        Column("IF", lambda each: ", ".join(each["conditions"]), flexible=True),
        Column("TO", lambda each: ", ".join(each["channels"]), flexible=True),
        Column("HOLDS", lambda each: str(len(each["holds"])), right=True),
    ]
    print_list(columns, found, none="No alerts: a worker announces those of its app.")


@app.command("test")
def try_out(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The alert.")],
    timeout: Annotated[str, typer.Option("--timeout", metavar="DURATION", help="How long to wait.")] = "30s",
    database: Database = None,
    app: App = None,
    json: Json = False,
) -> None:
    """Send a message that says it is a test to each channel of an alert. Exits with 1 unless all have arrived."""
    from holdfast import alerting
    from holdfast.cli.audited import record
    from holdfast.engine import alerts

    with opened(database, app) as client:
        rows = [row for row in client.read(alerts.alerts) if row.name == name]
        if not rows:
            raise NoSuchAlert("There is no such alert", seen=name, do="See holdfast alerts list.")
        runs = [run for row in rows for run in alerting.test_runs(row, client.now())]
        channels = [each.url for row in rows for each in alerting.body_of(row).channels]
        client.write(alerting.send, runs)
        record(client, "alerts test", name)
        found = [
            {"to": shown(url), "run": run.id, **outcome(client, run.id, timeout)}
            for url, run in zip(channels, runs, strict=True)
        ]
    if json:
        print_json({"messages": found})
    else:
        for each in found:
            out().print(f"{each['to']}: {each['problem'] or 'arrived'}", soft_wrap=True, markup=False, highlight=False)
    if any(each["problem"] for each in found):
        raise typer.Exit(1)


def outcome(client: Client, run_id: str, timeout: str) -> dict[str, Any]:
    """What became of a message; it goes on being tried, whatever is said here."""
    from holdfast.codec import AnyCodec

    try:
        client.finished([run_id], [AnyCodec()], timeout)[0].output  # noqa: B018 - it raises
    except RunFailed as error:
        return {"problem": error.error.message}
    except ResultTimeout:
        tried = client.read(last_try, run_id)
        return {"problem": tried or "nobody has sent it yet: it takes holdfast server, start or worker"}
    return {"problem": None}


def last_try(tx: Any, run_id: str) -> str | None:
    from holdfast import views

    tries = views.invocations(tx, run_id)
    if not tries:
        return None
    return f"{tries[-1].error or f'answered {tries[-1].status}'}; it is tried again"


def summary(row: Any, body: Any, state: Any) -> dict[str, Any]:
    from holdfast.duration import format_ms

    return {
        "name": row.name,
        "app": row.app,
        "conditions": [
            " ".join(filter(None, (each.kind, each.name, format_ms(each.after_ms) if each.after_ms else "")))
            for each in body.conditions
        ],
        "channels": [shown(each.url) for each in body.channels],
        "gather": format_ms(body.gather_ms),
        "every": format_ms(body.every_ms),
        "holds": [each.text for each in state.problems.values()],
        "sent_at": state.sent_at,
    }


def shown(url: str) -> str:
    """Where a message goes, without what makes the URL a secret."""
    said = urlsplit(url)
    return url if said.scheme == "mailto" else f"{said.scheme}://{said.hostname}/…"
