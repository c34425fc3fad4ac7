"""A database with a long history, made up by the database itself, or it would take hours: for `bench_pages`.

Runs of two hundred tasks in as many queues end over thirty days in all the ways there are, some with tags, keys,
schedules, batches, parents, errors. It is skewed as real data is: a few tasks make most of the runs; most of what can
be filtered by is common, something of each kind is rare, and of each there is something that stopped long ago (`OLD`).
Besides there is what has not ended, one run for every hundred that have, and what pages list: workers, schedules,
tokens, requests sent and refused, changes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from holdfast import Cron, Holdfast
from holdfast.engine import catalogue, claim, stats, trigger, workers
from holdfast.engine.claim import Ask
from holdfast.engine.trigger import route_id
from holdfast.ids import new_id
from holdfast.records import NewRun, QueueEntry, TaskEntry
from holdfast.request import HTTP_TASK
from holdfast.storage import Store

CHUNK: Final = 200_000
DAYS: Final = 30
TASKS: Final = ["send-mail", "resize-image", HTTP_TASK, *(f"task-{n}" for n in range(200))]
OLD: Final = "yearly-report"  # the task, the queue, the tag, the version … of the first few runs, and of no others
LEASE_MS: Final = 86_400_000
BATCH: Final = "b" * 26  # of one run in twenty
SCHEMA: Final = '{"type":"object","properties":{"customer":{"type":"integer"},"name":{"type":"string"}}}'

# What is true of the run of this number: h is as good as random. {at} is when it was made, and {id} begins with that.
ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
ID: Final = " || ".join(
    [f"substr('{ALPHABET}', CAST((at >> {shift}) & 31 AS INTEGER) + 1, 1)" for shift in range(45, -1, -5)]
    + ["'7'", "substr(CAST(1000000000000000 + n AS TEXT), 2, 15)"]
)
NUMBERS: Final = f"""WITH RECURSIVE
numbers(n) AS (SELECT {{first}} UNION ALL SELECT n + 1 FROM numbers WHERE n < {{last}}),
timed AS (SELECT n, n * 2654435761 % 4294967296 AS h, {{begin}} + n * {{span}} / {{runs}} AS at FROM numbers),
known AS (SELECT n, h, at, {ID} AS id, CASE WHEN n < 20 THEN '{OLD}' WHEN h % 100 < 55 THEN 'send-mail'
  WHEN h % 100 < 75 THEN 'resize-image' WHEN h % 100 < 85 THEN '{HTTP_TASK}'
  ELSE 'task-' || (h / 100 % 200) END AS task,
  CASE WHEN n < 20 THEN 'system_failure' WHEN h % 997 < 967 THEN 'completed' WHEN h % 997 < 982 THEN 'failed'
  WHEN h % 997 < 989 THEN 'canceled' WHEN h % 997 < 993 THEN 'expired' WHEN h % 997 < 996 THEN 'timed_out'
  ELSE 'crashed' END AS status
  FROM timed)
"""
DONE: Final = f"""INSERT INTO {{p}}done (queue_id, priority_ms, created_at, started_at, finished_at, claim, attempt,
  crashes, id, status, task, payload, output, concurrency_key, options, tags, version, batch_id, parent_id, error,
  fingerprint)
{NUMBERS} SELECT (SELECT q.id FROM {{p}}queue q
    WHERE q.name = CASE WHEN h % 20 = 3 AND n >= 20 THEN 'shared' ELSE 'task/' || task END),
  0, at, at + 40, at + 40 + h % 5000, 1, 1, 0, id, status, task,
  '{{{{"customer":' || (h % 10007) || ',"name":"Ada Lovelace"}}}}',
  CASE WHEN status = 'completed' THEN '{{{{"sent":true,"attempts":1}}}}' END,
  CASE WHEN n < 20 THEN '{OLD}' WHEN h % 10 = 3 THEN 'customer-' || (h % 10007) END,
  CASE WHEN h % 50 = 1 THEN '{{{{"machine":"small-2x","sdk":{{{{"test":true}}}}}}}}' END,
  CASE WHEN n < 20 THEN '["{OLD}"]' WHEN h % 40 = 1 THEN '["nightly","customer:' || (h % 10007) || '"]'
       WHEN h % 4 = 1 THEN '["customer:' || (h % 10007) || '"]' END,
  CASE WHEN n < 20 THEN '{OLD}' ELSE 'v' || (n * {DAYS} / {{runs}}) END,
  CASE WHEN h % 20 = 7 THEN '{BATCH}' WHEN h % 50 = 9 THEN 'b' || (n / 5000) END,
  CASE WHEN h % 30 = 11 THEN 'b' || (n / 300) END,
  CASE WHEN status NOT IN ('completed', 'canceled')
       THEN '{{{{"type":"ValueError","message":"customer ' || (h % 10007) || ' has no address"}}}}' END,
  CASE WHEN status IN ('completed', 'canceled') THEN NULL WHEN n < 20 THEN '{OLD}' ELSE 'f' || (h / 1000 % 150) END
FROM known;
"""
TAGS: Final = f"""INSERT INTO {{p}}tag (tag, run_id) {NUMBERS}
SELECT CASE WHEN n < 20 THEN '{OLD}' ELSE 'customer:' || (h % 10007) END, id FROM known WHERE n < 20 OR h % 4 = 1;
INSERT INTO {{p}}tag (tag, run_id) {NUMBERS} SELECT 'nightly', id FROM known WHERE n >= 20 AND h % 40 = 1;
"""
SLOTS: Final = f"""INSERT INTO {{p}}slot (schedule_id, at, outcome, run_id, dealt_at) {NUMBERS}
SELECT CASE WHEN n < 20 THEN '{OLD}' ELSE {{schedule}} END, at * 1000 + n % 1000, 'made', id, at
FROM known WHERE n < 20 OR h % 100 = 17;
"""
GROUPS: Final = """INSERT INTO {p}error_group (fingerprint, task, type, message, place, runs, first_at, last_at,
  first_version, last_version, last_run)
