"""``holdfast tokens``: what a person at a terminal can do for a run that waits."""

from __future__ import annotations

from holdfast.storage import Store
from tests.cli.conftest import Cli


def test_made_found_and_completed_once(cli: Cli, store: Store) -> None:
    made = cli("tokens", "create", "--tag", "order-7", "--timeout", "2d", "--json").json
    assert made["url"].startswith("http://")
    (listed,) = cli("tokens", "list", "--tag", "order-7", "--status", "open", "--json").json["tokens"]
    assert (listed["id"], listed["status"], "url" in listed) == (made["id"], "open", False)
    assert cli("tokens", "show", made["id"], "--json").json["url"] == made["url"]
    first = cli("tokens", "complete", made["id"], '{"by": "Ada"}')
    assert (first.code, made["id"] in first.out) == (0, True)
    again = cli("tokens", "complete", made["id"], '{"by": "Bob"}', "--json")
    assert (again.code, again.json["status"]) == (1, "already")
    shown = cli("tokens", "show", made["id"], "--json").json
    assert (shown["status"], shown["value"]) == ("completed", {"by": "Ada"})
    assert "completed" in cli("tokens", "show", made["id"]).out
    assert made["id"] in cli("tokens", "list").out


def test_what_cannot_be_done_is_said(cli: Cli, store: Store) -> None:
    made = cli("tokens", "create", "--timeout", "0s", "--json").json
    assert cli("tokens", "complete", made["id"], "1", "--json").json["status"] == "expired"
    for arguments in (
        ("complete", "nope", "1"),
        ("show", "nope"),
        ("complete", made["id"], "Ada"),
        ("list", "-s", "x"),
    ):
        answer = cli("tokens", *arguments)
        assert (answer.code, answer.out, "Traceback" in answer.err) == (2, "", False)
        assert answer.err
