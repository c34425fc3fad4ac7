"""The durable operations of one attempt.

    ask ─► recorded? ─ yes ─► handed out in its turn
                     └ no ──► done, or waited for ─► written ─► handed out in its turn

A key is taken when the code calls, and what it stands for is found in the journal (journal.py). Results are handed out
in the order in which they were recorded (turns.py); when every branch waits, the run gives up its slot (live.py). All
of this happens on the event loop; a ``def`` task calls from its thread, and waits for the loop (calls.py).
"""

from __future__ import annotations

import asyncio
import contextvars
import random as randomness
import uuid as uuids
import weakref
from collections.abc import Callable, Coroutine, Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from holdfast import codec
from holdfast.annotations import check_type
from holdfast.codec import codec_for
from holdfast.durable import StepOptions, Token, in_step
from holdfast.engine import journal as written
from holdfast.errors import InvalidOption, JournalMismatch, NotDurable, Suspended, TokenUnknown, WaitTimedOut, shown
from holdfast.ids import new_id, new_secret
from holdfast.model import Results
from holdfast.records import Entry, NewEntry, NewRun, NewToken, Tidings
from holdfast.task import Task
from holdfast.worker import children, steps
from holdfast.worker.calls import Calls
from holdfast.worker.journal import Asked, Branch, Journal, digest_of
from holdfast.worker.limits import Limit, Limits
from holdfast.worker.quiet import given_to_as_completed
from holdfast.worker.turns import Turns, place

if TYPE_CHECKING:
    from holdfast.worker.live import Live

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
Later = Coroutine[Any, Any, Any]


