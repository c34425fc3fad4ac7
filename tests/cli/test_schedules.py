"""``holdfast schedules``: preview without a database, and all that can be done to a schedule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from holdfast.engine import schedules, ticks
from holdfast.records import Make
from holdfast.storage import Store
from tests.cli.conftest import Cli
from tests.engine.making import Hand, know
from tests.engine.test_schedules import declared, new

SPRING = ("--from", "2026-03-27T12:00:00+01:00", "--timezone", "Europe/Berlin")


# -- preview ----------------------------------------------------------------------------------------------------------


def test_preview_marks_the_days_on_which_clocks_change(bare: Cli) -> None:
    answer = bare("schedules", "preview", "30 2 * * *", *SPRING, "-n", "3")
    lines = answer.out.splitlines()
    assert "2026-03-28 02:30:00" in lines[1]
    assert "forward" not in lines[1]
    assert "2026-03-29 03:00:00" in lines[2]
    assert "forward by 1h at 02:00" in lines[2]
    assert "2026-03-30 02:30:00" in lines[3]
    autumn = bare("schedules", "preview", "0 2 * * *", "--from", "2026-10-25T00:00+02:00", "-z", "Europe/Berlin")
    assert "back by 1h at 03:00" in autumn.out
    half = bare("schedules", "preview", "@daily", "--from", "2026-10-03T20:00+10:30", "-z", "Australia/Lord_Howe")
    assert "forward by 30m at 02:00" in half.out


def test_preview_of_a_recurrence_rule_as_json(bare: Cli) -> None:
    answer = bare("schedules", "preview", "FREQ=DAILY;BYHOUR=2;BYMINUTE=30;BYSECOND=0", *SPRING, "-n", "2", "--json")
    assert answer.json["timezone"] == "Europe/Berlin"
    assert answer.json["slots"] == [
        {"at": "2026-03-28T01:30:00Z", "local": "2026-03-28T02:30:00+01:00", "clocks": None},
        {"at": "2026-03-29T01:30:00Z", "local": "2026-03-29T03:30:00+02:00", "clocks": "forward by 1h at 02:00"},
    ]


def test_preview_of_whole_lines(bare: Cli) -> None:
    lines = r"DTSTART;TZID=Europe/Berlin:20990105T090000\nRRULE:FREQ=DAILY;COUNT=2"
    answer = bare("schedules", "preview", lines, "--json")
    assert [each["local"] for each in answer.json["slots"]] == [
        "2099-01-05T09:00:00+01:00",
        "2099-01-06T09:00:00+01:00",
    ]


def test_preview_of_a_hash_says_that_it_is_an_example(bare: Cli) -> None:
    answer = bare("schedules", "preview", "H 2 * * *", "-n", "2", "--json")
    assert len({each["at"][11:] for each in answer.json["slots"]}) == 1
    assert "H is another number in each schedule" in answer.err
    assert not bare("schedules", "preview", "0 2 * * THU").err


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (("every day",), "not a cron expression"),
        (("FREQ=DAILY;UNTIL=20200101",), "never fires"),
        (("0 0 30 2 *",), "cron expression"),
        (("@daily", "-z", "Europe/Berln"), "Europe/Berlin"),
        (("@daily", "--from", "soon"), "--from"),
    ],
)
def test_what_cannot_be_previewed(bare: Cli, arguments: tuple[str, ...], wrong: str) -> None:
    answer = bare("schedules", "preview", *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert wrong in answer.err


# -- the rest ---------------------------------------------------------------------------------------------------------


def test_from_making_to_deleting(cli: Cli, store: Store) -> None:
    know(store)
    made = cli(
        "schedules", "create", "greet", "0 9 * * *", '"Ada"', "-z", "Europe/Berlin", "--external-id", "u1", "--json"
    )
    schedule = made.json["id"]
    assert (made.json["status"], made.json["payload"], made.json["timezone"]) == ("active", "Ada", "Europe/Berlin")
    assert schedule in cli("schedules", "list").out
    assert [each["id"] for each in cli("schedules", "list", "--external-id", "u1", "--json").json["schedules"]] == [
        schedule
    ]
    assert cli("schedules", "list", "--task", "other", "--json").json == {"schedules": [], "next_cursor": None}
    assert "paused" in cli("schedules", "pause", schedule).out
    assert cli("schedules", "show", schedule, "--json").json["upcoming"] == []
    assert cli("schedules", "resume", schedule, "--json").json["status"] == "active"
    run = cli("schedules", "run", schedule, "--json").json["id"]
    shown = cli("schedules", "show", schedule, "--json").json
    assert [(each["outcome"], each["run_id"]) for each in shown["slots"]] == [("made", run)]
    assert (len(shown["upcoming"]), shown["last_run_id"]) == (5, run)
    told = cli("schedules", "show", schedule).out
    assert all(part in told for part in (schedule, run, "0 9 * * *", "catch_up last, overlap allow", "u1"))
    assert "deleted" in cli("schedules", "delete", schedule).out
    answer = cli("schedules", "show", schedule)
    assert (answer.code, "no schedule with this id" in answer.err) == (2, True)


def test_policies_and_a_key(cli: Cli, store: Store) -> None:
    know(store)
    options = ("--jitter", "5m", "--catch-up", "3", "--overlap", "queue", "--deduplication-key", "k", "--queue", "slow")
    first = cli("schedules", "create", "greet", "@daily", *options, "--json").json
    assert (first["jitter_ms"], first["catch_up"], first["overlap"]) == (300_000, 3, "queue")
    second = cli("schedules", "create", "greet", "@hourly", "--catch-up", "none", "--deduplication-key", "k", "--json")
    assert (second.json["id"], second.json["catch_up"], second.json["cron"]) == (first["id"], "none", "@hourly")
    answer = cli("schedules", "create", "greet", "@daily", "--catch-up", "often")
    assert (answer.code, "catch_up" in answer.err) == (2, True)


def test_what_is_not_said_stays(cli: Cli, store: Store) -> None:
    know(store)
    options = ("--timezone", "Europe/Berlin", "--jitter", "5m", "--overlap", "queue", "--external-id", "u1")
    made = cli("schedules", "create", "greet", "0 9 * * *", '"Ada"', *options, "--json").json
    same = {name: made[name] for name in ("id", "timezone", "jitter_ms", "overlap", "external_id", "payload")}

    def updated(*arguments: str) -> dict[str, Any]:
        return cli("schedules", "update", made["id"], *arguments, "--json").json  # type: ignore[no-any-return]

    assert updated("0 8 * * *").items() >= {**same, "cron": "0 8 * * *"}.items()
    assert updated("--overlap", "skip").items() >= {**same, "cron": "0 8 * * *", "overlap": "skip"}.items()
    assert updated("--payload", '"Grace"', "--external-id", "u2")["payload"] == "Grace"
    last = updated("FREQ=DAILY;BYHOUR=7;BYMINUTE=0;BYSECOND=0")
    assert (last["rrule"], last["timezone"], last["overlap"]) == (
        "FREQ=DAILY;BYHOUR=7;BYMINUTE=0;BYSECOND=0",
        "Europe/Berlin",
        "skip",
    )
    assert cli("schedules", "update", made["id"], "0 0 30 2 *").code == 2
    assert "no schedule with this id" in cli("schedules", "update", "nothing", "@daily").err


def test_a_task_that_is_here_has_its_payload_checked(cli: Cli, app_of: Callable[[str], str]) -> None:
    file = app_of(
        "from holdfast import Holdfast\napp = Holdfast()\n@app.task\ndef greet(name: str) -> str:\n    return name\n"
    )
    answer = cli("schedules", "create", "greet", "@daily", "5", "--app", file)
    assert answer.code == 2
    assert "payload" in answer.err.lower()
    assert cli("schedules", "create", "greet", "@daily", '"Ada"', "--app", file).code == 0


def test_a_task_that_nobody_knows_is_said(cli: Cli) -> None:
    answer = cli("schedules", "create", "train", "@daily")
    assert (answer.code, "No worker knows train yet" in answer.err) == (0, True)


def test_what_code_declares_is_changed_there(cli: Cli, store: Store) -> None:
    know(store)
    store.run_sync(schedules.declare, "shop", declared("0 1 * * *"))
    (listed,) = cli("schedules", "list", "--json").json["schedules"]
    assert listed["declared"] is True
    answer = cli("schedules", "delete", listed["id"])
    assert (answer.code, "declared in code" in answer.err) == (2, True)
    assert cli("schedules", "pause", listed["id"], "--json").json["status"] == "paused"


def test_pages(cli: Cli, store: Store) -> None:
    know(store)
    made = [cli("schedules", "create", "greet", "@daily", "--json").json["id"] for _ in range(3)]
    first = cli("schedules", "list", "-n", "2", "--json").json
    rest = cli("schedules", "list", "-n", "2", "--cursor", first["next_cursor"], "--json").json
    assert [each["id"] for each in first["schedules"] + rest["schedules"]] == made[::-1]


# -- doctor -----------------------------------------------------------------------------------------------------------


def findings(cli: Cli) -> list[tuple[str, str]]:
    found = cli("doctor", "--json").json["findings"]
    return [(each["level"], each["text"]) for each in found if each["about"] == "schedules"]


def test_the_doctor_looks_at_schedules(cli: Cli, store: Store) -> None:
    assert findings(cli) == []
    know(store)
    Hand(store)
    store.run_sync(schedules.create, new("0 0 1 1 *"))
    assert [level for level, _ in findings(cli)] == ["ok"]
    store.run_sync(schedules.create, new("0 0 1 1 *", make=Make(task="train")))
    assert any(level == "wrong" and "train" in text for level, text in findings(cli))
    broken = new("* * * * *")
    broken.rule = '["cron","* * * * *","Mars/Olympus",0]'
    store.run_sync(schedules.create, broken)
    assert any(level == "wrong" and "Mars/Olympus" in text for level, text in findings(cli))


def test_the_doctor_sees_a_schedule_that_nobody_fires(cli: Cli, store: Store) -> None:
    late = store.run_sync(schedules.create, new("* * * * *")).id
    moved = ticks.Moved(late, 60_000, 60_000, 0, None, None, None, None)
    store.run_sync(lambda tx: tx.batch("advance_schedules", [moved]).rows())
    assert any(level == "wrong" and "late: nobody fires it" in text for level, text in findings(cli))
