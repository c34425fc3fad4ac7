"""The files in deploy/, as far as they can be checked without Docker: what they say fits together, and their very
commands run."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest
import yaml

from holdfast.cli import main
from holdfast.duration import to_ms
from holdfast.worker.supervisor import DEAF_SECONDS

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNITS = ["holdfast-server.service", "holdfast-worker@.service"]
HOLDFAST = [sys.executable, "-c", "from holdfast.cli.main import main; main()"]
SECONDS = 60
on_one = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def parsed(arguments: list[str]) -> dict[str, Any]:
    """The options of a ``holdfast`` command, as the command line itself reads them."""
    name, *rest = arguments
    command: click.Command = main.loaded(name)
    return command.make_context(name, rest).params


def drain_seconds(arguments: list[str]) -> float:
    return to_ms(parsed(arguments)["drain_timeout"], name="drain") / 1000


def assert_patient(arguments: list[str], stop: str) -> None:
    """Whoever stops it waits for the drain, and for what a supervisor does with those that do not end."""
    assert to_ms(stop, name="stop") / 1000 > drain_seconds(arguments) + DEAF_SECONDS


# -- the Dockerfile ---------------------------------------------------------------------------------------------------


class Instruction(NamedTuple):
    word: str
    rest: str

    @property
    def listed(self) -> list[str]:
        """What is written as a JSON list: no shell stands between it and its signals."""
        found = json.loads(self.rest)
        assert isinstance(found, list)
        return found


def stages() -> list[list[Instruction]]:
    text = re.sub(r"^\s*#.*\n", "", (DEPLOY / "Dockerfile").read_text("utf-8"), flags=re.MULTILINE)
    found: list[list[Instruction]] = []
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        if line.strip():
            word, _, rest = line.partition(" ")
            if word == "FROM":
                found.append([])
            if found:
                found[-1].append(Instruction(word, rest.strip()))
    return found


def said(stage: list[Instruction], word: str) -> list[Instruction]:
    return [each for each in stage if each.word == word]


def test_the_image_is_built_in_one_stage_and_run_in_another_by_no_root() -> None:
    build, final = stages()
    assert [each.rest.split("-")[-1] for each in (build[0], final[0])] == ["slim AS build", "slim"]
    assert all(each.rest.startswith("--from=build ") for each in said(final, "COPY"))
    (user,) = said(final, "USER")
    assert int(user.rest) > 0
    (stop,) = said(final, "STOPSIGNAL")
    assert stop.rest == "SIGTERM"


def test_what_the_image_copies_is_there_and_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text("utf-8").split()
    (app,) = (each.rest.partition("=")[2] for each in said(stages()[0], "ARG"))
    for copied in said(stages()[0], "COPY"):
        for source in copied.rest.split()[:-1]:
            path = source.replace("${APP}", app)
            assert (ROOT / path).exists()
            assert path not in ignored
    assert (ROOT / app / "tasks.py").is_file()


@pytest.fixture
def image(tmp_path: Path) -> dict[str, Any]:
    """Where the image's commands run: a folder with the app, and the environment that the image and its user set."""
    app = tmp_path / "app"
    shutil.copytree(ROOT / "examples/hello", app)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")}
    set_by_image = dict(re.findall(r"(HOLDFAST_\w+)=(\S+)", " ".join(each.rest for each in said(stages()[1], "ENV"))))
    data = {name: value.replace("/data", str(tmp_path)) for name, value in set_by_image.items()}
    assert data  # the database
    return {"cwd": app, "env": clean | data | {"HOLDFAST_API_KEY": "k" * 32}}


@on_one
def test_what_the_image_runs_gets_healthy_and_drains(image: dict[str, Any], processes: None, database_url: str) -> None:
    """The very commands of ENTRYPOINT, CMD and HEALTHCHECK, but for the port."""
    final = stages()[1]
    (entry,), (command,), (health,) = (said(final, word) for word in ("ENTRYPOINT", "CMD", "HEALTHCHECK"))
    assert entry.listed == ["holdfast"]
    running = subprocess.Popen(
        [*HOLDFAST, *command.listed, "--port", "0", "--json"], stdout=subprocess.PIPE, text=True, **image
    )
    try:
        assert running.stdout is not None
        text = ""
        while not text.endswith("}\n"):
            text += (line := running.stdout.readline())
            assert line, "it ended"
        port = json.loads(text)["url"].rpartition(":")[2]
        check = Instruction(*health.rest.partition("CMD ")[1:]).listed
        assert check[0] == "python"
        asked = [sys.executable, check[1], check[2].replace("8765", port)]
        deadline = time.monotonic() + SECONDS
        while subprocess.run(asked, stderr=subprocess.DEVNULL, check=False).returncode != 0:
            assert time.monotonic() < deadline, "it does not get healthy"
        running.send_signal(signal.SIGTERM)
        assert running.wait(SECONDS) == 0
    finally:
        running.kill()
        running.communicate()


