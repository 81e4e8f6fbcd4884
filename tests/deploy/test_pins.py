"""The pins are what pyproject.toml asks for, each with its hashes: `just lock` makes them."""

import importlib.metadata
import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).resolve().parents[2]
FILES = {"requirements.txt": "build", "requirements-dev.txt": "dev"}
"""Each file with the dependency group that it holds beside what the project itself needs."""


def pins(file: str) -> list[str]:
    """One pin an entry, with its marker and hashes, continued lines joined."""
    return (PROJECT / file).read_text().replace("\\\n", "").splitlines()


def pinned_here(file: str) -> dict[str, str]:
    """The version of each package that this platform takes."""
    requirements = [Requirement(pin.split("--hash")[0]) for pin in pins(file)]
    return {
        canonicalize_name(one.name): str(one.specifier).removeprefix("==")
        for one in requirements
        if one.marker is None or one.marker.evaluate()
    }


def asked_for(group: str) -> list[Requirement]:
    """What pyproject.toml names: the project's dependencies and those of a group."""
    declared = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    names: list[str] = declared["project"]["dependencies"]
    return [Requirement(name) for name in [*names, *_group(declared["dependency-groups"], group)]]


def _group(groups: dict[str, Any], name: str) -> Iterator[str]:
    for entry in groups[name]:
        if isinstance(entry, str):
            yield entry
        else:
            yield from _group(groups, entry["include-group"])


def needed_here(requirements: Iterable[Requirement]) -> set[str]:
    """The packages that these take, directly or not, by what is installed."""
    seen: set[tuple[str, str]] = set()
    wanted = list(requirements)
    while wanted:
        one = wanted.pop()
        for extra in {"", *one.extras}:
            name = canonicalize_name(one.name)
            applies = one.marker is None or one.marker.evaluate()
            if applies and (name, extra) not in seen:
                seen.add((name, extra))
                wanted += _requirements(name, extra)
    return {name for name, _ in seen}


def _requirements(name: str, extra: str) -> Iterator[Requirement]:
    for text in importlib.metadata.requires(name) or []:
        one = Requirement(text)
        if one.marker is None or one.marker.evaluate({"extra": extra}):
            one.marker = None
            yield one


@pytest.mark.parametrize("file", FILES)
def test_each_pin_has_hashes_and_no_address(file: str) -> None:
    assert [pin for pin in pins(file) if not re.search(r"--hash=sha256:[0-9a-f]{64}", pin)] == []
    assert "://" not in (PROJECT / file).read_text()


@pytest.mark.parametrize(("file", "group"), FILES.items())
def test_pins_meet_the_requirements_of_the_project(file: str, group: str) -> None:
    requirements = [one for one in asked_for(group) if one.marker is None or one.marker.evaluate()]
    pinned = pinned_here(file)
    wrong = [
        str(one)
        for one in requirements
        if not one.specifier.contains(pinned.get(canonicalize_name(one.name), "0"))
    ]
    assert wrong == [], "run `just lock`"
    assert set(pinned) == needed_here(requirements), "run `just lock`"


def test_both_files_pin_the_same_versions() -> None:
    assert set(pins("requirements.txt")) <= set(pins("requirements-dev.txt"))
