"""The values that cross the border of the engine.

Authoring code (``task.py``, ``client.py``) and the hosts (``worker/``) never see a row, and the engine never sees a
task object. Between them travel these records: plain names, JSON text, and numbers. Times are milliseconds since the
epoch (UTC) of the one clock; durations are milliseconds and end in ``_ms``.

    NewRun      what to make             client  -> engine.trigger
    Triggered   what came of it          engine  -> client
    Claimed     a run to carry out       engine  -> worker
    Ended       a run that is final      worker  -> engine.attempt
    Again       a run to go back in line worker  -> engine.attempt
    Suspension  a run that waits         worker  -> engine.claim
    NewEntry    what a run has done      worker  -> engine.journal
    Entry       the same, as it stands   engine  -> worker
    LogLine     one captured log line    worker  -> engine.attempt
    Note        one change of metadata   worker  -> engine.telling
    Chunk       one piece of a stream    worker  -> engine.telling
    Invocation  a request and its answer pusher  -> engine.claim
    TaskEntry   a task as announced      worker  -> engine.catalogue
    QueueEntry  a queue as declared      worker, client -> engine.catalogue
    NewSchedule a schedule to make       client, worker -> engine.schedules
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec


class NewRun(msgspec.Struct, kw_only=True, gc=False):
    """One run to be made, with everything that routes it already decided.

    ``payload``, ``options``, ``metadata`` and ``tags`` are JSON text. ``options`` holds the overrides given at the
    trigger that govern an attempt (``max_attempts``, ``max_duration_ms``). ``due_at`` and ``delay_ms`` exclude each
    other. ``parent_claim`` is the fence of the attempt that triggers: the run is only made while it
    holds its run. With a ``debounce_key`` the run is delayed by ``debounce_ms``, and pushed back by the next trigger
    with this key. ``unique_until_end`` frees the idempotency key when its run has ended, however that is. A replay may
    begin with what it has ``kept``. The ``request`` is the name of the call that asks for it, if it has one: for some
    minutes, one that is sent again leads to the same run.
    """

    id: str
    task: str
    queue: str
    payload: str = "null"
    concurrency_key: str | None = None
    priority_ms: int = 0
    due_at: int | None = None
    delay_ms: int | None = None
    ttl_ms: int | None = None
    idempotency_key: str | None = None
    idempotency_ttl_ms: int | None = None
    options: str | None = None
    metadata: str | None = None
    tags: str | None = None
    version: str | None = None
    batch_id: str | None = None
    parent_id: str | None = None
    parent_claim: int | None = None
    parent_key: str | None = None
    depth: int = 0
    root_id: str | None = None
    debounce_key: str | None = None
    debounce_ms: int = 0
    debounce_max_ms: int | None = None
    debounce_leading: bool = False
    unique_until_end: bool = False
    kept: Kept | None = None
    request: str | None = None


class Kept(msgspec.Struct):
    """What a replay keeps of the journal of the run that it repeats: the entries with these ``keys``, all from before
    the ``step`` from which on it is carried out anew. ``compared``: its steps must have the arguments they had."""

    run_id: str
    step: str
    keys: list[str]
    compared: bool = True


class Here(NamedTuple):
    """The new runs that the worker which makes them carries out at once: nobody stands in line before them."""

    worker_id: str | None = None
    ids: frozenset[str] = frozenset()


class Triggered(NamedTuple):
    """The run a trigger led to: a new one, or the earlier one that holds the idempotency key."""

    id: str
    created: bool


class Claimed(NamedTuple):
    """A run this worker may carry out now. ``(id, claim)`` is the fence of every write made for it.

    ``started_at`` is when this attempt was claimed, ``began_at`` when the run was claimed for the first time.
    ``suspect`` is how many suspects like it a process may hold at once, 0 if it is none.
    A payload that was too big to ride along is None, and read when it is wanted. ``awaited``: a parent waits for it.
    ``canceling``: it was canceled while it waited, and is to be told so. ``told``: where the run stood when it last
    gave up its slot, if it ever did; see `stood`.
    """

    id: str
    claim: int
    task: str
    queue: str
    payload: str | None
    attempt: int
    created_at: int
    started_at: int
    concurrency_key: str | None
    priority_ms: int
    options: str | None
    metadata: str | None
    tags: str | None
    version: str | None
    parent_id: str | None
    root_id: str | None
    batch_id: str | None
    idempotency_key: str | None
    suspect: int
    lived_ms: int
    sort_at: int
    granted: bool
    began_at: int
    expire_at: int | None
    awaited: bool = False
    canceling: bool = False
    depth: int = 0
    crashes: int = 0
    told: int | None = None

    @property
    def stood(self) -> tuple[int, int] | None:
        """Under which claim the run last gave up its slot, and the last settled entry that its code knew then. All that
        it told until there is written."""
        return None if self.told is None else divmod(self.told, 2**32)


class Note(msgspec.Struct):
    """An operation on the metadata of ``run_id``, which is the run itself or one of its family.

    ``number`` rises within a claim of the run that says it, so that one that is sent again is applied once. ``kind`` is
    set, delete, increment or append; ``value`` is JSON text, of an append the list of what is appended.
    """

    number: int
    run_id: str
    kind: str
    key: str
    value: str


class Chunk(msgspec.Struct):
    """A piece of a stream of a run. ``seq`` rises within a claim and a name, from 1 if the run begins anew, else from
    a higher number; ``value`` is JSON text."""

    run_id: str
    name: str
    claim: int
    seq: int
    at: int
    attempt: int
    value: str


class Tidings(msgspec.Struct):
    """What an attempt has told of itself, and what is not known to be written yet."""

    notes: list[Note]
    chunks: list[Chunk]


class Telling(msgspec.Struct):
    """The same of an attempt that goes on, with its fence."""

    id: str
    claim: int
    tidings: Tidings


class Ended(msgspec.Struct, gc=False, omit_defaults=True):
    """A final outcome. ``status`` is one of the final statuses; ``output`` and ``error`` are JSON text. ``tidings``
    are written with it."""

    id: str
    claim: int
    status: str
    output: str | None = None
    error: str | None = None
    metadata: str | None = None
    tidings: Tidings | None = None
    awaited: bool = False  # its parent waits for it, or somebody else does
    crash: int = 0  # 1: its own process died
    usage: str | None = None  # JSON text: what its attempt has used
    unheard: bool = False  # its hooks have not been called: they are where its code is, and its attempt was not
    woke: bool = False  # its code has gone on by itself: its run may wait, without a slot


class Again(msgspec.Struct, gc=False):
    """Back in line: a retry (``counts``: the next attempt has the next number) or a run handed back (it has not)."""

    id: str
    claim: int
    delay_ms: int = 0
    counts: bool = True
    outcome: str = "failed"
    error: str | None = None
    metadata: str | None = None
    tidings: Tidings | None = None
    forget: tuple[str, ...] = ()  # failed entries of its journal that the next attempt tries again
    begun: bool = True  # False: it was only claimed, and no line of it has run
    crash: int = 0  # 1: its own process died
    usage: str | None = None  # JSON text: what it has used
    machine: str | None = None  # the next attempt has another one …
    options: str | None = None  # … which stands in these options of the run
    woke: bool = False  # its code has gone on by itself: its run may wait, without a slot


class Suspension(msgspec.Struct, gc=False):
    """A run that gives up its slot until something it waits for settles. ``keeper``: the worker that keeps it in
    memory meanwhile."""

    id: str
    claim: int
    seen: int = 0  # the number of the last settled entry that its attempt knows
    tidings: Tidings | None = None
    keeper: str | None = None


class NewEntry(msgspec.Struct, kw_only=True, gc=False):
    """One entry of a run's journal, as its attempt writes it.

    ``state`` is done or failed for what has happened, and open for what is waited for: a sleep or a time limit
    (``due_at`` or ``delay_ms``), a token (``target``), children (``remaining``). ``runs`` are made together with it,
    and some of them claimed ``here``;
    ``chunks`` are what its attempt had written to streams until then.
    """

    run_id: str
    claim: int
    attempt: int
    key: str
    seq: int
    branch: str
    kind: str
    name: str
    digest: str | None = None
    state: str = "done"
    target: str | None = None
    remaining: int = 0
    due_at: int | None = None
    delay_ms: int | None = None
    tries: int = 0
    result: str | None = None
    error: str | None = None
    took_ms: int = 0
    place: int = 1
    runs: list[NewRun] = []
    here: Here = Here()
    token: NewToken | None = None
    chunks: list[Chunk] = []


class NewToken(msgspec.Struct, kw_only=True):
    """A token to be made. ``schema`` is the JSON schema of its value, ``tags`` JSON text, ``secret`` what its URL
    has that nobody can guess."""

    id: str
    secret: str
    timeout_ms: int | None = None
    schema: str | None = None
    tags: str | None = None
    idempotency_key: str | None = None


class Entry(NamedTuple):
    """One entry of a run's journal as it stands. ``settled`` is its place in the order in which entries settled, None
    while it is open."""

    run_id: str
    key: str
    seq: int
    branch: str
    kind: str
    name: str
    digest: str | None
    state: str
    settled: int | None
    target: str | None
    due_at: int | None
    tries: int
    result: str | None
    error: str | None


class Recorded(NamedTuple):
    """An entry of a journal for people to read, with when it was begun and settled."""

    run_id: str
    key: str
    seq: int
    branch: str
    kind: str
    name: str
    digest: str | None
    state: str
    settled: int | None
    target: str | None
    due_at: int | None
    tries: int
    result: str | None
    error: str | None
    started_at: int
    done_at: int | None


class LogLine(msgspec.Struct, gc=False):
    """One line that a run wrote. ``seq`` rises within a claim; lines are read back in the order (claim, seq)."""

    run_id: str
    claim: int
    seq: int
    at: int
    level: str
    attempt: int
    logger: str
    message: str
    replayed: int = 0  # 1: written while the run was replayed, and so not for the first time


class Invocation(msgspec.Struct, gc=False):
    """A request that was sent for an attempt. ``status`` is None if there was no answer; ``record`` is JSON text, with
    what is secret in it masked."""

    run_id: str
    claim: int
    number: int
    at: int
    status: int | None
    total_us: int
    record: str


class TaskEntry(msgspec.Struct, kw_only=True):
    """A task as workers announce it, so that others can trigger it by name without its code.

    ``end_hooks`` are bits: which ends its hooks are to be told of, also when no worker was there (1: canceled, 2: any
    other but completed, 4: completed, by a pusher). ``kind`` says who carries its runs out: workers its ``code``,
    pushers send it over ``http``.
    ``webhook`` is the path at which requests come in that become its runs, ``verified_by`` whose signature they have.
    """

    id: str
    queue: str
    options: str
    schema: str | None = None
    version: str | None = None
    end_hooks: int = 0
    kind: str = "code"
    webhook: str | None = None
    verified_by: str | None = None


class AlertEntry(msgspec.Struct, kw_only=True):
    """An alert as code declares it; ``body`` is JSON."""

    name: str
    body: str


class Rejected(msgspec.Struct, kw_only=True):
    """A request to a webhook that was refused, as far as it is kept: ``headers`` is JSON, and what looks like a
    credential in it is stars; ``size`` is that of the whole body, in bytes."""

    id: str
    path: str
    reason: str
    source: str
    headers: str
    body: str
    size: int
    at: int = 0


class QueueEntry(msgspec.Struct, kw_only=True):
    """A queue as code declares it. ``None`` means no limit; ``rate`` is starts in any window of ``rate_ms``."""

    name: str
    concurrency_limit: int | None = None
    concurrency_limit_per_key: int | None = None
    rate: int | None = None
    rate_ms: int | None = None
    rate_per_key: int | None = None
    rate_per_key_ms: int | None = None


class RunRecord(NamedTuple):
    """Everything a reader is told of one run, hot or final. ``status`` is a word that users see."""

    id: str
    status: str
    task: str
    queue: str
    payload: str
    output: str | None
    error: str | None
    attempts: int
    crashes: int
    created_at: int
    started_at: int | None
    finished_at: int | None
    due_at: int | None
    expire_at: int | None
    concurrency_key: str | None
    priority_ms: int
    tags: str | None
    metadata: str | None
    options: str | None
    version: str | None
    idempotency_key: str | None
    parent_id: str | None
    root_id: str | None
    batch_id: str | None
    worker_id: str | None
    cancel_at: int | None
    claim: int
    usage: str | None = None


class Make(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What a schedule makes for each of its slots: a run of ``task``. What is None is the task's own.

    ``payload``, ``options``, ``metadata`` and ``tags`` are JSON text. Without a payload the run gets its slot as one.
    """

    task: str
    queue: str | None = None
    payload: str | None = None
    concurrency_key: str | None = None
    priority_ms: int | None = None
    ttl_ms: int | None = None
    options: str | None = None
    metadata: str | None = None
    tags: str | None = None


