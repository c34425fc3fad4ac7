"""What there is here for runs with machines, as cgroups and the host say it."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.sizes import MIB
from holdfast.worker import capacity
from holdfast.worker.capacity import Room, detect

HOST = Room(8000, 16_384 * MIB)


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "host_room", lambda: HOST)


def looked(folder: Path, table: str, files: dict[str, str]) -> Room:
    (folder / "table").write_text(table)
    for name, text in files.items():
        file = folder / "fs" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    return detect(folder / "table", folder / "fs")


@pytest.mark.parametrize(
    ("table", "files", "room"),
    [
        ("0::/\n", {"cpu.max": "max 100000", "memory.max": "max"}, HOST),
        ("0::/\n", {"cpu.max": "150000 100000", "memory.max": str(512 * MIB)}, Room(1500, 512 * MIB)),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "50000 100000"}, Room(500, HOST.memory_bytes)),
        ("0::/a/b\n", {"a/b/memory.max": str(900 * MIB), "a/memory.max": str(300 * MIB)}, Room(8000, 300 * MIB)),
        ("0::/kubepods/pod1\n", {"memory.max": str(256 * MIB)}, Room(8000, 256 * MIB)),
        (
            "4:memory:/docker/x\n1:cpu,cpuacct:/docker/x\n",
            {
                "memory/docker/x/memory.limit_in_bytes": str(1024 * MIB),
                "cpu/docker/x/cpu.cfs_quota_us": "200000",
                "cpu/docker/x/cpu.cfs_period_us": "100000",
            },
            Room(2000, 1024 * MIB),
        ),
        (
            "4:memory:/\n1:cpu:/\n",
            {
                "memory/memory.limit_in_bytes": "9223372036854771712",
                "cpu/cpu.cfs_quota_us": "-1",
                "cpu/cpu.cfs_period_us": "100000",
            },
            HOST,
        ),
        ("0::/\n", {"cpu.max": "1600000 100000", "memory.max": str(1 << 50)}, HOST),
        ("0::/\n", {"cpu.max": "nonsense", "memory.max": ""}, HOST),
    ],
    ids=["none", "v2", "cpu above", "memory above", "not namespaced", "v1", "v1 none", "more than there is", "odd"],
)
def test_the_smallest_limit_counts(tmp_path: Path, table: str, files: dict[str, str], room: Room) -> None:
    assert looked(tmp_path, table, files) == room


def test_where_there_are_no_cgroups_the_host_counts(tmp_path: Path) -> None:
    assert detect(tmp_path / "nothing", tmp_path / "nowhere") == HOST


def test_processes_share_what_there_is() -> None:
    assert Room(4000, 8192 * MIB).share(3) == Room(1333, 8192 * MIB // 3)
