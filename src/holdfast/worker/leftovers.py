"""What a worker process leaves behind: whatever its runs have started, however far that has gone.

A process group can be left, and a parent may die first. An environment stays: all that a worker process starts inherits
its mark, through ``setsid`` and ``nohup`` as well, unless somebody takes it out on purpose. So when the process has
ended, what still carries its mark is killed: its runs go on elsewhere, and nothing of them is done twice at once.

So it is with the zygote of a worker, which has a mark of its own: if it is killed, the worker ends what it has left.

Whoever ends a worker process is the supervisor; and if that is killed, the guard: a copy of the worker process, forked
before it has threads, that only waits for the two. A worker whose interpreter is held, by a long regular expression for
instance, or that is stopped by a signal, cannot notice by itself that nobody beats for it any more.

Only Linux tells the environments of other processes. Elsewhere this does nothing.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import signal
import sys
import time
from collections.abc import Iterator
from typing import Final

MARK: Final = "HOLDFAST_PROCESS"
ZYGOTE: Final = "HOLDFAST_ZYGOTE"
LINUX: Final = sys.platform == "linux"
TRIES: Final = 100
PAUSE_SECONDS: Final = 0.01


def new_mark() -> str:
    """What one process, and all that comes of it, is known by."""
    return secrets.token_hex(12)


def marked(mark: str, variable: str = MARK) -> Iterator[int]:
    """The processes that carry this mark and have not ended."""
    wanted = f"{variable}={mark}".encode()
    for name in os.listdir("/proc") if LINUX else ():
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/environ", "rb") as environment:
                if wanted in environment.read().split(b"\0"):
                    yield int(name)


def end(mark: str, variable: str = MARK, *, spare: int = 0) -> int:
    """Kill all that carries this mark, and what it starts meanwhile; answers how many there were. ``spare`` is left
    alone."""
    ended: set[int] = set()
    for _ in range(TRIES):
        found = [pid for pid in marked(mark, variable) if pid != spare]
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        ended.update(found)
        if not found:
            break
        time.sleep(PAUSE_SECONDS)
    return len(ended)


def post_guard(seconds: float) -> None:
    """Have this process ended, and all that it has started, ``seconds`` after its supervisor has been killed.

    Call it before there are threads.
    """
    if not LINUX:
        return
    worker, supervisor = os.getpid(), os.getppid()
    try:
        watched = os.pidfd_open(worker), os.pidfd_open(supervisor)
    except OSError:
        return  # a kernel, or a sandbox, that has no such thing
    if os.fork():
        for descriptor in watched:
            os.close(descriptor)
        return
    try:
        keep_guard(*watched, seconds)
    finally:
        os._exit(0)


def keep_guard(worker: int, supervisor: int, seconds: float) -> None:
    """Wait until either of these processes ends."""
    let_go_of_all_but({worker, supervisor})
    either = select.poll()
    either.register(worker, select.POLLIN)
    either.register(supervisor, select.POLLIN)
    if supervisor not in [descriptor for descriptor, _ in either.poll()]:
        return  # the supervisor sees to it
    either.unregister(supervisor)
    either.poll(seconds * 1000)
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(worker, signal.SIGKILL)
    end(os.environ[MARK], spare=os.getpid())


def let_go_of_all_but(kept: set[int]) -> None:
    """Outlive signals to the whole group, and keep nothing open that others wait to see closed."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for descriptor in {int(name) for name in os.listdir("/proc/self/fd")} - kept:
        with contextlib.suppress(OSError):  # the one that has listed them
            os.close(descriptor)
