"""Machines as values: what can be said, what they are called, what fits into what."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import InvalidOption, Machine
from holdfast.machine import PRESETS, machine_in, machine_of
from holdfast.sizes import MIB


def test_the_presets_are_what_the_page_says() -> None:
    said = {name: (each.cpu, each.memory_bytes // MIB) for name, each in PRESETS.items()}
    assert said == {
        "micro": (0.25, 256),
        "small-1x": (0.5, 512),
        "small-2x": (1, 1024),
        "medium-1x": (1, 2048),
        "medium-2x": (2, 4096),
        "large-1x": (4, 8192),
        "large-2x": (8, 16_384),
    }


@pytest.mark.parametrize(
    ("memory", "megabytes"),
    [
        ("250MB", 250),
        ("250 mib", 250),
        ("0.5GB", 512),
        ("1.5G", 1536),
        (250 * MIB, 250),
        (250 * MIB + 1, 251),
        ("99999KB", 98),
    ],
)
def test_memory_counts_in_whole_megabytes(memory: Any, megabytes: int) -> None:
    assert Machine(cpu=1, memory=memory).memory_bytes == megabytes * MIB


@pytest.mark.parametrize(
    "machine", [*PRESETS.values(), Machine(cpu=1.5, memory="250MB"), Machine(cpu=0.1234, memory="1TB")]
)
def test_a_machine_is_known_by_a_word(machine: Machine) -> None:
    assert machine_of(machine.name) == machine
    assert machine_of(machine.name).memory_bytes == machine.memory_bytes


def test_one_that_is_as_large_as_a_preset_is_that_preset() -> None:
    assert Machine(cpu=1, memory="2GB").name == "medium-1x"
    assert str(Machine(cpu=0.25, memory="250MB")) == "0.25 vCPU, 250 MB"


@pytest.mark.parametrize(
    "given",
    [
        {"cpu": 0, "memory": "1GB"},
        {"cpu": True, "memory": "1GB"},
        {"cpu": float("nan"), "memory": "1GB"},
        {"cpu": "1", "memory": "1GB"},
        {"cpu": 1, "memory": "1"},
        {"cpu": 1, "memory": "much"},
        {"cpu": 1, "memory": 1},
        {"cpu": 1, "memory": True},
        {"cpu": 1, "memory": "9" * 5000 + "GB"},
    ],
)
def test_what_no_machine_is(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption, match=r"cpu is not a number|memory is not a size"):
        Machine(**given)


@pytest.mark.parametrize("word", ["large", "", 5, None, "0cpu-1mb", "1cpu-1mb", "1cpu-999999999mb", "x" * 10_000])
def test_what_is_no_word_of_a_machine(word: Any) -> None:
    with pytest.raises(InvalidOption, match="machine is not a machine"):
        machine_of(word)


def test_what_fits() -> None:
    large = PRESETS["large-1x"]
    assert PRESETS["medium-2x"].fits(large)
    assert large.fits(large)
    assert not PRESETS["large-2x"].fits(large)
    assert not Machine(cpu=0.1, memory="9GB").fits(large)


def test_the_machine_among_a_runs_options() -> None:
    assert machine_in('{"machine":"micro"}') == "micro"
    assert machine_in('{"max_attempts":2}') is machine_in(None) is machine_in('{"machine":5}') is None
