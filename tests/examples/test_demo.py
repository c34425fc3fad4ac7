"""The demo as anybody runs it; and its judge, who must not let anything pass."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytestmark = pytest.mark.usefixtures("processes")

DEMO = Path(__file__).parents[2] / "examples" / "demo"
SECONDS = 90


def run_demo(folder: Path, tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run it with its results under ``tmp_path``, and end all it has started whatever happens."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")}
    process = subprocess.Popen(
        [sys.executable, str(DEMO / "run.py"), str(folder)],
        env=clean | {"TMPDIR": str(tmp_path)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        out, _ = process.communicate(timeout=SECONDS)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(process.args, process.returncode, out)


def facts(out: str) -> dict[str, int]:
    """The numbers of the table."""
    rows = re.findall(r"^│ (\w[\w ]*?) +│ +([\d.]+)", out, re.MULTILINE)
    return {name: int(float(number)) for name, number in rows}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Real files of several kinds."""
    made = tmp_path / "files"
    (made / "below").mkdir(parents=True)
    for source in sorted(DEMO.glob("*.py")):
        (made / source.name).write_bytes(source.read_bytes())
    (made / "below" / "with space, and ünïcode.txt").write_text("words and words\nTODO: more of them\n")
    (made / "below" / "binary").write_bytes(b"\0\1\2" * 100)
    (made / "below" / "latin.txt").write_bytes("é".encode("latin-1"))
    (made / "empty").touch()
    (made / ".git").mkdir()
    (made / ".git" / "config").write_text("not to be surveyed")
    (made / "link").symlink_to(made / "empty")
    return made


def test_every_file_is_there_once_although_a_worker_was_killed(folder: Path, tmp_path: Path, database_url: str) -> None:
    done = run_demo(folder, tmp_path, HOLDFAST_DATABASE_URL=database_url)
    assert done.returncode == 0, done.stdout
    told = facts(done.stdout)
    files = {
        str(each.relative_to(folder)) for each in folder.rglob("[!.]*") if each.is_file() and not each.is_symlink()
    }
    files = {name for name in files if not name.startswith(".git")}
    assert told["runs"] == told["results"] == len(files)
    assert told["recovered"] >= 1
    assert told["retries"] >= 1
    assert told["attempts"] == told["runs"] + told["retries"] + told["recovered"]
    assert told["at once"] <= 6
    assert "SIGKILL" in done.stdout
    (home,) = tmp_path.glob("holdfast-demo-*")
    with sqlite3.connect(home / "index.db") as index:
        kept = [row[0] for row in index.execute("SELECT file FROM entry")]
    assert sorted(kept) == sorted(files)
    assert "TODO: more of them" in (home / "report.md").read_text()
    assert database_url.startswith("sqlite") or not (home / "holdfast.db").exists()


def test_one_file_is_enough(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "only.txt").write_text("alone")
    done = run_demo(tmp_path / "files", tmp_path)
    assert done.returncode == 0, done.stdout
    assert facts(done.stdout)["runs"] == 1


@pytest.mark.parametrize("name", ["empty", "missing"])
def test_no_files_no_demo(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    done = run_demo(tmp_path / name, tmp_path)
    assert done.returncode == 2
    assert str(tmp_path / name) in done.stdout
    assert "Name" in done.stdout


# -- the judge --------------------------------------------------------------------------------------------------------


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(DEMO))
    import verdict

    return verdict


class Ran:
    """A finished run, as far as the judge looks at it."""

    def __init__(self, file: str, attempts: int = 1, status: str = "completed") -> None:
        from reading import Entry

        self.id, self.attempts, self.status, self.ok = f"run-{file}", attempts, status, status == "completed"
        self.output = Entry(file=file, language="Text")
        self.payload, self.error = {"file": file}, None


def sound() -> dict[str, Any]:
    """Three files: a plain one, one that was retried, one whose worker was killed."""
    from index import Visit

    runs = [Ran("a"), Ran("b", attempts=2), Ran("c")]
    visits = [
        Visit(1, "run-a", 1, "a", 10, 1, 0.0, 1.0, "done"),
        Visit(2, "run-b", 1, "b", 10, 1, 0.0, 1.0, "busy"),
        Visit(3, "run-c", 1, "c", 11, 1, 0.5, None, None),
        Visit(4, "run-b", 2, "b", 10, 1, 1.0, 2.0, "done"),
        Visit(5, "run-c", 1, "c", 10, 1, 2.0, 3.0, "done"),
    ]
    entries = [(run.id, run.output) for run in runs]
    from verdict import Kill

    return {
        "files": ["a", "b", "c"],
        "runs": runs,
        "entries": entries,
        "visits": visits,
        "kills": [Kill(11, 1.5, visits[2:3])],
        "limit": 3,
    }


def test_a_sound_survey_is_good(judge: ModuleType) -> None:
    verdict = judge.judge(**sound())
    assert verdict.wrong == []
    assert verdict[:6] == (3, 5, 1, 1, 3, 3)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda it: it["entries"].pop(), "c is missing"),
        (lambda it: it["entries"].append(("run-x", it["entries"][0][1])), "a is in the index 1 times too often"),
        (lambda it: it["runs"].__setitem__(0, Ran("a", status="failed")), "a ended as failed"),
        (lambda it: it["runs"][0].output.__dict__.update(lines=7), "returned one thing"),
        (lambda it: it["visits"].append(it["visits"][0]._replace(id=6, attempt=2)), "6 attempts were started"),
        (lambda it: it.update(limit=2), "3 runs were carried out at once"),
        (lambda it: it["visits"].pop(), "no run was recovered"),
        (lambda it: setattr(it["runs"][1], "attempts", 1), "no attempt failed"),
    ],
)
def test_nothing_passes_the_judge(judge: ModuleType, spoil: Any, said: str) -> None:
    survey = sound()
    survey["entries"] = [(run_id, entry.model_copy()) for run_id, entry in survey["entries"]]
    spoil(survey)
    assert any(said in wrong for wrong in judge.judge(**survey).wrong)
