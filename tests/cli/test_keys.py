"""``holdfast keys`` and ``holdfast audit``; and that no command changes anything unseen."""

from __future__ import annotations

from typing import Any

import pytest
import typer

from holdfast.cli.main import COMMANDS, loaded
from holdfast.storage import Store
from tests.cli.conftest import Cli

# Commands that change something, and write so into the audit log; those that make runs, which are
# records of their own; and how those are called that only look, or carry out what others have asked for.
CHANGES = {
    "runs cancel",
    "runs replay",
    "queues pause",
    "queues resume",
    "queues limit",
    "schedules create",
    "schedules update",
    "schedules pause",
    "schedules resume",
    "schedules delete",
    "schedules run",
    "tokens create",
    "tokens complete",
    "alerts test",
    "workers drain",
    "secret",
    "variables set",
    "variables remove",
    "keys create",
    "keys revoke",
}
MAKES_RUNS = {"trigger"}
LOOKS = {"list", "show", "tail", "rejected", "preview", "tasks", "workers", "audit", "doctor", "bench", "migrate"}
CARRIES_OUT = {"dev", "start", "worker", "server"}


def test_every_command_is_known_to_change_something_or_not() -> None:
    found = set()
    for name in COMMANDS:
        command: Any = loaded(name)
        found |= {f"{name} {inner}" for inner in getattr(command, "commands", {})} or {name}
    assert found >= CHANGES
    assert {name for name in found - CHANGES - MAKES_RUNS - CARRIES_OUT if name.split()[-1] not in LOOKS} == set()


def test_a_key_is_shown_once(cli: Cli, store: Store) -> None:
    made = cli("keys", "create", "web", "--scope", "trigger:onboard", "--scope", "read", "--expires", "90d", "--json")
    document = made.json
    assert document["key"].startswith("tr_prod_sk_")
    assert (document["scopes"], document["state"]) == (["trigger:onboard", "read"], "active")
    listed = cli("keys", "list", "--json")
    assert document["key"] not in listed.out + cli("keys", "list").out + cli("audit").out + cli("audit", "--json").out
    (each,) = listed.json["keys"]
    assert (each["id"], each["ending"], each["used_at"]) == (document["id"], document["key"][-4:], None)
    another = cli("keys", "create", "other", "--scope", "read", "--json").json
    assert "No key is left" not in cli("keys", "revoke", another["id"]).err
    revoked = cli("keys", "revoke", document["id"])
    assert (revoked.code, "No key is left" in revoked.err) == (0, True)
    again = cli("keys", "revoke", document["id"], "--json").json
    assert (again["outcome"], again["keys_left"]) == ("already", False)
    assert cli("keys", "list", "--json").json["keys"][0]["state"] == "revoked"


@pytest.mark.parametrize(
    "arguments",
    [
        ("create", "web"),
        ("create", "web", "--scope", "all"),
        ("create", "web", "--scope", "trigger:"),
        ("create", "web", "--scope", "run:"),
        ("create", " ", "--scope", "read"),
        ("create", "web", "--scope", "read", "--expires", "soon"),
        ("revoke", "nope"),
    ],
)
def test_what_cannot_be_done_is_said(cli: Cli, store: Store, arguments: tuple[str, ...]) -> None:
    answer = cli("keys", *arguments)
    assert (answer.code, answer.out, "Traceback" in answer.err) == (2, "", False)
    assert cli("audit", "--json").json["changes"] == []


def test_what_commands_change_is_in_the_audit_log(cli: Cli, store: Store) -> None:
    run = cli("trigger", "greet", '"Ada"', "--queue", "mail", "--json").json["id"]
    cli("queues", "pause", "mail")
    cli("queues", "limit", "mail", "5")
    cli("queues", "resume", "mail")
    cli("runs", "cancel", run)
    cli("runs", "replay", run)
    cli("runs", "cancel", "--queue", "mail", "--yes")
    token = cli("tokens", "create", "--json").json["id"]
    cli("tokens", "complete", token, "1")
    cli("tokens", "complete", token, "2")
    schedule = cli("schedules", "create", "greet", "0 9 * * *", '"Ada"', "--json").json["id"]
    cli("schedules", "update", schedule, "0 10 * * *")
    for verb in ("pause", "resume", "run", "delete"):
        cli("schedules", verb, schedule)
    cli("secret")
    cli("secret", "--rotate")
    lines = cli("audit", "--json").json["changes"][::-1]
    assert [each["verb"] for each in lines] == [
        *("queues pause", "queues limit", "queues resume", "runs cancel", "runs replay", "runs cancel"),
        *("tokens create", "tokens complete", "schedules create", "schedules update", "schedules pause"),
        *("schedules resume", "schedules run", "schedules delete", "secret --rotate"),
    ]
    assert all("(command line)" in each["actor"] and each["origin"] for each in lines)
    assert run in lines[3]["subject"]


def test_the_log_is_read_page_by_page(cli: Cli, store: Store) -> None:
    cli("trigger", "greet", "1", "--queue", "mail")
    for _ in range(3):
        cli("queues", "pause", "mail")
    first = cli("audit", "-n", "2", "--json").json
    rest = cli("audit", "--cursor", first["next_cursor"], "--json").json
    assert (len(first["changes"]), len(rest["changes"]), rest["next_cursor"]) == (2, 1, None)
    assert "To go on" in cli("audit", "-n", "2").err
    assert isinstance(loaded("audit"), typer.core.TyperCommand)
