"""The entry point: finds the command, and says what went wrong.

Only the command that is called is imported, so that ``holdfast --help`` and the shell's completion are quick. A command
may be listed before its module is there.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Annotated, Any, Final, TextIO

import typer
from typer.core import TyperCommand, TyperGroup

# What there is, in the order in which somebody meets it.
COMMANDS: Final = {
    "dev": "Run a worker and a server for development, anew when code changes.",
    "start": "Serve the API, send requests and carry out runs, all on this machine.",
    "worker": "Carry out runs, until it is told to stop.",
    "server": "Serve the HTTP API, and send what is asked of it.",
    "trigger": "Make a run of a task.",
    "runs": "List, show, follow, cancel and replay runs.",
    "queues": "List, pause, resume and limit queues.",
    "schedules": "List, preview, make, pause and run schedules.",
    "tokens": "List, show, create and complete tokens.",
    "webhooks": "List webhooks, and the requests that were refused.",
    "alerts": "List alerts, and try whether their messages arrive.",
    "tasks": "List the tasks, and who knows them.",
    "workers": "List the workers and what they hold, and drain them.",
    "variables": "List, set and remove environment variables of the workers.",
    "keys": "Make, list and revoke keys of the HTTP API.",
    "audit": "List who changed what.",
    "secret": "Print, or replace, the secret that requests are signed with.",
    "doctor": "Is anything wrong? And what to do.",
    "migrate": "Take the database's tables to this version, or print the SQL.",
    "bench": "Measure what this machine can do.",
}
NO: Final = 1
FAILED: Final = 2
INTERRUPTED: Final = 130


class Commands(TyperGroup):
    """The commands by name; one is imported when it is called, and not to be listed."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [name for name in COMMANDS if importlib.util.find_spec(f"holdfast.cli.{name}")]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return TyperCommand(cmd_name, help=COMMANDS[cmd_name]) if cmd_name in self.list_commands(ctx) else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return name, loaded(name) if command is not None and name is not None else None, rest

    def main(self, args: Any = None, standalone_mode: bool = True, **more: Any) -> Any:  # type: ignore[override]
        """Run a command and exit: with what it answers, or with what its error means."""
        if not standalone_mode:
            return super().main(args=args, standalone_mode=False, **more)
        for stream in (sys.stdout, sys.stderr):
            tolerate(stream)
        if threading.current_thread() is threading.main_thread():  # elsewhere signals are somebody else's
            signal.signal(signal.SIGTERM, terminated)
        try:
            check_text(sys.argv[1:] if args is None else args)
            code = super().main(args=args, standalone_mode=False, **more)
            sys.stdout.flush()
        except KeyboardInterrupt:
            code = INTERRUPTED
        except BrokenPipeError:  # whoever read has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 0
        except Exception as error:
            code = told(error)
        sys.exit(code if isinstance(code, int) else 0)


def terminated(number: int, frame: object) -> None:
    """End in order, and end at all: process 1 of a container is not ended by what it has no handler for."""
    raise SystemExit(128 + number)


def loaded(name: str) -> Any:
    command = typer.main.get_command(importlib.import_module(f"holdfast.cli.{name}").app)
    command.help = command.help or COMMANDS[name]
    return command


def check_text(words: Sequence[str]) -> None:
    """Refuse what no database keeps: bytes that are no UTF-8 come in as lone surrogates."""
    for word in words:
        if not word.isascii() and word != word.encode("utf-8", "replace").decode("utf-8"):
            from holdfast.errors import InvalidOption, shown

            raise InvalidOption("An argument is not UTF-8", seen=shown(word), do="Write it in UTF-8.")


def tolerate(stream: TextIO) -> None:
    """Print what the stream's encoding does not have as an escape: a name or a log line must not end a command."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")


def told(error: Exception) -> int:
    """Say what went wrong, on stderr; answers the exit code."""
    from holdfast.cli.show import complain
    from holdfast.errors import HoldfastError

    if isinstance(error, HoldfastError):
        complain(error.what, error.seen, error.do)
        return FAILED
    format_message = getattr(error, "format_message", None)
    if type(error).__name__ == "NoArgsIsHelpError":  # the help has been printed
        return FAILED
    if format_message is not None:  # a usage error of the command line
        ctx = getattr(error, "ctx", None)
        complain(format_message(), None, f"See {ctx.command_path} --help." if ctx is not None else None)
        return FAILED
    if type(error).__name__ == "Abort":
        complain("Nothing was done", None, None)
        return NO
    if os.environ.get("HOLDFAST_DEBUG"):
        raise error
    seen = f"{type(error).__name__}: {error}"
    complain("Holdfast itself failed", seen, "Please report it, with what HOLDFAST_DEBUG=1 shows.")
    return FAILED


app = typer.Typer(
    cls=Commands,
    name="holdfast",
    no_args_is_help=True,
    add_completion=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"holdfast {version('holdfast')}")
        raise typer.Exit


@app.callback()
def holdfast(
    _: Annotated[
        bool, typer.Option("--version", metavar="", callback=version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Background jobs that hold: on one SQLite file, or on PostgreSQL."""


def main() -> None:
    """Run the command line."""
    typer.main.get_command(app).main(prog_name="holdfast")