class Operations:
    """What the code of one attempt does durably. ``entries`` is what its run has recorded so far."""

    def __init__(self, live: Live, entries: Iterable[Entry]) -> None:
        self.live, self.host = live, live.host
        self.journal = Journal(entries)
        self.turns = Turns(live, self.journal.entries.values())
        self.limits = self.turns.limits = Limits(self)
        self.mismatch: JournalMismatch | None = None  # whatever the code makes of it, the run ends with it
        self.fresh = False  # it has asked for something that is not recorded
        self.root, self.trunk = Branch(), live.attempt.root
        self.branches: weakref.WeakKeyDictionary[asyncio.Task[Any], Branch] | None = None  # … but for the root
        self.listed: weakref.WeakKeyDictionary[Coroutine[Any, Any, Any], Branch] | None = None
        if self.trunk is not None:
            self.turns.add(self.trunk)

    # branches

    def branch_of(self, task: asyncio.Task[Any] | None) -> Branch | None:
        """The branch that this asyncio task is, if it is one."""
        if task is None:
            return None
        if task is self.trunk:
            return self.root
        return self.branches.get(task) if self.branches is not None else None

    def born(self, parent: asyncio.Task[Any] | None, task: asyncio.Task[Any]) -> None:
        """A branch has started another one. What a step starts is the step's."""
        branch = self.branch_of(parent) if parent not in self.turns.inside else None
        if branch is not None and self.branch_of(task) is None:  # each worker on this loop tells of it
            if self.branches is None:
                self.branches = weakref.WeakKeyDictionary()
            self.branches[task] = self.begin(branch, task.get_coro())
            self.turns.add(task)

    def begin(self, parent: Branch, coroutine: Any) -> Branch:
        """The branch of a coroutine. Those given to ``asyncio.as_completed`` are numbered in the order of that list; it
        does not start them in it."""
        given = given_to_as_completed()
        if given is None:
            return parent.start(name_of(coroutine))
        if self.listed is None:
            self.listed = weakref.WeakKeyDictionary()
        for each in given if isinstance(given, list | tuple) else ():
            if asyncio.iscoroutine(each) and each not in self.listed:
                self.listed[each] = parent.start(name_of(each))
        return self.listed.get(coroutine) or parent.start(name_of(coroutine), certain=False)

    def limit(
        self,
        task: asyncio.Task[Any] | None,
        when: float,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        context: contextvars.Context | None,
    ) -> Limit | None:
        """The time limit that this asyncio task sets; None if it is no branch, or in a step."""
        branch = self.branch_of(task) if task not in self.turns.inside else None
        if task is None or branch is None or not branch.certain or self.turns.dropped:
            return None
        asked = Asked(branch.limit_key(), 0, branch, "limit", "limit", None)
        return self.limits.arm(Limit(self.limits, asked, task, when, callback, args, context))

    def branch(self) -> Branch:
        """The branch of the code that asks.

        Raises:
            NotDurable: it is none, or the body of a step.
            Suspended: the attempt has left memory.
        """
        if self.live.parked and self.live.woke():
            self.live.stray()
            self.host.unwind(self.live)
        if self.turns.dropped:
            raise Suspended
        if (step := in_step.get()) is not None:
            raise NotDurable(
                "A step is plain code: it cannot hold durable operations",
                seen=f"in the step {step}",
                do="Do it after the step.",
            )
        if not self.live.task.signature.is_async:
            return self.root
        branch = self.branch_of(asyncio.current_task())
        if branch is None:
            raise NotDurable(
                "Durable operations belong to the task's own code",
                seen=f"run {self.live.claimed.id}",
                do="Do not use them in hooks, middleware and providers, nor from other threads.",
            )
        if not branch.certain:
            raise NotDurable(
                "asyncio.as_completed has started this coroutine in the order of a set, which is another one in each "
                "attempt",
                seen=f"{branch.path.rstrip('/')} of run {self.live.claimed.id}",
                do="Give it a list of coroutines, or of tasks.",
            )
        return branch

    def knows(self, task: Any) -> bool:
        """Whether this asyncio task is a branch."""
        return self.branch_of(task) is not None

    def repeats(self) -> bool:
        """Whether the code that runs here has run before: the operation that its branch comes to next is recorded, or
        no branch has come further than where the run gave up its slot."""
        if in_step.get() is not None:
            return False
        branch: Branch | None = self.root
        if self.live.task.signature.is_async:
            task = asyncio.current_task() if asyncio._get_running_loop() is not None else None
            branch = self.branch_of(task)
        if branch is None:
            return False
        rehearses = self.turns.rehearses and not self.fresh
        return rehearses or (branch.path, branch.asked + 1) in self.journal.places

    def let_go(self) -> bool:
        """The code has returned: part from the others of this attempt, who have each other. False if some of its
        branches go on."""
        if self.limits.saying or self.turns.branches - {self.live.attempt.root}:
            return False
        del self.turns.limits, self.turns, self.limits
        return True

    # asking, writing, hearing

    def ask(self, kind: str, name: str, *, key: str | None = None, digest: str | None = None) -> Asked:
        """Take the key of an operation, here and now."""
        branch = self.branch()
        if self.mismatch is not None:
            raise self.mismatch
        try:
            asked = self.journal.ask(branch, kind, name, key, digest)
        except JournalMismatch as mismatch:
            self.mismatch = mismatch
            raise
        if asked.entry is None:
            self.live.lines.replayed = False
            self.fresh = True
        return asked

    async def outcome(self, asked: Asked) -> Entry:
        """The entry of this operation, when it is settled and it is its turn."""
        entry = self.journal.entries[asked.key]
        return entry if self.turns.give_at_once(entry) else await self.turns.take(entry)

    def entry(self, asked: Asked, **columns: Any) -> NewEntry:
        claimed = self.live.claimed
        return NewEntry(
            run_id=claimed.id,
            claim=claimed.claim,
            attempt=claimed.attempt,
            key=asked.key,
            seq=asked.seq,
            branch=asked.branch.path,
            kind=asked.kind,
            name=asked.name,
            digest=asked.digest,
            chunks=self.live.chunks(),  # whoever goes on from here does not tell them again
            **columns,
        )

    async def write(self, entry: NewEntry) -> written.Written:
        """Write an entry. Returns when it is on disk, and when what has settled before it is known, too."""
        with self.turns.operating(), self.turns.write(entry.key):
            writing = asyncio.wrap_future(self.host.store.gather(written.write, entry))
            self.host.coming.expect(entry.here, writing)
            made = await asyncio.shield(writing)
            if made.news or not self.journal.follows(made.entry):
                await self.live.hear()
        self.host.trust(self.live)
        if entry.chunks:
            self.live.written(Tidings([], entry.chunks))
        self.arrived([made.entry])
        return cast("written.Written", made)

    def heard(self, entries: Iterable[Entry]) -> None:
        """This is all that has settled since it was last looked."""
        entries = sorted(entries, key=place)
        self.arrived(entries)
        self.journal.hear(entries)

    def go_on(self, entries: Iterable[Entry]) -> None:
        """It has waited in memory, and this has settled meanwhile."""
        self.heard(entries)
        self.turns.set_timers(self.journal.entries)

    def arrived(self, entries: Iterable[Entry]) -> None:
        """Entries have settled, here or elsewhere."""
        if self.live.suspending:
            self.host.unsuspend(self.live)
        for entry in entries:
            known = self.journal.entries.get(entry.key)
            if known is not None and (entry.settled or 0) < (known.settled or 0):
                continue  # the answer to its writing, and it has settled since
            if known is None or (known.state, known.settled) != (entry.state, entry.settled):
                self.journal.take(entry)
                self.turns.settle(entry)
        self.turns.look_again()

    def blocking(self, operation: Later, calls: Calls | None = None) -> Any:
        """Carry out an operation of a ``def`` task, whose thread waits for it here."""
        return (calls or Calls()).wait_for(operation, self.host.loop)

    # steps

    def astep(self, fn: Callable[..., Any], args: tuple[Any, ...], options: StepOptions) -> Later:
        asked = self.ask("step", options.name, key=options.key, digest=digest_of(args))
        call = partial(steps.called, self.stand_in(fn), args, options)
        return steps.carry(self, asked, call, options, steps.output_codec(fn))

    def step(self, fn: Callable[..., Any], args: tuple[Any, ...], options: StepOptions) -> Any:
        if steps.is_coroutine_function(fn):
            raise InvalidOption(
                "A def task cannot await a step", seen=options.name, do="Make the task async def, or the step a def."
            )
        if options.timeout_ms is not None:  # a thread of its own, which can be left to itself
            return self.blocking(self.astep(fn, args, options))
        asked = self.ask("step", options.name, key=options.key, digest=digest_of(args))
        calls = Calls(partial(self.stand_in(fn), *args))
        return self.blocking(steps.carry(self, asked, calls.from_loop, options, steps.output_codec(fn)), calls)

    def stand_in(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        return cast("Callable[..., Any]", self.host.home.stand_ins.get(fn, fn)) if self.host.home.stand_ins else fn

    # waits

    def asleep(self, delay_ms: int | None, until_ms: int | None) -> Later:
        return self.carry_sleep(self.ask("sleep", "sleep"), delay_ms, until_ms)

    def sleep(self, delay_ms: int | None, until_ms: int | None) -> None:
        self.blocking(self.asleep(delay_ms, until_ms))

    async def carry_sleep(self, asked: Asked, delay_ms: int | None, until_ms: int | None) -> None:
        if asked.entry is None:
            await self.write(self.entry(asked, state="open", delay_ms=delay_ms, due_at=until_ms))
        await self.outcome(asked)

    def atoken(self, type: Any, timeout_ms: int | None) -> Later:
        check_type(type, "The type of a token")
        return self.carry_token(self.ask("token", "token"), type, timeout_ms)

    def token(self, type: Any, timeout_ms: int | None) -> Token[Any]:
        return cast("Token[Any]", self.blocking(self.atoken(type, timeout_ms)))

    async def carry_token(self, asked: Asked, type: Any, timeout_ms: int | None) -> Token[Any]:
        value = codec_for(type, role="value of the token")
        if asked.entry is None:
            schema = value.schema()
            text = None if schema is None else codec.encode(schema)
            token = NewToken(id=new_id(), secret=new_secret(), timeout_ms=timeout_ms, schema=text)
            kept = codec.encode(token.secret)  # a replay has the same URL
            await self.write(self.entry(asked, target=token.id, result=kept, token=token))
        entry = await self.outcome(asked)
        token_id, kept = entry.target or "", codec.decode(entry.result or '""')
        return Token(token_id, self.live.attempt.home.token_url(token_id, kept), value)

    def await_for(self, token: Token[Any]) -> Later:
        return self.carry_wait(self.ask("wait", "wait", digest=token.id), token)

    def wait_for(self, token: Token[Any]) -> Any:
        return self.blocking(self.await_for(token))

    async def carry_wait(self, asked: Asked, token: Token[Any]) -> Any:
        if asked.entry is None:
            await self.write(self.entry(asked, state="open", target=token.id))
        entry = await self.outcome(asked)
        if entry.state == "expired":
            raise WaitTimedOut("Nobody has completed the token in time", seen=token.id, do="Catch it, and decide.")
        if entry.state == "failed":
            raise TokenUnknown("There is no such token", seen=token.id, do="Wait for one that ctx.token() has made.")
        return token.codec.load(entry.result or "null")

    # children

    def achild(self, task: Task[Any, Any], payload: Any, options: Any) -> Later:
        if not isinstance(task, Task):
            raise InvalidOption("This is not a task to wait for", seen=shown(task), do="Give a task and its payload.")
        asked = self.ask("child", task.id, digest=digest_of((payload,)))
        return children.carry_one(self, asked, task, payload, options)

    def child(self, task: Task[Any, Any], payload: Any, options: Any) -> Any:
        return self.blocking(self.achild(task, payload, options))

    def achildren(self, entries: Iterable[Any], task: Task[Any, Any] | None) -> Coroutine[Any, Any, Results[Any]]:
        asked = self.ask("children", task.id if task is not None else "batch")
        return children.carry_many(self, asked, entries, task)

    def children(self, entries: Iterable[Any], task: Task[Any, Any] | None) -> Results[Any]:
        return cast("Results[Any]", self.blocking(self.achildren(entries, task)))

    def recorded(self, runs: list[NewRun], name: str) -> tuple[Asked, NewEntry | None]:
        return children.recorded(self, runs, name)

    def keep(self, made: written.Written) -> Entry:
        """What was written by a thread that did not wait for the loop."""
        self.journal.take(made.entry)
        return made.entry

    # facts

    def anow(self) -> Coroutine[Any, Any, datetime]:
        return self.carry_now(self.ask("value", "now"))

    def now(self) -> datetime:
        return cast("datetime", self.blocking(self.anow()))

    async def carry_now(self, asked: Asked) -> datetime:
        if asked.entry is None:
            await self.write(self.entry(asked, result=str(self.live.now())))
        entry = await self.outcome(asked)
        return _EPOCH + timedelta(milliseconds=int(entry.result or 0))

    def random(self) -> float:
        number: float = self.numbers("random").random()
        return number

    def uuid(self) -> uuids.UUID:
        return uuids.UUID(int=self.numbers("uuid").getrandbits(128), version=4)

    def numbers(self, name: str) -> randomness.Random:
        """A source of numbers for this place of the code: the same in every replay, so nothing need be written."""
        origin = self.journal.entries.get("replay")  # what a replay has kept was made with the numbers of that run
        seed = origin.result if origin is not None else self.live.claimed.id
        return randomness.Random(f"{seed} {self.branch().next_key(name)}")


def name_of(coroutine: Any) -> str:
    return getattr(coroutine, "__name__", None) or type(coroutine).__name__
