"""Secrets on their way, on both databases: the task gets them, and nobody else is shown them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
import psycopg
import pytest
from pydantic import BaseModel, SecretStr
from typer.testing import CliRunner

from holdfast import (
    AbortRun,
    AsyncContext,
    Cancellation,
    Context,
    Event,
    Failure,
    Holdfast,
    PayloadInvalid,
    Run,
    Secret,
    views,
)
from holdfast.cli.main import app as command_line
from holdfast.engine import catalogue
from holdfast.secret import STARS
from tests.conftest import Eventually

PASSWORD, PIN, DEEP = "hunter2-hunter2", 471_147, "deep-in-a-list"


class Inner(BaseModel):
    token: SecretStr


class Login(BaseModel):
    user: str
    password: SecretStr
    pin: Annotated[int, Secret]
    inner: list[Inner] = []


class Ticket(BaseModel):
    user: str
    key: SecretStr


LOGIN = Login(user="ada", password=SecretStr(PASSWORD), pin=PIN, inner=[Inner(token=SecretStr(DEEP))])
SHOWN = {"user": "ada", "password": STARS, "pin": STARS, "inner": [{"token": STARS}]}
PLAIN = {"user": "ada", "password": PASSWORD, "pin": PIN, "inner": [{"token": DEEP}]}


@pytest.fixture
def app(database_url: str) -> Iterator[Holdfast]:
    app = Holdfast(database_url)

    @app.task
    def login(payload: Login) -> bool:
        """Whether it got what was sent."""
        inner = [each.token.get_secret_value() for each in payload.inner]
        return (payload.password.get_secret_value(), payload.pin, inner) == (PASSWORD, PIN, [DEEP])

    @app.task
    def talk(payload: Login, ctx: Context) -> dict[str, Any]:
        password = payload.password.get_secret_value()
        print("the password is", password, "and the pin", payload.pin)
        print(f"it starts with {password[:5]}", end="")
        print(password[5:])
        logging.getLogger("shop").warning("login of %s with %s", payload.user, password)
        try:
            raise KeyError(password)
        except KeyError:
            logging.getLogger("shop").exception("it failed")
        ctx.metadata["token"] = payload.inner[0].token.get_secret_value()
        ctx.metadata["pin"] = payload.pin
        return {"echo": password}

    @app.task
    async def refuse(payload: Login, ctx: AsyncContext) -> None:
        raise AbortRun(f"{payload.password.get_secret_value()!r} is wrong, and so is {payload.pin}")

    @app.task
    async def issue(user: str) -> Ticket:
        return Ticket(user=user, key=SecretStr(PASSWORD))

    yield app
    app.close()


@pytest.fixture
def running(app: Holdfast) -> Iterator[Holdfast]:
    with app.running():
        yield app


def told(app: Holdfast, run_id: str, database_url: str = "") -> str:
    """Everything that people are shown of a run."""
    view = app.client.read(views.run, run_id)
    run = app.handle(run_id).retrieve()
    said = [
        msgspec.json.encode(view).decode(),
        msgspec.json.encode(app.client.read(views.log_end, run_id, 100)).decode(),
        json.dumps([run.payload, run.metadata, repr(run), repr(run.error), run.output if run.ok else None]),
        repr([app.runs.list()[:], app.runs.retrieve(run_id).payload, run.logs]),
    ]
    if database_url:
        commands = (["show", run_id], ["show", run_id, "--json"], ["list"])
        place = ["--database", database_url]
        said += [CliRunner().invoke(command_line, ["runs", *command, *place]).output for command in commands]
    return "\n".join(said)


def assert_hushed(text: str) -> None:
    assert [each for each in (PASSWORD, str(PIN), DEEP) if each in text] == []


def test_the_task_gets_the_value_and_the_payload_is_shown_with_stars(running: Holdfast) -> None:
    handle = running.tasks["login"].trigger(LOGIN)
    assert handle.result(timeout="30s") is True
    assert handle.retrieve().payload == running.runs.retrieve(handle.id).payload == SHOWN
    view = running.client.read(views.run, handle.id)
    assert view is not None
    assert view.payload == SHOWN


async def test_and_so_it_is_in_async_code_batches_and_replays(running: Holdfast) -> None:
    login = running.tasks["login"]
    batch = await login.abatch_trigger([LOGIN, login.item(LOGIN, priority=1)])
    assert (await batch.aresults(timeout="30s")).outputs() == [True, True]
    again = await batch.runs[0].areplay()
    assert await again.aresult(timeout="30s") is True
    third = await running.runs.areplay(again.id)
    assert await third.aresult(timeout="30s") is True
    assert (await third.aretrieve()).payload == SHOWN


def test_nothing_that_the_task_says_tells_it(
    app: Holdfast, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    handle = app.tasks["talk"].trigger(LOGIN)
    with app.running():  # here, and not in a fixture: between the two pytest takes the streams for itself
        assert handle.result(timeout="30s") == {"echo": PASSWORD}  # a typed handle is code: it gets what was returned
    run = handle.retrieve()
    assert run.metadata == {"token": STARS, "pin": STARS}
    assert [line.message for line in run.logs][:3] == [
        f"the password is {STARS} and the pin {STARS}",
        f"it starts with {STARS}",
        f"login of ada with {STARS}",
    ]
    assert f"KeyError: '{STARS}'" in run.logs[3].message
    assert app.runs.retrieve(handle.id).output == {"echo": STARS}
    assert_hushed(told(app, handle.id, database_url))
    assert "it failed" in caplog.text
    assert_hushed(caplog.text)


def test_nor_does_its_error(running: Holdfast, database_url: str) -> None:
    handle = running.tasks["refuse"].trigger(LOGIN)
    with pytest.raises(Exception, match=r"is wrong") as caught:
        handle.result(timeout="30s")
    assert f"'{STARS}' is wrong, and so is {STARS}" in str(caught.value)
    error = handle.retrieve().error
    assert error is not None
    assert "raise AbortRun" in error.traceback
    assert_hushed(told(running, handle.id, database_url) + error.traceback)


def test_hooks_get_the_payload_and_are_told_the_error_without_it(app: Holdfast) -> None:
    heard: list[Any] = []

    @app.on_failure
    def note(failure: Failure[Login]) -> None:
        heard.extend([failure.payload.password.get_secret_value(), failure.error.message, failure.run.payload])
        print("told of", failure.payload.password.get_secret_value())

    @app.catch_error
    def decide(failure: Failure[Login]) -> None:
        heard.append(failure.error.message)

    @app.init
    def begin(event: Event[Login]) -> None:
        print("begins", event.payload.password.get_secret_value())

    with app.running():
        handle = app.tasks["refuse"].trigger(LOGIN)
        with pytest.raises(Exception, match="is wrong"):
            handle.result(timeout="30s")
    assert heard[1] == PASSWORD
    assert heard[3] == SHOWN
    assert_hushed(heard[0] + heard[2])
    assert_hushed(told(app, handle.id))
    assert [line.message for line in handle.retrieve().logs if "told" in line.message] == [f"told of {STARS}"]


def test_nor_do_hooks_of_a_run_that_ended_without_a_worker(app: Holdfast, eventually: Eventually) -> None:
    @app.on_cancel
    def note(cancellation: Cancellation[Login]) -> None:
        print("canceled with", cancellation.payload.password.get_secret_value())

    handle = app.tasks["login"].trigger(LOGIN, delay="1h")
    app.client.store.run_sync(catalogue.announce, [task.entry() for task in app.tasks.values()], [])
    handle.cancel()

    def said() -> None:
        assert [line.message for line in handle.retrieve().logs] == [f"canceled with {STARS}"]

    with app.running():
        eventually(said)


def test_an_output_is_whole_for_code_and_hidden_from_readers(running: Holdfast, database_url: str) -> None:
    handle: Any = running.tasks["issue"].trigger("ada")
    assert handle.result(timeout="30s").key.get_secret_value() == PASSWORD
    run: Run[Ticket] = handle.retrieve()
    assert run.output.key.get_secret_value() == PASSWORD
    assert STARS in repr(run.output)
    assert running.handle(handle.id).result(timeout="30s") == {"user": "ada", "key": STARS}
    assert_hushed(told(running, handle.id, database_url))


# -- by name ----------------------------------------------------------------------------------------------------------


def stranger(app: Holdfast) -> Holdfast:
    """An app over the same database, without the code."""
    return Holdfast(app.client.store.url)


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "not announced"])
def test_by_name_without_the_code(app: Holdfast, announced: bool) -> None:
    other = stranger(app)
    if announced:
        app.client.store.run_sync(catalogue.announce, [task.entry() for task in app.tasks.values()], [])
    handle = other.trigger("login", PLAIN)
    by_model = other.trigger("login", LOGIN)
    try:
        with app.running():
            assert handle.result(timeout="30s") is True
            assert by_model.result(timeout="30s") is True
            again = other.runs.replay(handle.id)
            assert again.result(timeout="30s") is True
        for run in (handle, again):
            assert other.runs.retrieve(run.id).payload == SHOWN
            assert_hushed(told(other, run.id))
        assert by_model.retrieve().payload["password"] == STARS
    finally:
        other.close()


def test_in_sql(app: Holdfast, database_url: str) -> None:
    if not database_url.startswith("postgres"):
        pytest.skip("triggers in SQL are PostgreSQL's")
    with app.running():
        with psycopg.connect(database_url, autocommit=True) as connection:
            row = connection.execute("SELECT holdfast.trigger('talk', %s)", (json.dumps(PLAIN),)).fetchone()
        assert row is not None
        app.handle(row[0]).result(timeout="30s")
        assert app.runs.retrieve(row[0]).payload == SHOWN
        assert_hushed(told(app, row[0], database_url))


def test_what_does_not_fit_tells_nothing_either(app: Holdfast, database_url: str) -> None:
    bad = {"user": "ada", "password": [PASSWORD], "pin": f"{PIN}x", "inner": [{"token": {"x": DEEP}}]}
    with pytest.raises(PayloadInvalid) as caught:
        app.trigger("login", bad)
    assert_hushed(f"{caught.value} {caught.value.__cause__!r} {caught.value.problems}")
    other = stranger(app)
    handle = other.trigger("login", bad)
    with app.running(), pytest.raises(Exception, match="does not fit Login"):
        handle.result(timeout="30s")
    error = handle.retrieve().error
    other.close()
    assert error is not None
    assert_hushed(f"{error.message} {error.traceback}")


def test_what_is_stored_beside_the_payload(running: Holdfast, database_url: str) -> None:
    """Only the payload holds it, since the task needs it; the metadata that a trigger gives is for people."""
    handle = running.tasks["talk"].trigger(LOGIN, metadata={"password": SecretStr(PASSWORD)})
    handle.result(timeout="30s")
    assert handle.retrieve().metadata["password"] == STARS
    assert_hushed(json.dumps(handle.retrieve().metadata))


def test_in_tests_payloads_are_whole_and_messages_are_not(app: Holdfast) -> None:
    login = app.tasks["login"]
    with app.testing() as jobs:
        assert jobs.run(login, LOGIN).output is True
        assert jobs.payloads(login) == [LOGIN]
        with pytest.raises(AssertionError) as caught:
            jobs.assert_not_triggered(login)
        assert_hushed(str(caught.value))
