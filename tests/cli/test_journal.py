"""``holdfast runs show`` of a run that has a journal: what it has done, and what it waits for."""

from __future__ import annotations

import json
import re

import pytest

from holdfast.engine import journal
from holdfast.ids import new_id
from holdfast.records import Claimed, NewToken, Suspension
from holdfast.storage import Store
from tests.cli.conftest import Cli
from tests.engine.making import Hand, know, new, record, send, state

ERROR = json.dumps(
    {"type": "ConnectionError", "message": "no \x1b[31mnetwork\nsecond", "traceback": "Traceback\n  in the step"}
)
STEP_FAILED = json.dumps(
    {"type": "holdfast.errors.StepFailed", "message": "charge", "traceback": "Traceback of the run"}
)


@pytest.fixture
def hand(store: Store) -> Hand:
    know(store, tasks=("greet", "resize"))
    send(store, new())
    return Hand(store)


def suspend(hand: Hand, run: Claimed) -> None:
    settled = sum(each.settled is not None for each in hand.store.read_sync(journal.of_run, run.id))
    hand.exchange(waits=[Suspension(run.id, run.claim, seen=settled)])
    assert state(hand.store, run.id) == "waiting"


def test_it_shows_what_a_run_has_recorded(cli: Cli, store: Store, hand: Hand) -> None:
    run = hand.claim_one()
    record(store, run, "step", "reserve", result='{"n": 7}', took_ms=60_000)
    record(store, run, "step", "charge", result='"ok"', tries=3, took_ms=30_000)
    record(store, run, "step", "long", result=json.dumps("x" * 10_000))
    record(store, run, "step", "ship", state="failed", error=ERROR, tries=2)
    record(store, run, "value", "now", result="1795336728650")
    made = [new("resize") for _ in range(2)]
    record(store, run, "trigger", "batch", runs=made, result=json.dumps([[each.id, True] for each in made]))
    shown = cli("runs", "show", run.id, "--json").json["journal"]
    assert [(each["kind"], each["name"], each["status"], each["tries"]) for each in shown] == [
        ("step", "reserve", "done", 0),
        ("step", "charge", "done", 3),
        ("step", "long", "done", 0),
        ("step", "ship", "failed", 2),
        ("value", "now", "done", 0),
        ("trigger", "batch", "done", 0),
    ]
    assert [each["result"] for each in shown[:3]] == [{"n": 7}, "ok", None]
    assert [each["took_ms"] for each in shown[:2]] == [60_000, 30_000]
    assert (shown[3]["error"]["type"], shown[2]["result_size"]) == ("ConnectionError", 10_002)
    assert [(each["id"], each["status"]) for each in shown[5]["runs"]] == [
        (each.id, "pending_version") for each in made
    ]
    text = cli("runs", "show", run.id).out
    assert re.search(r'done +step reserve .* 1m .*\{"n": 7\}\n', text)
    assert re.search(r"done +step charge +- +3 +30s ", text)
    assert "10,002 characters" in text
    assert re.search(r"failed +step ship .*ConnectionError: no network\n", text)
    assert re.search(r"done +2 runs .*2 pending_version\n", text)


