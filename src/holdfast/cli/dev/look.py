"""What the app is at this moment, found out in a process of its own.

``holdfast dev`` never imports the app: code that was imported once cannot be imported anew with certainty, and an app
that does not import must not take the command with it. So a short-lived process imports it and tells what it is, or
why it cannot be imported. The workers that run go on until that has succeeded.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import subprocess
import sys
import traceback
from contextlib import suppress

import msgspec

from holdfast.errors import AppNotFound, HoldfastError

LAST_WORDS_SECONDS = 0.5
START = "from holdfast.cli.dev.look import main; main()"


class Order(msgspec.Struct):
    """What to look at: APP and ``--database`` as they were given."""

    app: str | None
    database: str | None


class Task(msgspec.Struct):
    id: str
    queue: str


class Look(msgspec.Struct, kw_only=True):
    """An app that can be imported: its name, its project's folder, its database's URL (complete, with a password if it
    has one), how long finished runs are kept and a silent worker keeps its own, its tasks."""

    name: str
    project: str
    database: str
    retention_ms: int
    lease_ms: int
    tasks: list[Task]


class Trouble(msgspec.Struct, kw_only=True):
    """Why the app cannot be used: what is wrong, and, if it is an error of ours, the value seen and what to do.
    ``absent``: there is no such app at all."""

    what: str
    seen: str | None = None
    do: str | None = None
    absent: bool = False


class Answer(msgspec.Struct):
    look: Look | None = None
    trouble: Trouble | None = None


def look_at(app: str | None, database: str | None, seconds: float | None = None) -> Look | Trouble:
    """Import the app elsewhere, and say what it is; within so many seconds, if that is said."""
    looker = subprocess.Popen(
        [sys.executable, "-c", START],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        process_group=0,  # the Ctrl-C of a terminal is not for it
    )
    try:
        out, _ = looker.communicate(msgspec.json.encode(Order(app, database)), seconds)
    except subprocess.TimeoutExpired:
        looker.send_signal(signal.SIGQUIT)  # it tells where it is
        with suppress(subprocess.TimeoutExpired):
            looker.wait(LAST_WORDS_SECONDS)
        looker.kill()
        looker.communicate()
        return Trouble(
            what="Importing the app does not end",
            seen=f"after {seconds:g} s it was at what is told above",
            do="Correct it, or give it more time: --ready-timeout",
        )
    finally:
        looker.kill()
    try:
        answer = msgspec.json.decode(out, type=Answer)
    except msgspec.DecodeError:
        return Trouble(what=f"Importing the app ended the process that did it, with exit code {looker.returncode}.")
    return answer.look or answer.trouble or Trouble(what="")


# -- in the process of its own ----------------------------------------------------------------------------------------


def main() -> None:
    faulthandler.register(signal.SIGQUIT)
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    answer = os.dup(1)
    os.dup2(2, 1)  # what the app prints while it is imported is for people
    with os.fdopen(answer, "wb") as channel:
        channel.write(msgspec.json.encode(looked(order)))


def looked(order: Order) -> Answer:
    from holdfast.discovery import find_app

    sys.path.insert(0, os.getcwd())
    try:
        found = find_app(order.app)
        found.app.settings.use_flags(database=order.database)
        return Answer(look=described(found.name, found.app))
    except HoldfastError as error:
        absent = isinstance(error, AppNotFound)
        return Answer(trouble=Trouble(what=error.what, seen=error.seen, do=error.do, absent=absent))
    except (Exception, SystemExit) as error:
        return Answer(trouble=Trouble(what=told(error)))


def described(name: str, app: object) -> Look:
    from holdfast.app import Holdfast

    assert isinstance(app, Holdfast)
    return Look(
        name=name,
        project=str(app.settings.project),
        database=app.settings.get("database").value,
        retention_ms=app.settings.get("retention").value,
        lease_ms=app.settings.get("lease").value,
        tasks=[Task(task.id, task.queue.name) for _, task in sorted(app.tasks.items())],
    )


def told(error: BaseException) -> str:
    """The error with the lines of the user's own code that led to it."""
    from holdfast.cli.place import is_ours

    story = traceback.TracebackException.from_exception(error)
    story.stack = traceback.StackSummary.from_list([frame for frame in story.stack if not is_ours(frame.filename)])
    return "".join(story.format()).rstrip()
