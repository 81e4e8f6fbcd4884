"""The house holds: layers, the rule of `actors/shared/`, one schema in three places."""

import ast
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest
from sqlalchemy import Connection, inspect
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from actors.shared.settings import Settings
from actors.shared.tables import METADATA
from deploy.migrate import migrate
from tests.support.servers import fresh_database

PROJECT: Final = Path(__file__).resolve().parents[1]
PACKAGES: Final = ("actors", "streams", "api", "deploy")
SHARED: Final = "actors.shared"


def test_import_contracts_hold() -> None:
    command = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([command], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_shared_has_two_users() -> None:
    """Two packages, or one and another shared module."""
    users = _users_of_shared()
    lonely = {
        module: sorted(users[module])
        for module in _shared_modules()
        if len(users[module]) < 2 or users[module] == {SHARED}
    }
    assert lonely == {}


def _shared_modules() -> set[str]:
    """Modules and packages right below `actors/shared/`."""
    folder = PROJECT / SHARED.replace(".", "/")
    packages = {path.parent.name for path in folder.glob("*/__init__.py")}
    return packages | {path.stem for path in folder.glob("[!_]*.py")}


def _users_of_shared() -> dict[str, set[str]]:
    """Who imports each of them: `actors` (outside shared), `streams`, `api`, `deploy`, shared."""
    users: dict[str, set[str]] = defaultdict(set)
    for package in PACKAGES:
        for path in (PROJECT / package).rglob("*.py"):
            dotted = ".".join(path.relative_to(PROJECT).with_suffix("").parts)
            mine = dotted.removeprefix(f"{SHARED}.").split(".")[0]
            user = SHARED if dotted.startswith(f"{SHARED}.") else package
            for module in _imported_from_shared(path):
                if user != SHARED or module != mine:
                    users[module].add(user)
    return users


def _imported_from_shared(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    prefix = f"{SHARED}."
    return {name.removeprefix(prefix).split(".")[0] for name in found if name.startswith(prefix)}


def test_whoever_catches_everything_raises_or_says_why() -> None:
    silent = [
        f"{path.relative_to(PROJECT)}:{handler.lineno}"
        for package in PACKAGES
        for path in (PROJECT / package).rglob("*.py")
        for handler in _catching_everything(path)
        if "#" not in path.read_text().splitlines()[handler.lineno - 1]
        and not any(isinstance(node, ast.Raise) for node in ast.walk(handler))
    ]
    assert silent == []


def _catching_everything(path: Path) -> list[ast.ExceptHandler]:
    broad = (None, "Exception", "BaseException")
    return [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler) and (node.type and ast.unparse(node.type)) in broad
    ]


async def test_sqlite_is_the_same_from_tables_and_migrations(tmp_path: Path) -> None:
    tables, migrations = Settings(data_dir=tmp_path / "a"), Settings(data_dir=tmp_path / "b")
    (tmp_path / "a").mkdir()
    await _create_tables(tables.database_dsn)
    await migrate(migrations)
    assert await _described(migrations.database_dsn) == await _described(tables.database_dsn)


@pytest.mark.service
async def test_postgresql_is_the_same_from_schema_tables_and_migrations() -> None:
    async with fresh_database() as schema, fresh_database() as tables, fresh_database() as migrated:
        await _load(schema, (PROJECT / "schema.sql").read_text())
        await _create_tables(tables)
        await migrate(Settings(database_url=migrated))
        wanted = await _catalogue(schema)
        assert await _catalogue(migrated) == wanted
        assert len(wanted["parameters"]) == 10
        assert len(wanted.pop("views")) == 3  # which no SQLModel class makes
        assert await _catalogue(tables) == wanted | {"views": []}


async def _create_tables(url: str) -> None:
    engine = create_async_engine(url, poolclass=NullPool)
    async with engine.begin() as connection:
        await connection.run_sync(METADATA.create_all)


async def _described(url: str) -> dict[str, Any]:
    """What SQLAlchemy sees of an SQLite file."""

    def describe(connection: Connection) -> dict[str, Any]:
        seen = inspect(connection)
        return {
            name: (
                [(c["name"], _affinity(c["type"]), c["nullable"]) for c in seen.get_columns(name)],
                seen.get_pk_constraint(name)["constrained_columns"],
                seen.get_foreign_keys(name),
                [_index(**index) for index in seen.get_indexes(name)],
            )
            for name in seen.get_table_names()
            if name != "alembic_version"
        }

    engine = create_async_engine(url, poolclass=NullPool)
    async with engine.connect() as connection:
        return await connection.run_sync(describe)


def _index(dialect_options: dict[str, Any], **index: Any) -> dict[str, Any]:
    """Conditions as text: two of the same aren't equal as objects."""
    return index | {option: str(value) for option, value in dialect_options.items()}


def _affinity(column_type: object) -> str:
    """SQLite has one type for FLOAT and DOUBLE."""
    return str(column_type).replace("FLOAT", "DOUBLE")


async def _load(url: str, statements: str) -> None:
    connection = await asyncpg.connect(_plain(url))
    await connection.execute(statements)
    await connection.close()


async def _catalogue(url: str) -> dict[str, list[str]]:
    """What PostgreSQL itself says of its tables: columns in order, keys and so on; and views."""
    connection = await asyncpg.connect(_plain(url))
    columns = await connection.fetch(
        """
        SELECT format('%s.%s %s%s', attrelid::regclass, attname,
                      format_type(atttypid, atttypmod), CASE WHEN attnotnull THEN ' NOT NULL' END)
        FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0
          AND relname <> 'alembic_version' AND NOT attisdropped
        ORDER BY relname, attnum
        """
    )
    keys = await connection.fetch(
        """
        SELECT format('%s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
        FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace AND conname NOT LIKE 'alembic%' ORDER BY 1
        """
    )
    indexes = await connection.fetch(
        """
        SELECT indexdef FROM pg_indexes
        WHERE schemaname = 'public' AND tablename <> 'alembic_version' ORDER BY 1
        """
    )
    parameters = await connection.fetch(
        """
        SELECT format('%s %s', relname, array(SELECT unnest(reloptions) ORDER BY 1)) FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND reloptions IS NOT NULL ORDER BY 1
        """
    )
    views = await connection.fetch(
        """
        SELECT format('%s %s', viewname, definition) FROM pg_views
        WHERE schemaname = 'public' ORDER BY 1
        """
    )
    await connection.close()
    return {
        "views": [row[0] for row in views],
        "columns": [row[0] for row in columns],
        "keys": [row[0] for row in keys],
        "indexes": [row[0] for row in indexes],
        "parameters": [row[0] for row in parameters],
    }


def _plain(url: str) -> str:
    return url.replace("+asyncpg", "")


def test_no_file_names_a_path_of_some_machine() -> None:
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z"],
        cwd=PROJECT,
        capture_output=True,
        check=True,
    )
    here = re.escape(str(PROJECT)).encode()
    somewhere = re.compile(here + rb"|/home/\w+|/Users/\w+|\b[A-Z]:\\Users")
    found = {
        name.decode(): match.group().decode()
        for name in listed.stdout.split(b"\0")[:-1]
        if (path := PROJECT / name.decode()).is_file()
        and (match := somewhere.search(path.read_bytes()))
    }
    assert found == {}
