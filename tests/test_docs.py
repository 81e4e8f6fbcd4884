"""What the documents say is so."""

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import msgspec
import pytest
import typer
from prometheus_client import REGISTRY

from actors.broker import DATABASE_QUEUE, ESI_QUEUE
from actors.shared.feed import Entry, ImportedDay
from actors.shared.health.kafka import GROUP
from actors.shared.queues import Queue
from actors.shared.reference import Reference
from actors.shared.rejection import Rejection
from actors.shared.settings import NOT_SETTINGS, PREFIX, Settings
from actors.shared.topics import DAY_MS, TOPICS
from deploy.backlog_metrics import BacklogCollector
from deploy.cli import app
from deploy.server_probes import ServerProbes, probe_backlogs
from streams.asyncapi.__main__ import FILE, text

PROJECT = Path(__file__).resolve().parents[1]
README = PROJECT / "README.md"
OPERATORS = PROJECT / "deploy" / "README.md"
ENGINEERS = PROJECT / "streams" / "README.md"
DOCUMENTS = sorted(
    [README, *(PROJECT / name / "README.md" for name in ("actors", "streams", "api", "deploy"))]
)
DOCUMENTS = [document for document in DOCUMENTS if document.exists()]
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def table(document: Path, first_header: str) -> list[list[str]]:
    """Give the rows of the table whose first column has this header."""
    lines = iter(document.read_text().splitlines())
    for line in lines:
        if line.startswith(f"| {first_header} |"):
            next(lines)
            return [_cells(row) for row in _while_table(lines)]
    raise AssertionError(f"{document.name} has no table of {first_header}")


def _while_table(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        if not line.startswith("|"):
            return
        yield line


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip().strip("|").split("|")]


def code(document: Path) -> list[str]:
    """Give what stands between backticks, in a line or as a block."""
    text = document.read_text()
    return re.findall(r"```\w*\n.*?```|`[^`\n]+`", text, re.DOTALL)


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", document.read_text(), re.DOTALL)


def test_settings_are_listed_with_their_defaults_and_docstrings() -> None:
    said = {name: (default, text) for name, default, text in table(OPERATORS, "setting")}
    assert said == {
        f"`{PREFIX}{name.upper()}`": (
            f"`{text}`" if (text := _environment_text(field.default)) else "",
            field.description,
        )
        for name, field in Settings.model_fields.items()
    }


def _environment_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def test_metrics_that_are_listed_exist() -> None:
    listed = {name for row in table(OPERATORS, "metric") for name in re.findall(r"`(\w+)`", row[0])}
    import_module("api.app")  # the gateway's metrics
    families = [
        *REGISTRY.collect(),
        *BacklogCollector(ServerProbes(Settings(), probe_backlogs)).describe(),
    ]
    kinds = {"counter": "_total"}
    assert listed <= {family.name + kinds.get(family.type, "") for family in families}


def test_commands_are_listed() -> None:
    said = [name for name, _ in table(OPERATORS, "command")]
    assert sorted(said) == sorted(f"`killstream {name}`" for name in COMMANDS)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_teaches_with_an_example(name: str) -> None:
    assert re.search(r"Example: .*killstream|curl ", COMMANDS[name].help or "")


def test_queues_are_listed() -> None:
    assert [name for name, *_ in table(OPERATORS, "queue")] == [f"`{queue}`" for queue in Queue]
    assert {DATABASE_QUEUE, ESI_QUEUE} <= set(re.findall(r"`(\w+)`", ENGINEERS.read_text()))


def test_topics_are_listed_with_partitions_and_retention() -> None:
    said = {(row[0], row[3], row[4]) for row in table(ENGINEERS, "topic")}
    assert said == {
        (f"`{topic.name}`", str(topic.partitions), f"{topic.retention_ms // DAY_MS} days")
        for topic in TOPICS
    }


def test_shapes_are_those_of_the_messages() -> None:
    shapes = [msgspec.json.decode(block) for block in blocks(ENGINEERS, "json")]
    assert [set(shape) for shape in shapes] == [
        {*struct.__struct_fields__, "v"} for struct in (Entry, ImportedDay, Reference, Rejection)
    ]
    assert {shape["v"] for shape in shapes} == {1, 2}


def test_the_asyncapi_document_is_the_generated_one() -> None:
    assert FILE.read_text() == text(), "run `just asyncapi`"


def test_example_reads_a_topic_of_ours_in_a_group_of_its_own() -> None:
    example, *_ = blocks(ENGINEERS, "python")
    texts = {
        node.value
        for node in ast.walk(ast.parse(example))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert texts & {topic.name for topic in TOPICS}
    assert GROUP not in texts
    assert f"but `{GROUP}`" in ENGINEERS.read_text()


def test_readme_fits_a_screen() -> None:
    assert len(README.read_text().splitlines()) <= 80


def test_walk_names_files_that_exist() -> None:
    files = [row[0].strip("`") for row in table(README, "file")]
    assert files
    assert [file for file in files if not (PROJECT / file).is_file()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.parent.name)
def test_recipes_commands_settings_and_links_exist(document: Path) -> None:
    text = document.read_text()
    recipes = re.findall(
        r"^([a-z][\w-]*)[^:=\n]*:(?!=)", (PROJECT / "justfile").read_text(), re.MULTILINE
    )
    spoken = "\n".join(code(document))
    assert set(re.findall(r"\bjust ([a-z][\w-]*)", spoken)) - {"just"} <= set(recipes)
    assert set(re.findall(r"\bkillstream ([a-z]+)\b", spoken)) <= set(COMMANDS)
    known = {PREFIX + name.upper() for name in Settings.model_fields} | NOT_SETTINGS
    assert set(re.findall(rf"\b{PREFIX}[A-Z0-9_]+", text)) <= known
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    assert [link for link in links if not (document.parent / link).exists()] == []