@pytest.mark.slow
def test_the_files_that_the_image_copies_are_enough_to_install_it(tmp_path: Path) -> None:
    for copied in said(stages()[0], "COPY"):
        for source in copied.rest.split()[:-1]:
            if "$" not in source:
                copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
                copy(ROOT / source, tmp_path / source)
    made = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", "wheels", "."]
    built = subprocess.run(made, cwd=tmp_path, capture_output=True, text=True, check=False)
    if "Could not find a version" in built.stderr or "No matching distribution" in built.stderr:
        pytest.skip("the build backend cannot be had here")
    assert built.returncode == 0, built.stderr
    assert list((tmp_path / "wheels").glob("holdfast-*.whl"))


# -- Compose ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def services() -> dict[str, Any]:
    found = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))["services"]
    assert isinstance(found, dict)
    return found


def test_compose_has_a_server_workers_and_a_database(services: dict[str, Any]) -> None:
    assert set(services) == {"postgres", "migrate", "server", "worker"}
    ours = {name: each for name, each in services.items() if name != "postgres"}
    assert {name: each["command"][0] for name, each in ours.items()} == {name: name for name in ours}
    for each in ours.values():
        assert each["build"]["dockerfile"] == "deploy/Dockerfile"
        assert (DEPLOY / each["build"]["context"] / each["build"]["dockerfile"]).is_file()
        assert each["environment"]["HOLDFAST_DATABASE_URL"].endswith("@postgres/holdfast")
    assert services["server"]["environment"]["HOLDFAST_API_KEY"]
    assert services["server"]["ports"][0].startswith("127.0.0.1:")


@pytest.mark.parametrize("name", ["server", "worker"])
def test_compose_waits_for_the_drain_and_for_the_database(services: dict[str, Any], name: str) -> None:
    service = services[name]
    assert_patient(service["command"], service["stop_grace_period"])
    assert service["depends_on"] == {
        "postgres": {"condition": "service_healthy"},
        "migrate": {"condition": "service_completed_successfully"},
    }


def test_the_commands_of_compose_are_commands(services: dict[str, Any]) -> None:
    assert parsed(services["migrate"]["command"])["sql"] is False
    assert parsed(services["server"]["command"])["host"] == "0.0.0.0"
    assert parsed(services["worker"]["command"])["processes"] == 2
    cmd, holdfast, *check = services["worker"]["healthcheck"]["test"]
    assert (cmd, holdfast) == ("CMD", "holdfast")
    assert parsed(check)["here"] is True


# -- systemd ----------------------------------------------------------------------------------------------------------


def unit(name: str) -> configparser.ConfigParser:
    found = configparser.ConfigParser(interpolation=None, strict=False)
    found.optionxform = str  # type: ignore[assignment,method-assign]
    found.read(DEPLOY / name)
    return found


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_stops_as_a_supervisor_wants_it(name: str) -> None:
    service = unit(name)["Service"]
    program, *arguments = shlex.split(service["ExecStart"])
    assert program.endswith("/holdfast")
    assert_patient(arguments, service["TimeoutStopSec"])
    assert (service["KillMode"], service["KillSignal"]) == ("mixed", "SIGTERM")
    assert service["User"] != "root"


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_is_started_until_its_database_is_there(name: str) -> None:
    """And a worker that was drained from afar stays away: it has ended with 0."""
    found = unit(name)
    restart = "on-failure" if "worker" in name else "always"
    assert (found["Service"]["Restart"], found["Unit"]["StartLimitIntervalSec"]) == (restart, "0")


def test_a_worker_unit_survives_a_process_that_is_killed_for_its_memory() -> None:
    service = unit("holdfast-worker@.service")["Service"]
    assert (service["OOMPolicy"], service["Delegate"]) == ("continue", "yes")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
@pytest.mark.parametrize("name", UNITS)
def test_systemd_understands_the_units(name: str, tmp_path: Path) -> None:
    program = f"ExecStart={sys.executable}"
    text = re.sub(r"^ExecStart=\S+", program, (DEPLOY / name).read_text("utf-8"), flags=re.MULTILINE)
    copy = tmp_path / name.replace("@.", "@1.")
    copy.write_text(text)
    told = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(copy)],
        capture_output=True,
        text=True,
        check=False,
    )
    about = [line for line in told.stderr.splitlines() if copy.name in line]
    assert about == []


def test_the_environment_file_is_one() -> None:
    lines = (DEPLOY / "holdfast.env").read_text("utf-8").splitlines()
    names = [line.partition("=")[0] for line in lines if line and not line.startswith("#")]
    assert names == ["HOLDFAST_DATABASE_URL", "HOLDFAST_API_KEY", "HOLDFAST_PUBLIC_URL"]


# -- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_says_what_the_files_say() -> None:
    text = (ROOT / "docs" / "deploy.md").read_text("utf-8")
    kubernetes = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[0])["spec"]
    assert_patient(kubernetes["containers"][0]["args"], f"{kubernetes['terminationGracePeriodSeconds']}s")
    for file in DEPLOY.iterdir():
        assert file.name in text or file.name == "Dockerfile"
    assert f"{DEAF_SECONDS:g} seconds after its drain" in text
