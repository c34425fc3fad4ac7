"""``holdfast alerts``: what is declared, and a message that says it is a test."""

from __future__ import annotations

from holdfast import alerts
from holdfast.engine import alerts as engine
from holdfast.storage import Store
from tests.cli.conftest import Cli


def test_what_is_declared_and_where_it_goes(cli: Cli, store: Store) -> None:
    assert "No alerts" in cli("alerts", "list").err
    to = [alerts.Slack("https://hooks.slack.com/services/T0/B0/secret"), alerts.Mail("ops@example.com")]
    entry = alerts.alert_of("ops", [alerts.Failures(), alerts.Backlog("10m", queue="mail")], to, "15s", "5m").entry()
    store.run_sync(engine.declare, "shop:tasks", [entry])
    (found,) = cli("alerts", "list", "--json").json["alerts"]
    assert found["conditions"] == ["failures", "backlog mail 10m"]
    assert found["channels"] == ["https://hooks.slack.com/…", "mailto:ops@example.com"]
    assert "secret" not in cli("alerts", "list").out


def test_a_test_that_nobody_sends_says_so(cli: Cli, store: Store) -> None:
    entry = alerts.alert_of("ops", [alerts.Failures()], alerts.Mail("ops@example.com"), "15s", "5m").entry()
    store.run_sync(engine.declare, "shop:tasks", [entry])
    answer = cli("alerts", "test", "ops", "--timeout", "0s")
    assert (answer.code, "nobody has sent it yet" in answer.out) == (1, True)
    assert cli("alerts", "test", "nothing").code == 2