class NewSchedule(msgspec.Struct, kw_only=True):
    """A schedule to be made. ``rule`` and what is ``made`` are JSON text: a `recurrence.Rule`, a `Make`.

    ``owner`` is the app whose code declares it, or empty; ``key`` its place in that code, or a deduplication key.
    ``catch_up`` is how many missed slots are made up for, ``overlap`` one of allow, skip, queue, cancel.
    """

    id: str
    task: str
    rule: str
    make: str
    catch_up: int = 1
    overlap: str = "allow"
    jitter_ms: int = 0
    owner: str = ""
    key: str | None = None
    external_id: str | None = None
    paused: bool = False


class ScheduleRecord(NamedTuple):
    """Everything a reader is told of a schedule. Its next slot is ``slot_at``; at ``next_at`` a run is made for it."""

    id: str
    task: str
    rule: str
    make: str
    catch_up: int
    overlap: str
    jitter_ms: int
    owner: str
    key: str | None
    external_id: str | None
    slot_at: int | None
    next_at: int | None
    last_at: int | None
    made_at: int | None
    last_run_id: str | None
    waiting_at: int | None
    paused_at: int | None
    problem: str | None
    created_at: int
    updated_at: int


class SlotRecord(NamedTuple):
    """A slot that a schedule has had: its ``outcome`` is made, skipped or waiting."""

    at: int
    outcome: str
    run_id: str | None
    dealt_at: int
