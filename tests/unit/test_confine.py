"""What a machine means on a host: with cgroups, in a tree that stands in for the kernel's, and without."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast import Machine
from holdfast.sizes import MIB
from holdfast.worker.isolated import confine
from holdfast.worker.isolated.confine import Cage


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory with the files of a cgroup that was handed to us."""
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    (tmp_path / "cgroup.subtree_control").write_text("\n")
    (tmp_path / "cgroup.procs").write_text("1\n")
    monkeypatch.setenv("HOLDFAST_CGROUP", str(tmp_path))
    confine.cgroup_root.cache_clear()
    yield tmp_path
    confine.cgroup_root.cache_clear()


def test_a_cgroup_that_was_handed_over_gets_its_processes_into_a_leaf(root: Path) -> None:
    """A cgroup whose children have limits may hold no processes itself."""
    (root / confine.LEAF).mkdir()
    assert confine.cgroup_root() == root
    assert (root / confine.LEAF / "cgroup.procs").read_text() == "1"
    assert (root / "cgroup.subtree_control").read_text() == "+cpu +memory"
    assert "held by the kernel" in confine.enforced()[0]


def test_without_the_controllers_there_are_no_cgroups(root: Path) -> None:
    (root / "cgroup.controllers").write_text("pids\n")
    assert confine.cgroup_root() is None
    assert "watched" in confine.enforced()[0]


def test_a_run_is_held_to_its_machine(root: Path) -> None:
    cage = confine.cage_of(77, 5)
    assert cage is not None
    cage.close_around(Machine(cpu=0.25, memory="250MB"))
    said = {file.name: file.read_text() for file in cage.path.iterdir()}
    assert said["memory.max"] == str(250 * MIB)
    assert said["memory.swap.max"] == "0"
    assert said["memory.oom.group"] == "1"
    assert said["cpu.max"] == "25000 100000"
    assert said["cgroup.procs"] == "0"


def test_what_the_kernel_tells_afterwards(tmp_path: Path) -> None:
    cage = Cage(tmp_path)
    assert (cage.ran_out(), cage.peak(), cage.cpu()) == (False, 0, 0.0)
    (tmp_path / "memory.events").write_text("low 0\nhigh 0\nmax 12\noom 1\noom_kill 1\n")
    (tmp_path / "memory.peak").write_text("262144000\n")
    (tmp_path / "cpu.stat").write_text("usage_usec 1500000\nuser_usec 1\n")
    assert (cage.ran_out(), cage.peak(), cage.cpu()) == (True, 250 * MIB, 1.5)


def test_nobody_takes_a_cgroup_that_was_not_handed_over(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory\n")
    table = tmp_path / "table"
    table.write_text("0::/user.slice/session-1.scope\n")
    found = confine.own_cgroup(table, tmp_path)
    assert found == tmp_path / "user.slice/session-1.scope"
    assert not confine.delegated(found)


def test_a_worker_that_has_moved_finds_the_same_cgroup_again(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory\n")
    table = tmp_path / "table"
    table.write_text(f"0::/system.slice/holdfast.service/{confine.LEAF}\n")
    assert confine.own_cgroup(table, tmp_path) == tmp_path / "system.slice/holdfast.service"


@pytest.mark.parametrize(
    ("cpu", "number", "cores"),
    [(0.25, 0, {4}), (0.25, 1, {5}), (1, 2, {6}), (1.5, 3, {7, 4}), (2, 0, {4, 5}), (8, 1, {4, 5, 6, 7})],
)
def test_runs_take_turns_at_cores(cpu: float, number: int, cores: set[int]) -> None:
    assert confine.cores(cpu, number, [4, 5, 6, 7]) == cores


def test_less_than_a_core_stands_back() -> None:
    assert [confine.niceness(cpu) for cpu in (0.1, 0.5, 1, 4)] == [9, 5, 0, 0]


def test_a_family_is_found_whole_and_what_it_shares_is_counted_once() -> None:
    """Three that are forked from one which has 64 MB have not 192 MB."""
    code = (
        f"kept = b'x' * {64 * MIB}; import os, sys; [os.fork() for _ in range(2)]; print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(4):
            process.stdout.readline()
        family = confine.family(process.pid)
        assert len(family) == 4
        assert sum(map(confine.resident, family)) > 4 * 64 * MIB
        assert 64 * MIB < confine.memory(family, most=1) < 2 * 64 * MIB
        process.communicate()


def test_of_a_process_that_is_gone_there_is_nothing() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert confine.family(gone.pid) == [gone.pid]
    assert confine.memory([gone.pid], most=1) == 0
    assert os.getpid() in confine.family(os.getpid())