def test_a_run_that_waits_says_for_what(cli: Cli, store: Store, hand: Hand) -> None:
    run = hand.claim_one()
    token = NewToken(id=new_id(), secret="s3cret", timeout_ms=7_200_000)
    record(store, run, "token", "token", target=token.id, token=token)
    record(store, run, "wait", "wait", state="open", target=token.id)
    record(store, run, "sleep", "sleep", state="open", delay_ms=14_400_000)
    record(store, run, "step", "charge", state="open", error=ERROR, delay_ms=3_600_000, tries=1)
    made = [new("resize") for _ in range(8)]
    ids = [each.id for each in made]
    record(store, run, "children", "resize", state="open", remaining=8, runs=made, result=json.dumps(ids))
    one = new("resize")
    record(store, run, "child", "resize", state="open", remaining=1, runs=[one], result=json.dumps([one.id]))
    suspend(hand, run)
    shown = cli("runs", "show", run.id, "--json").json
    assert [each["code"] for each in shown["reasons"]] == [
        "waits_step",
        "waits_token",
        "sleeps",
        "waits_children",
        "waits_children",
    ]
    assert shown["reasons"][3]["runs"] == ids[:5]
    assert shown["reasons"][4]["runs"] == [one.id]
    text = cli("runs", "show", run.id).out
    for told in (
        "Its step charge failed with ConnectionError: no network, and is tried again in 59m",
        f"It waits for the token {token.id}, for another 1h 59m.",
        f"→ holdfast tokens complete {token.id} JSON",
        "It sleeps for another 3h 59m.",
        f"It waits for 8 of 8 children of resize: {', '.join(ids[:5])}, ….",
        f"It waits for its child of resize, {one.id}.",
    ):
        assert told in text
    assert re.search(rf"waiting +wait .*until .* \(in 1h 59m\)  {token.id}\n", text)
    assert re.search(r"retrying +step charge .*again in 59m \d+s  ConnectionError: no network\n", text)
    assert f"POST http://127.0.0.1:8765/api/v1/waitpoints/tokens/{token.id}/callback/s3cret\n" in text


def test_of_very_many_waits_a_few_are_told(cli: Cli, store: Store, hand: Hand) -> None:
    run = hand.claim_one()
    for number in range(12):
        record(store, run, "sleep", "sleep", state="open", delay_ms=3_600_000 * (number + 1))
    suspend(hand, run)
    reasons = cli("runs", "show", run.id, "--json").json["reasons"]
    assert [each["code"] for each in reasons] == ["sleeps"] * 5 + ["waits"]
    assert reasons[0]["text"].startswith("It sleeps for another 59m")
    assert reasons[5]["text"] == "It waits for 7 other things as well."


def test_a_long_journal_is_shown_from_its_end(cli: Cli, store: Store, hand: Hand) -> None:
    run = hand.claim_one()
    for number in range(60):
        record(store, run, "step", f"step-{number}", result="null")
    answer = cli("runs", "show", run.id)
    assert "step-59" in answer.out
    assert "step-9 " not in answer.out
    assert "the last 50 of 60 entries" in answer.err
    assert len(cli("runs", "show", run.id, "--json").json["journal"]) == 60


def test_the_error_of_the_step_is_shown_with_that_of_the_run(cli: Cli, store: Store, hand: Hand) -> None:
    run = hand.claim_one()
    record(store, run, "step", "charge", state="failed", error=ERROR)
    hand.end(run, status="failed", error=STEP_FAILED)
    text = cli("runs", "show", run.id).out
    assert text.index("Traceback of the run") < text.index("Error in the step charge") < text.index("in the step\n")


def test_a_replay_says_what_it_goes_on_from(cli: Cli, store: Store, hand: Hand) -> None:
    run = hand.claim_one()
    record(store, run, "step", "reserve", result="1")
    record(store, run, "step", "charge", state="failed", error=ERROR)
    hand.end(run, status="failed", error=STEP_FAILED)
    (made,) = cli("runs", "replay", run.id, "--from-step", "charge", "--json").json["runs"]
    shown = cli("runs", "show", made["id"], "--json").json
    assert (shown["replay_of"], shown["from_step"], shown["journal_count"]) == (run.id, "charge", 1)
    assert [(each["name"], each["kept"]) for each in shown["journal"]] == [("reserve", True)]
    text = cli("runs", "show", made["id"]).out
    assert re.search(rf"replays +{run.id}, from charge on\n", text)
    assert re.search(r"done +step reserve .*kept", text)


def test_a_family_is_named(cli: Cli, store: Store, hand: Hand) -> None:
    run = hand.claim_one()
    (child,) = send(store, new("resize", parent_id=run.id, root_id=run.id))
    assert re.search(rf"parent +{run.id}  \(greet, executing\)\n", cli("runs", "show", child).out)
    shown = cli("runs", "show", child, "--json").json
    assert shown["parent"] == {"id": run.id, "task": "greet", "status": "executing"}
