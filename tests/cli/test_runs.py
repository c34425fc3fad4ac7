"""``holdfast runs``: what it finds, what it explains, and what it changes only when somebody agrees."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from holdfast import bulk, views
from holdfast.bulk import Change
from holdfast.cli.runs.tail import Arrivals
from holdfast.client import Client
from holdfast.engine import catalogue, journal
from holdfast.engine.bulk import Changed
from holdfast.model import STATUSES
from holdfast.records import TaskEntry
from holdfast.storage import Store
from tests.cli.conftest import Answer, Cli
from tests.engine.making import Hand, know, line, new, queue, record, send, tell

ERROR = json.dumps(
    {"type": "shop.Declined", "message": "card 4\x1b[31m2\nsecond", "traceback": "Traceback\n  Declined"}
)


@pytest.fixture(autouse=True)
def known(store: Store) -> None:
    know(store, queue("slow", 1), tasks=("greet", "wave"))


def found(answer: Answer) -> list[str]:
    assert answer.code == 0, answer.err
    return [run["id"] for run in answer.json["runs"]]


# -- list -------------------------------------------------------------------------------------------------------------


def test_list_is_empty_and_says_so(cli: Cli) -> None:
    answer = cli("runs", "list")
    assert (answer.code, answer.out, "No runs" in answer.err) == (0, "", True)
    assert cli("runs", "list", "--json").json["runs"] == []


def test_list_shows_what_is_there_in_full_when_piped(cli: Cli, store: Store) -> None:
    name = "a-task-with-a-name-that-is-much-longer-than-a-terminal-is-wide-" + "x" * 60
    (run,) = send(store, new(name, tags='["red","blue"]'))
    rows = cli("runs", "list").out.splitlines()
    assert len(rows) == 2
    assert all(text in rows[1] for text in (run, "pending_version", name, "red, blue"))
    assert len(rows[1].split("  ")) > 4


def test_list_by_every_filter(cli: Cli, store: Store) -> None:
    hand = Hand(store)
    done, other, slow = send(store, new(), new("wave"), new(queue="slow"))
    hand.end(hand.claim_one())
    red, batched = send(store, new(tags='["red"]'), new(batch_id="b1"))
    assert found(cli("runs", "list", "--json")) == [batched, red, slow, other, done]
    assert found(cli("runs", "list", "--json", "--task", "wave")) == [other]
    assert found(cli("runs", "list", "--json", "--queue", "slow")) == [slow]
    assert found(cli("runs", "list", "--json", "--tag", "red")) == [red]
    assert found(cli("runs", "list", "--json", "--batch", "b1")) == [batched]
    assert found(cli("runs", "list", "--json", "--status", "completed")) == [done]
    assert found(cli("runs", "list", "--json", "--status", "pending-version,completed")) == [other, done]
    assert found(cli("runs", "list", "--json", "-s", "completed", "-s", "pending_version")) == [other, done]
    assert found(cli("runs", "list", "--json", "--since", "1h")) == [batched, red, slow, other, done]
    assert found(cli("runs", "list", "--json", "--since", "2999-01-01")) == []


def test_list_page_by_page(cli: Cli, store: Store) -> None:
    made = send(store, *[new() for _ in range(5)])[::-1]
    first = cli("runs", "list", "--json", "--limit", "3")
    assert found(first) == made[:3]
    second = cli("runs", "list", "--json", "--limit", "3", "--cursor", first.json["next_cursor"])
    assert (found(second), second.json["next_cursor"]) == (made[3:], None)
    assert first.json["next_cursor"] in cli("runs", "list", "--limit", "3").err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--status", "faild"], "failed"),
        (["--status", "what?"], "pending_version"),
        (["--since", "yesterday"], "2h"),
        (["--since", "0001-01-01T00:00:00"], "2h"),
        (["--limit", "0"], "limit"),
    ],
)
def test_list_refuses_what_it_does_not_understand(cli: Cli, arguments: list[str], told: str) -> None:
    answer = cli("runs", "list", *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert told in answer.err
    assert "Traceback" not in answer.err


# -- show -------------------------------------------------------------------------------------------------------------


def test_show_tells_why_a_run_is_not_running(cli: Cli, store: Store) -> None:
    hand = Hand(store)
    first, second = send(store, new(queue="slow"), new(queue="slow"))
    (claimed,) = wait_for_claim(store, hand)
    assert claimed == first
    (reason,) = cli("runs", "show", second, "--json").json["reasons"]
    assert (reason["code"], reason["runs"], reason["do"]) == ("queue_limit", [first], "holdfast queues limit slow 2")
    text = cli("runs", "show", second).out
    assert first in text
    assert "holdfast queues limit slow 2" in text


def wait_for_claim(store: Store, hand: Hand) -> list[str]:
    from tests.engine.making import ids, promote

    promote(store)
    return ids(hand.claim(1))


@pytest.mark.parametrize(
    ("progress", "told"),
    [
        ({"done": 1500, "total": 3000, "note": "pages"}, r"progress  +1,500 of 3,000 \(50%\)  pages"),
        ({"done": 0.5, "total": None, "note": ""}, r"progress  +0.5\n"),
        ({"done": 0, "total": 0, "note": ""}, r"progress  +0 of 0\n"),
    ],
)
def test_show_tells_how_far_a_run_is(cli: Cli, store: Store, progress: dict[str, Any], told: str) -> None:
    (run,) = send(store, new())
    tell(store, Hand(store).claim_one(), progress=progress)
    assert re.search(told, cli("runs", "show", run).out)


def test_show_has_everything_of_a_run(cli: Cli, store: Store) -> None:
    hand = Hand(store)
    (run,) = send(
        store,
        new(
            tags='["red"]', metadata='{"step":1}', concurrency_key="ada", idempotency_key="k1", idempotency_ttl_ms=1000
        ),
    )
    claimed = hand.claim_one()
    hand.say(claimed, "hello\x00 from \x1b[31mred\x1b[0m", "\ud800")
    hand.retry(claimed, error=ERROR)
    hand.end(hand.claim_one(), status="failed", error=ERROR)
    shown = cli("runs", "show", run, "--json").json
    assert (shown["status"], shown["payload"], shown["output"], shown["metadata"]) == (
        "failed",
        "Ada",
        None,
        {"step": 1},
    )
    assert [each["outcome"] for each in shown["attempts"]] == ["failed", "failed"]
    assert shown["error"]["traceback"] == "Traceback\n  Declined"
    assert [each["message"] for each in shown["logs"]] == ["hello\x00 from \x1b[31mred\x1b[0m", "\ud800"]
    assert shown["finished_at"].endswith("Z")
    text = cli("runs", "show", run).out
    for part in ("failed", "Declined", "hello", "ada", "k1", "red", '{"step": 1}'):
        assert part in text, part
    assert "\x1b" not in text
    assert "\x00" not in text


def test_show_an_output_and_its_payload(cli: Cli, store: Store) -> None:
    hand = Hand(store)
    big = json.dumps({"text": "x" * 20_000, "at": 5, "created_at": 6})
    (run,) = send(store, new(payload=big))
    hand.end(hand.claim_one(), output=big)
    shown = cli("runs", "show", run, "--json").json
    assert shown["payload"] == shown["output"] == json.loads(big)  # what users wrote is not taken for times
    assert (shown["reasons"], shown["worker"]["id"]) == ([], hand.id)


def test_show_only_so_many_lines(cli: Cli, store: Store) -> None:
    hand = Hand(store)
    (run,) = send(store, new())
    hand.say(hand.claim_one(), *[f"line {number}" for number in range(30)])
    assert [each["message"] for each in cli("runs", "show", run, "--json", "--lines", "2").json["logs"]] == [
        "line 28",
        "line 29",
    ]
    assert cli("runs", "show", run, "--json", "--lines", "0").json["logs"] == []
    assert "line 29" in cli("runs", "show", run).out


def test_show_a_run_that_is_not_there(cli: Cli) -> None:
    answer = cli("runs", "show", "nothing", "--json")
    assert (answer.code, answer.out) == (2, "")
    assert "nothing" in answer.err
    assert "runs list" in answer.err


# -- tail -------------------------------------------------------------------------------------------------------------


def test_tail_follows_a_run_to_its_end(cli: Cli, store: Store, eventually: Callable[..., None]) -> None:
    hand = Hand(store)
    (run,) = send(store, new())
    answers: list[Answer] = []
    follower = threading.Thread(target=lambda: answers.append(cli("runs", "tail", run, "--json")))
    hand.say(claimed := hand.claim_one(), "before")
    follower.start()
    hand.say(claimed, "while", start=2)
    hand.exchange(logs=[line(claimed, 3, "last")], ended=[])
    hand.end(claimed)
    follower.join(20)
    (answer,) = answers
    assert answer.code == 0, answer.err
    events = answer.json
    assert [event["message"] for event in events if event["event"] == "log"] == ["before", "while", "last"]
    assert events[-1]["event"] == "status"
    assert events[-1]["status"] == "completed"


def test_tail_of_a_finished_run_is_its_whole_log(cli: Cli, store: Store) -> None:
    hand = Hand(store)
    (run,) = send(store, new())
    hand.say(claimed := hand.claim_one(), *[f"line {number}" for number in range(1500)])
    hand.end(claimed)
    answer = cli("runs", "tail", run)
    assert [text for text in answer.out.splitlines() if "line" in text][-1].endswith("line 1499")
    assert answer.out.count("line ") == 1500
    assert "completed" in answer.err


def test_tail_of_a_run_that_is_not_there(cli: Cli) -> None:
    assert cli("runs", "tail", "nothing").code == 2


# -- cancel -----------------------------------------------------------------------------------------------------------


def test_cancel_by_id(cli: Cli, store: Store) -> None:
    hand = Hand(store)
    done, executing, waiting = send(store, new(), new(), new())
    hand.end(hand.claim_one())
    hand.claim_one()
    answer = cli("runs", "cancel", done, executing, waiting, "--json")
    assert (answer.code, answer.json) == (
        0,
        {
            "runs": [
                {"id": executing, "outcome": "requested"},
                {"id": waiting, "outcome": "canceled"},
                {"id": done, "outcome": "final"},
            ]
        },
    )
    assert store.read_sync(views.records, [waiting])[0].status == "canceled"


def test_cancel_of_a_run_that_is_not_there_does_the_others(cli: Cli, store: Store) -> None:
    (run,) = send(store, new())
    answer = cli("runs", "cancel", run, "nothing")
    assert (answer.code, "nothing" in answer.err) == (2, True)
    assert store.read_sync(views.records, [run])[0].status == "canceled"


def test_cancel_by_filter_shows_how_many_and_asks(cli: Cli, store: Store) -> None:
    send(store, *[new() for _ in range(3)], new("wave"))
    answer = cli("runs", "cancel", "--task", "greet")
    assert answer.code == 2
    assert "--yes" in answer.err
    assert "3 runs" in answer.err
    assert len(found(cli("runs", "list", "--json", "--status", "pending_version"))) == 4
    agreed = cli("runs", "cancel", "--task", "greet", "--yes", "--json")
    assert [run["outcome"] for run in agreed.json["runs"]] == ["canceled"] * 3
    assert len(found(cli("runs", "list", "--json", "--status", "pending_version"))) == 1


def test_cancel_of_many_in_several_pages(cli: Cli, store: Store) -> None:
    send(store, *[new(tags='["all"]') for _ in range(1_100)])
    assert len(cli("runs", "cancel", "--tag", "all", "--yes", "--json").json["runs"]) == 1_100
    assert cli("runs", "cancel", "--tag", "all", "--yes", "--json").json == {"runs": []}


@pytest.mark.parametrize("command", ["cancel", "replay"])
def test_a_dry_run_only_counts(cli: Cli, store: Store, command: str) -> None:
    send(store, *[new() for _ in range(3)])
    where = ["--task", "greet", "--status", "pending_version", "--dry-run"]
    answer = cli("runs", command, *where, "--json")
    by = [{"task": "greet", "status": "pending_version", "runs": 3}]
    assert answer.json == {"dry_run": True, "total": 3, "by": by}
    text = cli("runs", command, *where)
    assert (text.code, "3 runs. Nothing was changed." in text.out) == (0, True)
    assert len(found(cli("runs", "list", "--json", "--status", "pending_version"))) == 3


def test_all_that_a_filter_finds_needs_no_answer(cli: Cli, store: Store) -> None:
    send(store, *[new() for _ in range(3)], new("wave"))
    answer = cli("runs", "cancel", "--status", "pending_version", "--task", "greet", "--all")
    assert (answer.code, "3 runs canceled." in answer.out) == (0, True)
    assert cli("runs", "cancel", "--all").code == 2  # every run there is: somebody has to agree
    assert cli("runs", "cancel", "--all", "--yes").code == 0
    assert found(cli("runs", "list", "--json", "--status", "pending_version")) == []


def test_what_was_interrupted_says_how_far_it_came(cli: Cli, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "STEP", 2)
    send(store, *[new() for _ in range(5)])
    take = bulk.Change.take

    def interrupted(change: Change, changed: list[Changed]) -> None:
        take(change, changed)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(bulk.Change, "take", interrupted)
        answer = cli("runs", "cancel", "--task", "greet", "--all")
    assert (answer.code, "2 of 5 runs are done" in answer.err) == (130, True)
    assert "3 runs canceled." in cli("runs", "cancel", "--task", "greet", "--all").out


@pytest.mark.parametrize("command", ["cancel", "replay"])
def test_nothing_is_changed_without_being_told_what(cli: Cli, store: Store, command: str) -> None:
    (run,) = send(store, new())
    assert cli("runs", command).code == 2
    assert cli("runs", command, "--yes").code == 2
    assert cli("runs", command, run, "--task", "greet").code == 2
    assert cli("runs", command, run, "--all").code == 2
    assert cli("runs", command, run, "--dry-run").code == 2
    assert len(found(cli("runs", "list", "--json"))) == 1


# -- replay -----------------------------------------------------------------------------------------------------------


def test_replay_by_id_makes_the_same_run_once_more(cli: Cli, store: Store) -> None:
    hand = Hand(store)
    (run,) = send(store, new(payload='{"n":1}', tags='["red"]', concurrency_key="ada"))
    hand.end(hand.claim_one(), status="failed", error=ERROR)
    (made,) = cli("runs", "replay", run, "--json").json["runs"]
    assert made["replay_of"] == run
    again = cli("runs", "show", made["id"], "--json").json
    assert (again["payload"], again["tags"], again["concurrency_key"], again["status"]) == (
        {"n": 1},
        ["red"],
        "ada",
        "queued",
    )
    assert found(cli("runs", "list", "--json", "--tag", "red")) == [made["id"], run]


def test_replay_by_filter_means_what_ended_badly(cli: Cli, store: Store) -> None:
    hand = Hand(store)
    send(store, *[new() for _ in range(3)])
    first, second, third = hand.claim(3)
    hand.end(first)
    hand.end(second, status="failed", error=ERROR)
    hand.end(third, status="crashed", error=ERROR)
    answer = cli("runs", "replay", "--task", "greet", "--yes", "--json")
    assert [run["replay_of"] for run in answer.json["runs"]] == [second.id, third.id]
    once_more = cli("runs", "replay", "--task", "greet", "--yes", "--json").json
    assert (once_more["runs"], once_more["known"]) == ([], 2)  # each only once
    only = cli("runs", "replay", "--status", "completed", "--yes", "--json")
    assert [run["replay_of"] for run in only.json["runs"]] == [first.id]


def test_replay_of_a_run_that_is_not_there(cli: Cli, store: Store) -> None:
    (run,) = send(store, new())
    answer = cli("runs", "replay", run, "nothing")
    assert (answer.code, "nothing" in answer.err) == (2, True)
    assert len(found(cli("runs", "list", "--json"))) == 1


def test_replay_with_another_payload(cli: Cli, store: Store) -> None:
    first, second = send(store, new(payload='{"n":1}'), new())
    (made,) = cli("runs", "replay", first, "--payload", '{"n":2}', "--json").json["runs"]
    assert cli("runs", "show", made["id"], "--json").json["payload"] == {"n": 2}
    for wrong in ([first, second, "--payload", "2"], ["--task", "greet", "--payload", "2"], [first, "--payload", "x"]):
        answer = cli("runs", "replay", *wrong)
        assert (answer.code, answer.out) == (2, "")
        assert "payload" in answer.err
    assert len(found(cli("runs", "list", "--json"))) == 3


def test_replay_with_a_payload_that_does_not_fit_is_refused(cli: Cli, store: Store) -> None:
    (run,) = send(store, new())
    schema = '{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}'
    store.run_sync(catalogue.announce, [TaskEntry(id="greet", queue="default", options="{}", schema=schema)], [])
    answer = cli("runs", "replay", run, "--payload", '{"n": "two"}')
    assert (answer.code, answer.out) == (2, "")
    assert "does not fit" in answer.err
    assert "n: should be of type integer" in answer.err
    assert cli("runs", "replay", run, "--payload", '{"n": 2}').code == 0


def test_replay_from_a_step_on(cli: Cli, store: Store) -> None:
    hand = Hand(store)
    ids = send(store, new(), new())
    for claimed in hand.claim(2):
        record(store, claimed, "step", "reserve", result='"r1"')
        record(store, claimed, "step", "charge", state="failed", error=ERROR)
        hand.end(claimed, status="failed", error=ERROR)
    answer = cli("runs", "replay", *ids, "--from-step", "charge", "--json")
    assert [run["replay_of"] for run in answer.json["runs"]] == ids
    for again in hand.claim(2):  # as if it had been claimed before: so its worker reads its journal
        assert (again.claim, again.attempt) == (2, 1)
        assert {row[5] for row in store.read_sync(journal.of_run, again.id)} == {"charge", "reserve"}
    answer = cli("runs", "replay", answer.json["runs"][0]["id"], "--from-step", "ship")
    assert (answer.code, answer.out) == (2, "")
    assert "no such step" in answer.err
    assert "Its steps are: reserve." in answer.err
    assert cli("runs", "replay", "--task", "greet", "--from-step", "charge").code == 2


def test_every_status_can_be_asked_for(cli: Cli) -> None:
    for status in STATUSES:
        assert found(cli("runs", "list", "--json", "--status", status)) == []


def test_a_run_that_is_committed_behind_a_later_one_is_told_of(database_url: str, store: Store) -> None:
    client = Client(lambda: database_url)
    arrivals = Arrivals(client)
    earlier, later = new(), new()
    send(store, later)
    assert arrivals.look() == [later.id]
    send(store, earlier)
    assert arrivals.look() == [earlier.id]
    assert arrivals.look() == []
    client.close()


def test_tail_of_all_new_runs_until_it_is_interrupted(database_url: str, store: Store) -> None:
    hand = Hand(store)
    (old,) = send(store, new())
    command = [sys.executable, "-c", "from holdfast.cli.main import main; main()"]
    tail = subprocess.Popen(
        [*command, "runs", "tail", "--json", "--database", database_url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert tail.stdout is not None
        assert tail.stderr is not None
        assert "Ctrl-C" in tail.stderr.readline()
        (run,) = send(store, new())
        claimed = {each.id: each for each in hand.claim(2)}[run]
        hand.say(claimed, "hello")
        hand.end(claimed)
        text = ""
        while '"completed"' not in text:
            text += tail.stdout.readline()
        tail.send_signal(signal.SIGINT)
        rest, said = tail.communicate(timeout=60)
    finally:
        tail.kill()
    assert tail.returncode == 0, said
    events = json.loads(text + rest)
    assert old not in {event.get("id", event.get("run_id")) for event in events}
    assert [event["message"] for event in events if event["event"] == "log"] == ["hello"]
    assert events[-1]["status"] == "completed"
