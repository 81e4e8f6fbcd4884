"""Names are the field's: what had a name of our own keeps none of it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).parents[1]
THIS = Path(__file__)
PACKAGES = ("actors", "streams", "api", "deploy", "tests")

OLD_NAMES = {
    "keep",
    "tell",
    "untold",
    "Untold",
    "told_at",
    "sweep_untold",
    "letter",
    "Letter",
    "letters",
    "put_aside",
    "tell_rejected",
    "settle",
    "Place",
    "owed",
    "NotYet",
    "NameBook",
    "namebook",
    "promise",
    "promised",
    "Reach",
    "reach",
    "Backlog",
    "insist",
    "Deck",
    "deck",
    "Play",
    "Away",
    "Inside",
    "look",
}
OLD_WORDS = re.compile(
    r"killmails_told|told_at|feed_untold|\buntold\b|put_aside|\bNotYet\b|\bNameBook\b|## The walk"
    r"|What was refused, what gave up|tell_rejected|\bdeck\b|\binsist\b"
)
UPGRADES = {
    "actors/worker.py",
    "tests/deploy/test_upgrade.py",
    "tests/deploy/test_migration_from_0001.py",
}
"""Where what 0.1.0 wrote is read."""


def test_no_identifier_has_an_old_name() -> None:
    found = [
        f"{path.relative_to(PROJECT)}: {name}"
        for path in _sources()
        for name in OLD_NAMES & set(_identifiers(ast.parse(path.read_text())))
    ]
    assert found == []


def test_no_text_has_an_old_name() -> None:
    files = [*_sources(), *PROJECT.glob("*.md"), *PROJECT.glob("*/*.md"), PROJECT / "schema.sql"]
    found = [
        f"{path.relative_to(PROJECT)}: {match[0]}"
        for path in files
        for match in OLD_WORDS.finditer(path.read_text())
    ]
    assert found == []


def _sources() -> Iterator[Path]:
    for package in PACKAGES:
        for path in (PROJECT / package).rglob("*.py"):
            name = str(path.relative_to(PROJECT))
            if name not in UPGRADES and "migrations" not in path.parts and path != THIS:
                yield path


def _identifiers(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.ClassDef(name=name) | ast.alias(name=name):
                yield name.rpartition(".")[2]
            case ast.keyword(arg=str(name)):
                yield name
