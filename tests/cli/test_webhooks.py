"""``holdfast webhooks``: where requests come in, and those that were refused."""

from __future__ import annotations

from holdfast.engine import catalogue, webhooks
from holdfast.ids import new_id
from holdfast.records import Rejected, TaskEntry
from holdfast.storage import Store
from tests.cli.conftest import Cli


def refused(path: str) -> Rejected:
    return Rejected(
        id=new_id(), path=path, reason="no\x1b[31m", source="1.2.3.4", headers='{"a": "b"}', body="hi", size=2
    )


def test_where_requests_come_in(cli: Cli, store: Store) -> None:
    assert "No webhooks" in cli("webhooks", "list").err
    entry = TaskEntry(id="paid", queue="task/paid", options="{}", webhook="/stripe", verified_by="Stripe")
    store.run_sync(catalogue.announce, [entry], [])
    (found,) = cli("webhooks", "list", "--json").json["webhooks"]
    assert (found["task"], found["path"], found["verified_by"]) == ("paid", "/stripe", "Stripe")
    assert found["url"].endswith("/webhooks/stripe")
    assert "Stripe" in cli("webhooks", "list").out


def test_what_was_refused(cli: Cli, store: Store) -> None:
    assert "No request" in cli("webhooks", "rejected").err
    store.run_sync(webhooks.reject, [refused("/a"), refused("/b")])
    first = cli("webhooks", "rejected", "--limit", "1", "--json").json
    rest = cli("webhooks", "rejected", "--cursor", first["next_cursor"], "--json").json
    assert [each["path"] for each in (*first["rejected"], *rest["rejected"])] == ["/b", "/a"]
    (found,) = cli("webhooks", "rejected", "--path", "/a", "--json").json["rejected"]
    shown = cli("webhooks", "show", found["id"], "--json").json
    assert (shown["reason"], shown["headers"], shown["body"]) == ("no\x1b[31m", {"a": "b"}, "hi")
    told = cli("webhooks", "show", found["id"]).out
    assert ("1.2.3.4" in told, "a: b" in told, "\x1b[31m" in told) == (True, True, False)
    assert cli("webhooks", "show", "nothing").code == 2