SELECT fingerprint, min(task), 'ValueError', max(error), 'shop/mail.py:17 in send', count(*), min(finished_at),
  max(finished_at), min(version), max(version), max(id) FROM {p}done WHERE fingerprint IS NOT NULL GROUP BY fingerprint;
INSERT INTO {p}invocation (run_id, claim, number, at, status, total_us, record)
SELECT id, 1, 1, started_at, 200, 81000, '{{"url":"https://shop.example/jobs"}}' FROM {p}done WHERE task = 'http'
ORDER BY id DESC LIMIT 20000;
INSERT INTO {p}rejected (id, at, path, reason, source, headers, body, size)
SELECT id, finished_at, '/stripe', 'the signature is wrong', '203.0.113.7', '{{}}', '{{}}', 2
FROM {p}done ORDER BY id DESC LIMIT 20000;
INSERT INTO {p}audit (id, at, actor, verb, subject, origin)
SELECT id, finished_at, 'key ci', 'queues pause', 'shared', '203.0.113.7' FROM {p}done ORDER BY id DESC LIMIT 20000;
INSERT INTO {p}log (run_id, claim, seq, at, level, attempt, logger, message)
SELECT id, 1, 1, started_at, 'info', 1, 'shop', '"the mail was sent"' FROM {p}done ORDER BY id DESC LIMIT 20000;
"""


def fill(app: Holdfast, runs: int) -> None:
    """Make a history of so many runs in an empty database."""
    store = app.client.store
    announce(store)
    made = schedules_and_tokens(app)
    now = int(time.time() * 1000)
    said = {
        "p": "holdfast_" if store.kind == "sqlite" else "holdfast.",
        "begin": now - DAYS * 86_400_000,
        "span": DAYS * 86_400_000 - 60_000,
        "runs": runs,
        "schedule": "CASE h / 100 % 3 " + " ".join(f"WHEN {n} THEN '{each}'" for n, each in enumerate(made)) + " END",
    }
    for first in range(0, runs, CHUNK):
        last = min(runs, first + CHUNK) - 1
        for text in (DONE, TAGS, SLOTS):
            script(store, text.format(first=first, last=last, **said))
    script(store, GROUPS.format(**said))
    sum_up(store)
    unfinished(store, max(200, runs // 100))


def script(store: Store, text: str) -> None:
    store.run_sync(lambda tx: tx.script(text))


def announce(store: Store) -> None:
    entries = [
        TaskEntry(id=task, queue=f"task/{task}", options="{}", schema=SCHEMA, version="v29") for task in [*TASKS, OLD]
    ]
    queues = [QueueEntry(name="shared", concurrency_limit=50, concurrency_limit_per_key=2)]
    store.run_sync(catalogue.announce, entries, queues)
    store.run_sync(catalogue.ensure_names, [], [(entry.queue, entry.id) for entry in entries])
    store.run_sync(catalogue.ensure_names, [], [("shared", task) for task in TASKS])
    for number in range(40):
        host = f"host-{number // 8}"
        entry = workers.WorkerEntry(
            id=new_id(), lease_ms=LEASE_MS, host=host, pid=number, concurrency=20, version="v29", app="shop"
        )
        store.run_sync(workers.register, entry, TASKS[:150])
    for _ in range(2_000):
        gone = workers.WorkerEntry(id=new_id(), lease_ms=30_000, host="gone", pid=1, concurrency=20)
        store.run_sync(workers.register, gone, [])
        store.run_sync(workers.stop, gone.id)


def schedules_and_tokens(app: Holdfast) -> list[str]:
    """The schedules that have made runs."""
    made = [app.schedules.create(TASKS[n % len(TASKS)], Cron(f"{n % 60} 3 * * *"), {"customer": n}) for n in range(300)]
    for n in range(2_000):
        app.tokens.create(timeout="30d", tags=[f"customer:{n}"])
    return [each.id for each in made[:3]]


def sum_up(store: Store) -> None:
    """The sums that charts read."""
    store.run_sync(lambda tx: tx.rows("begin_stats", ago_ms=(DAYS + 1) * 86_400_000))
    while store.run_sync(stats.sum_up):
        pass
    while store.run_sync(stats.fold, DAYS * 86_400_000):
        pass


def unfinished(store: Store, count: int) -> None:
    """What waits, for workers, for slots, for its time; and what workers hold."""
    for start in range(0, count, 5_000):
        store.run_sync(trigger.trigger, list(waiting(start, min(count, start + 5_000))))
    me = next(each[0] for each in store.read_sync(lambda tx: tx.rows("list_workers")))
    routes = [route_id(f"task/{task}", task, None, None) for task in TASKS[:150]]
    store.run_sync(claim.exchange, Ask(me, routes, 400, 100), [], [], [])


def waiting(first: int, last: int) -> Iterator[NewRun]:
    for n in range(first, last):
        task = TASKS[n * n % len(TASKS)]
        yield NewRun(
            id=new_id(),
            task=task,
            queue="shared" if n % 5 == 0 else f"task/{task}",
            payload='{"customer":17,"name":"Ada Lovelace"}',
            concurrency_key=f"customer-{n % 1000}",
            delay_ms=3_600_000 + n if n % 7 == 0 else None,
            tags='["nightly"]' if n % 40 == 0 else None,
        )
