"""The process that starts those of runs, as a worker starts it: ``main(fd)`` finds the app, and forks from then on.

It reads where the app is from the first line on its socket; what follows there are orders (worker/isolated/zygote.py).
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from functools import partial

import msgspec

from holdfast.discovery import find_app
from holdfast.inside import home_of
from holdfast.worker import capture
from holdfast.worker.home import Origin, Settings
from holdfast.worker.isolated import guest
from holdfast.worker.isolated.zygote import Zygote


def main(number: int) -> None:
    """Import the app, and serve the worker at the other end of this socket."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the worker's business; it takes this process with it
    control = socket.socket(fileno=number)
    origin = msgspec.json.decode(first_line(control), type=Origin)
    if origin.logs:
        logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    os.chdir(origin.folder)
    sys.path[:] = origin.path or [origin.folder, *sys.path]
    app = find_app(origin.app).app
    app.load()
    app.settings.use_flags(database=origin.database)
    home = home_of(app)
    capture.install()
    guest.rehearse(home)
    Zygote(control, partial(guest.carry, home=home, settings=Settings())).serve()


def first_line(control: socket.socket) -> bytes:
    """A line, and not a byte more: what follows may bring file descriptors."""
    line = b""
    while not line.endswith(b"\n"):
        seen = control.recv(65536, socket.MSG_PEEK)
        if not seen:
            sys.exit(0)
        line += control.recv(seen.find(b"\n") + 1 or len(seen))
    return line
