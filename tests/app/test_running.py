"""`app.running()`: a worker inside another process, on both databases."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from holdfast import (
    AsyncContext,
    Blueprint,
    Context,
    DatabaseError,
    Holdfast,
    HoldfastError,
    InvalidOption,
    Queue,
    views,
)
from holdfast.engine import workers
from tests.conftest import Eventually


@pytest.fixture
def app(database_url: str) -> Iterator[Holdfast]:
    app = Holdfast(database_url)

    @app.task
    def greet(name: str) -> str:
        return f"Hello, {name}!"

    @app.task
    async def loop_of(_: None = None) -> int:
        return id(asyncio.get_running_loop())

    @app.task
    async def where(ctx: AsyncContext) -> list[str]:
        return [ctx.run.id, threading.current_thread().name]

    yield app
    app.close()


def ours() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("holdfast")}


# -- in a script ------------------------------------------------------------------------------------------------------


def test_a_script_carries_out_its_own_runs(app: Holdfast) -> None:
    with app.running():
        assert app.trigger("greet", "Ada").result(timeout="30s") == "Hello, Ada!"
        _, thread = app.trigger("where").result(timeout="30s")
    assert thread == "holdfast-worker"


def test_nothing_of_the_worker_is_left_behind(app: Holdfast, eventually: Eventually) -> None:
    stdout, level, before = sys.stdout, logging.getLogger().level, ours()
    with app.running():
        app.trigger("greet", "Ada").result(timeout="30s")
    assert (sys.stdout, logging.getLogger().level) == (stdout, level)
    assert not app.client.read(workers.beats)
    app.close()

    def gone() -> None:
        assert ours() == before

    eventually(gone)


def test_it_may_be_entered_again_afterwards_but_not_twice_at_once(app: Holdfast) -> None:
    running = app.running()
    for name in ("Ada", "Grace"):
        with running:
            assert app.trigger("greet", name).result(timeout="30s") == f"Hello, {name}!"
            with pytest.raises(HoldfastError, match="This worker runs already"):
                running.__enter__()
    with app.running(), app.running():
        assert app.trigger("greet", "Ada").result(timeout="30s") == "Hello, Ada!"


def test_an_error_in_the_body_goes_on(app: Holdfast) -> None:
    with pytest.raises(ZeroDivisionError), app.running():
        _ = 1 / 0


def test_a_script_of_its_own(database_url: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "import os\n"
        "from holdfast import Holdfast\n"
        "app = Holdfast(os.environ['URL'])\n"
        "@app.task\n"
        "def greet(name: str) -> str: return f'Hello, {name}!'\n"
        "if __name__ == '__main__':\n"
        "    with app.running():\n"
        "        print(greet.trigger('Ada').result(timeout='10s'))\n"
    )
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env={**os.environ, "URL": database_url},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "Hello, Ada!\n", "")


# -- on the caller's loop ---------------------------------------------------------------------------------------------


async def test_on_the_callers_own_loop(app: Holdfast) -> None:
    async with app.running():
        handle = await app.atrigger("loop_of")
        assert await handle.aresult(timeout="30s") == id(asyncio.get_running_loop())


def test_in_the_lifespan_of_a_web_app(app: Holdfast) -> None:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with app.running():
            yield

    web = FastAPI(lifespan=lifespan)

    @web.post("/greet/{name}")
    async def greet(name: str) -> str:
        return str(await (await app.atrigger("greet", name)).aresult(timeout="30s"))

    with TestClient(web) as client:
        assert client.post("/greet/Ada").json() == "Hello, Ada!"
    assert not app.client.read(workers.beats)


async def test_a_lifespan_that_is_cancelled_ends_its_worker(app: Holdfast) -> None:
    started = asyncio.Event()

    async def serve() -> None:
        async with app.running():
            started.set()
            await asyncio.sleep(60)

    serving = asyncio.create_task(serve())
    await started.wait()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert not await app.client.aread(workers.beats)


# -- leaving ----------------------------------------------------------------------------------------------------------


def test_leaving_waits_for_what_executes_and_hands_back_the_rest(app: Holdfast, eventually: Eventually) -> None:
    began, go_on = threading.Event(), threading.Event()

    @app.task
    def slow() -> str:
        began.set()
        go_on.wait(30)
        return "done"

    with app.running(concurrency=1):
        first = app.trigger("slow")
        assert began.wait(30)
        second = app.trigger("slow")
        threading.Timer(0.2, go_on.set).start()
    assert first.result(timeout=0) == "done"
    assert second.retrieve().status in ("queued", "pending_version")


def test_a_worker_inside_that_is_asked_to_drain_ends(app: Holdfast, eventually: Eventually) -> None:
    """And the program goes on without it. Fails with beats that do not look at what is asked."""
    with app.running():
        assert app.trigger("greet", "Ada").result(timeout="30s") == "Hello, Ada!"
        (worker,) = app.client.read(views.workers)
        assert app.client.write(workers.ask_to_drain, worker.id)

        def ended() -> None:
            assert [each.state for each in app.client.read(views.workers, ended=5)] == ["stopped"]

        eventually(ended, timeout=30)
        assert app.trigger("greet", "Ada").retrieve().status == "pending_version"


def test_what_outlasts_the_drain_goes_back_in_line(app: Holdfast) -> None:
    ended: list[str] = []
    began = threading.Event()

    @app.task
    async def endless(ctx: AsyncContext) -> None:
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(ctx.run.id)

    with app.running(drain="0.1s"):
        handle = app.trigger("endless")
        assert began.wait(30)
    run = handle.retrieve()
    assert (run.status, run.attempts, ended) == ("pending_version", 0, [run.id])


# -- starting ---------------------------------------------------------------------------------------------------------


def test_what_keeps_it_from_starting_is_raised_where_it_is_entered(tmp_path: Path) -> None:
    (tmp_path / "here.db").write_text("no database")
    app = Holdfast(str(tmp_path / "here.db"))
    before = ours()
    with pytest.raises(DatabaseError), app.running():
        raise AssertionError("it is not entered")
    assert ours() == before


@pytest.mark.filterwarnings("error")  # nothing is left unawaited
async def test_and_so_it_is_in_async_code(app: Holdfast, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise DatabaseError("It refuses", do="Ask again.")

    monkeypatch.setattr("holdfast.engine.workers.register", refuse)
    with pytest.raises(DatabaseError, match="It refuses"):
        async with app.running():
            raise AssertionError("it is not entered")
    with pytest.raises(DatabaseError, match="It refuses"), app.running():
        raise AssertionError("it is not entered")


def test_a_worker_that_fails_later_says_so(
    app: Holdfast, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, eventually: Eventually
) -> None:
    async def broken(_: Any) -> None:
        raise ZeroDivisionError

    def told() -> None:
        assert "the worker inside this process has failed" in caplog.text

    with pytest.raises(ZeroDivisionError), app.running():
        monkeypatch.setattr("holdfast.worker.worker.Worker.turn", broken)
        eventually(told)


def test_further_modules_are_imported_and_blueprints_carried_out(
    app: Holdfast, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    library = Blueprint()

    @library.task
    def double(number: int) -> int:
        return 2 * number

    app.include(library, prefix="lib.")
    (tmp_path / "running_further.py").write_text("print('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    app.imports = ("running_further",)
    with app.running():
        assert double.trigger(4).result(timeout="30s") == 8
        assert app.trigger("lib.double", 5).result(timeout="30s") == 10
    assert "running_further" in sys.modules


# -- options ----------------------------------------------------------------------------------------------------------


def test_only_some_queues(app: Holdfast) -> None:
    mail = Queue("mail")
    app.task(id="send", queue=mail)(lambda: "sent")
    with app.running(queues=[mail, "other"]):
        assert app.trigger("send").result(timeout="30s") == "sent"
        handle = app.trigger("greet", "Ada")
        assert app.trigger("send").result(timeout="30s") == "sent"
        assert handle.retrieve().status == "pending_version"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"concurrency": 0}, "concurrency is not a whole number"),
        ({"concurrency": True}, "concurrency is not a whole number"),
        ({"concurrency": 2.5}, "concurrency is not a whole number"),
        ({"queues": "mail"}, "queues is not a list of queues"),
        ({"queues": 5}, "queues is not a list of queues"),
        ({"queues": []}, "queues is empty"),
        ({"queues": [5]}, "A queue is not a string"),
        ({"drain": "soon"}, "drain"),
        ({"drain": -1}, "drain"),
    ],
)
def test_options_are_checked_before_anything_starts(options: Any, message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        Holdfast(":memory:").running(**options)


# -- what the process logs --------------------------------------------------------------------------------------------


def test_lines_of_a_run_are_kept_and_the_processs_own_logging_stays_as_it_was(
    app: Holdfast, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: heard.append(record.getMessage())  # type: ignore[method-assign]
    root = logging.getLogger()
    monkeypatch.setattr(root, "level", logging.WARNING)
    chatty = logging.getLogger("chatty")
    monkeypatch.setattr(chatty, "level", logging.INFO)

    @app.task
    def talk(ctx: Context) -> None:
        logging.getLogger("quiet").info("for the run")

    root.addHandler(handler)
    try:
        with app.running():
            handle = app.trigger("talk")
            handle.result(timeout="30s")
            logging.getLogger("quiet").info("for nobody")
            chatty.info("as before")
            root.warning("a warning")
    finally:
        root.removeHandler(handler)
    assert [line.message for line in handle.retrieve().logs] == ["for the run"]
    assert heard == ["as before", "a warning"]
    assert not handler.filters


def test_where_nobody_set_up_logging_warnings_still_go_to_stderr(tmp_path: Path) -> None:
    program = (
        "import logging\n"
        "from holdfast import Holdfast\n"
        "app = Holdfast(':memory:')\n"
        "with app.running():\n"
        "    logging.getLogger('shop').warning('careful')\n"
        "    logging.getLogger('shop').info('for nobody')\n"
        "logging.getLogger('shop').warning('afterwards')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.stderr == "careful\nafterwards\n"
