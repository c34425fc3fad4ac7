"""The process that starts those of runs, as a worker starts it: ``main(fd)`` finds the app, and forks from then on.

It reads where the app is from the first line on its socket; what follows there are orders (worker/isolated/zygote.py).
An app whose import starts threads cannot be forked: locks that they hold would stay locked in the child. There each
process is started afresh, and imports the app by itself.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import traceback
from functools import partial
from typing import NoReturn

import msgspec

from holdfast.discovery import find_app
from holdfast.inside import home_of
from holdfast.worker import capture
from holdfast.worker.home import Home, Origin, Settings
from holdfast.worker.isolated import carry, confine
from holdfast.worker.isolated.zygote import Zygote

log = logging.getLogger("holdfast")


def main(number: int) -> None:
    """Import the app, and serve the worker at the other end of this socket."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the worker's business; it takes this process with it
    control = socket.socket(fileno=number)
    control.set_inheritable(False)
    origin = msgspec.json.decode(first_line(control), type=Origin)
    home = home_at(origin)
    carried = partial(carry.carry, home=home, settings=Settings())
    if threads := confine.other_threads():
        tell_of_threads(threads)
        Zygote(control, carried, afresh=partial(start_afresh, origin)).serve()
    carry.prepare()
    carry.rehearse(home)
    Zygote(control, carried).serve()


def home_at(origin: Origin) -> Home:
    """Import the app that is there."""
    if origin.logs:
        logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    os.chdir(origin.folder)
    sys.path[:] = origin.path or [origin.folder, *sys.path]
    app = find_app(origin.app).app
    app.load()
    app.settings.use_flags(database=origin.database)
    capture.install()
    return home_of(app)


def tell_of_threads(count: int) -> None:
    names = ", ".join(each.name for each in threading.enumerate() if each is not threading.main_thread())
    log.warning(
        "importing the app starts threads (%d: %s), and what has threads must not be forked: each run that has its own "
        "process imports the app anew, which takes time. Start them where they are needed, as in a provider",
        count,
        names or "of a library, such as OPENBLAS_NUM_THREADS=1 prevents",
    )


def start_afresh(origin: Origin, wire: int, errors: int) -> int:
    """Start a process for one run without forking this one; answers its pid. Raises OSError."""
    said = msgspec.json.encode(origin).decode()
    start = "import sys; from holdfast.zygote import afresh; afresh(*map(int, sys.argv[1:4]), sys.argv[4])"
    command = [sys.executable, "-u", "-c", start, str(os.getpid()), str(wire), str(errors), said]
    for fd in (wire, errors):
        os.set_inheritable(fd, True)
    return os.posix_spawn(sys.executable, command, os.environ)


def afresh(zygote: int, wire: int, errors: int, said: str) -> NoReturn:
    """The process of one run, which ends with the one that has started it."""
    code = 1
    try:
        confine.begin_life(zygote, errors)
        carry.prepare()
        carry.carry(wire, home_at(msgspec.json.decode(said, type=Origin)), Settings())
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def first_line(control: socket.socket) -> bytes:
    """A line, and not a byte more: what follows may bring file descriptors."""
    line = b""
    while not line.endswith(b"\n"):
        seen = control.recv(65536, socket.MSG_PEEK)
        if not seen:
            sys.exit(0)
        line += control.recv(seen.find(b"\n") + 1 or len(seen))
    return line
