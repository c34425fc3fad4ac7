"""The zygote: a process with one thread that has imported the app, and forks a process for each run.

Forking is safe here, since there is no other thread, and cheap, since all that was imported is there. (An app whose
import starts threads has each process started afresh, which is not cheap.) It runs no code of tasks, so it stays what
it is; and it is the parent of all of them, so it is the one that buries them: whoever remains of a run, children that
ignore signals, grandchildren in sessions of their own, is killed with it. When the worker is gone, however that came,
its socket closes here, and everything goes.
"""

from __future__ import annotations

import array
import contextlib
import gc
import os
import select
import signal
import socket
import struct
import traceback
from collections.abc import Callable
from typing import NamedTuple, NoReturn

from holdfast.worker.isolated import confine

ORDER = struct.Struct("!cqq")  # what, the number of the run, how many bytes it may use
REPORT = struct.Struct("!cqidq?")  # what, the number, its pid or status, CPU seconds, bytes, out of memory
FORK, WATCH, TERM, KILL = b"F", b"W", b"T", b"K"
STARTED, EXITED = b"s", b"x"
LOOK_SECONDS = 0.025
TERM_SECONDS = 5.0


class Report(NamedTuple):
    """What the zygote tells: that a process was started, or how it has ended."""

    what: bytes
    number: int
    value: int
    cpu: float
    memory: int
    out_of_memory: bool


class Charge:
    """One process that was forked here."""

    def __init__(self, number: int, pid: int) -> None:
        self.number, self.pid = number, pid
        self.limit = self.peak = 0
        self.out_of_memory = False


class Zygote:
    """Forks on demand; ``carry`` is what each child does with its end of the wire. ``afresh`` starts a process without
    a fork, where that cannot be: it is told the file descriptors of its wire and its stderr, and answers its pid."""

    def __init__(
        self,
        control: socket.socket,
        carry: Callable[[int], None],
        *,
        afresh: Callable[[int, int], int] | None = None,
    ) -> None:
        self.control, self.carry, self.afresh = control, carry, afresh
        self.charges: dict[int, Charge] = {}  # by pid
        self.watched: dict[int, Charge] = {}
        self.wake, self.woken = os.pipe()
        os.set_blocking(self.wake, False)
        os.set_blocking(self.woken, False)

    def serve(self) -> NoReturn:
        """Do as the worker says until it is gone."""
        confine.adopt_orphans()
        signal.signal(signal.SIGCHLD, lambda number, frame: None)  # runs inherit it, and …
        signal.siginterrupt(signal.SIGCHLD, False)  # … are not interrupted by it, as if they did not
        signal.set_wakeup_fd(self.woken, warn_on_full_buffer=False)
        gc.collect()
        gc.freeze()  # so that a collection in a child does not copy all that was imported
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        poll.register(self.wake, select.POLLIN)
        while self.control.fileno() >= 0:
            for fd, _ in poll.poll(LOOK_SECONDS * 1000 if self.watched else None):
                if fd == self.wake:
                    with contextlib.suppress(BlockingIOError):
                        os.read(self.wake, 4096)
                elif not self.obey():
                    self.end()
            self.bury()
            self.watch()
        self.end()

    # orders

    def obey(self) -> bool:
        """Do what the worker says; False when it is gone."""
        try:
            order, fds = received(self.control)
        except OSError:
            return False
        if len(order) < ORDER.size:
            return False
        what, number, size = ORDER.unpack(order)
        if what == FORK:
            self.fork(number, fds)
            return True
        charge = next((each for each in self.charges.values() if each.number == number), None)
        if charge is not None:
            self.change(charge, what, size)
        return True

    def change(self, charge: Charge, what: bytes, size: int) -> None:
        if what == WATCH:
            charge.limit = size
            self.watched[charge.pid] = charge
        else:
            send_signal(charge.pid, signal.SIGTERM if what == TERM else signal.SIGKILL)

    def fork(self, number: int, fds: list[int]) -> None:
        try:
            pid = os.fork() if self.afresh is None else self.afresh(*fds)
        except OSError:
            pid = -1
        if pid == 0:
            self.be_born(*fds)
        for fd in fds:
            os.close(fd)
        if pid < 0:
            self.tell(Report(EXITED, number, -1, 0, 0, False))
            return
        self.charges[pid] = Charge(number, pid)
        self.tell(Report(STARTED, number, pid, 0, 0, False))

    def be_born(self, wire: int, errors: int) -> NoReturn:
        """The child, which ends with the zygote."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for fd in (self.wake, self.woken):
                os.close(fd)
            self.control.close()
            zygote = os.getppid()
            confine.begin_life(zygote, errors)
            self.carry(wire)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    # burying

    def bury(self) -> None:
        """Whoever has ended is reported, and what is left of its family goes, too."""
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None:
                return
            charge = self.charges.pop(found.si_pid, None)
            if charge is not None:
                send_signal(charge.pid, signal.SIGKILL)  # the rest of its group, while its number cannot be another's
            _, status, used = os.wait4(found.si_pid, 0)
            if charge is not None:
                self.watched.pop(charge.pid, None)
                self.end_family()
                self.report(charge, status, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)

    def report(self, charge: Charge, status: int, cpu: float, memory: int) -> None:
        cage = confine.cage_of(os.getpid(), charge.number) if charge.limit else None
        out = charge.out_of_memory
        if cage is not None and cage.path.exists():
            cage.kill()
            out, cpu, memory = out or cage.ran_out(), max(cpu, cage.cpu()), max(memory, cage.peak())
            cage.remove()
        self.tell(Report(EXITED, charge.number, status, cpu, max(memory, charge.peak), out))

    def end_family(self) -> None:
        """Kill who was left behind: a child of ours that we have not forked. One that dies leaves us its own."""
        while strays := [pid for pid in confine.children(os.getpid()) if pid not in self.charges]:
            for pid in strays:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            for pid in strays:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)

    def tell(self, report: Report) -> None:
        with contextlib.suppress(OSError):
            self.control.sendall(REPORT.pack(*report))

    def end(self) -> NoReturn:
        """The worker is gone: nobody holds these runs any more."""
        for pid in list(self.charges):
            send_signal(pid, signal.SIGKILL)
        self.charges.clear()
        self.end_family()
        os._exit(0)

    # watching

    def watch(self) -> None:
        """Kill who uses more memory than its machine has, children included."""
        for charge in list(self.watched.values()):
            used = confine.memory(confine.family(charge.pid), charge.limit)
            charge.peak = max(charge.peak, used)
            if used > charge.limit:
                charge.out_of_memory = True
                send_signal(charge.pid, signal.SIGKILL)


def send_signal(pid: int, number: signal.Signals) -> None:
    """To a process and its group. It makes its group when it has a run."""
    for send in (os.killpg, os.kill):
        with contextlib.suppress(OSError):
            send(pid, number)


def received(control: socket.socket) -> tuple[bytes, list[int]]:
    """An order, with the file descriptors that came along."""
    fds = array.array("i")
    data, extra, _, _ = control.recvmsg(ORDER.size, socket.CMSG_SPACE(2 * fds.itemsize))
    for level, kind, body in extra:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(body[: len(body) - len(body) % fds.itemsize])
    while data and len(data) < ORDER.size:
        more = control.recv(ORDER.size - len(data))
        if not more:
            break
        data += more
    return data, list(fds)
