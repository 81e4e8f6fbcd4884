"""PostgreSQL, step by step."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Final

import asyncpg

from actors.shared.database import check_schema, open_database
from actors.shared.errors import KillstreamError
from actors.shared.postgres import Connection, Connector, Limits
from actors.shared.postgres_url import read_url
from actors.shared.settings import PREFIX, Settings, masked
from deploy.cli.diagnose.finding import PATIENCE_S, Failed, Finding, attempt, said_ms

NAME: Final = f"{PREFIX}DATABASE_URL"
LIMITS: Final = Limits(connect_s=PATIENCE_S, command_s=PATIENCE_S)


async def postgres_steps(settings: Settings) -> AsyncIterator[Finding]:
    """Try PostgreSQL: environment, login, tables, writing, connections.

    Ends with the first step that fails: those after it would fail for the same reason. What is
    written is rolled back.
    """
    if not settings.database_url:
        yield Finding(
            "environment",
            f"{NAME} is not set",
            f"set {NAME}=postgresql://USER:PASSWORD@HOST:5432/DATABASE; `just services` starts one"
            " on this host, and `killstream up` needs none",
        )
        return
    yield Finding("environment", f"{NAME}={masked(settings.database_url)}")
    connector = Connector(read_url(settings.database_url), "diagnose", LIMITS)
    try:
        for step, trying in (
            ("login", partial(_log_in, connector)),
            ("tables", partial(_check_tables, settings)),
            ("writing", partial(_write, connector)),
            ("connections", partial(_count_connections, connector, settings)),
        ):
            finding = await attempt(step, trying(), _advice)
            yield finding
            if finding.advice:
                return
    finally:
        connector.terminate()


async def _log_in(connector: Connector) -> str:
    began_s = asyncio.get_running_loop().time()
    connection = await connector.connect()
    connected = said_ms(began_s)
    try:
        began_s = asyncio.get_running_loop().time()
        version = await connection.fetchval("SHOW server_version")
        pooler = ", behind a transaction pooler" if connector.behind_pooler else ""
        return f"PostgreSQL {version}{pooler}; {connected} to connect, {said_ms(began_s)} to answer"
    finally:
        await connection.close()


async def _check_tables(settings: Settings) -> str:
    async with open_database(settings, "diagnose", limits=LIMITS) as database:
        try:
            await check_schema(database)
        except KillstreamError as error:
            raise Failed(str(error), "run `killstream migrate`, with this version") from None
    return "they are those of this version"


async def _write(connector: Connector) -> str:
    connection = await connector.connect()
    try:
        began_s = asyncio.get_running_loop().time()
        transaction = connection.transaction()
        await transaction.start()
        try:
            await _touch(connection)
        finally:
            await transaction.rollback()
        return f"{said_ms(began_s)} for a change that was rolled back"
    finally:
        await connection.close()


async def _touch(connection: Connection) -> None:
    await connection.execute("SET LOCAL lock_timeout = '3s'")  # storing waits behind this lock
    await connection.execute("UPDATE feed_counter SET last_sequence = last_sequence")


async def _count_connections(connector: Connector, settings: Settings) -> str:
    connection = await connector.connect()
    try:
        most = int(await connection.fetchval("SHOW max_connections"))
        used = int(await connection.fetchval("SELECT count(*) FROM pg_stat_activity"))
    finally:
        await connection.close()
    said = f"{used} of {most} are used; a process of ours takes up to {settings.database_pool_size}"
    if most - used < settings.database_pool_size and not connector.behind_pooler:
        raise Failed(
            said,
            f"raise PostgreSQL's max_connections, lower {PREFIX}DATABASE_POOL_SIZE, or run fewer"
            " processes",
        )
    return said


def _advice(error: Exception) -> str:
    match error:
        case asyncpg.InvalidPasswordError() | asyncpg.InvalidAuthorizationSpecificationError():
            return f"user or password in {NAME} are wrong, or pg_hba.conf keeps this host out"
        case asyncpg.InvalidCatalogNameError():
            return f"create the database (CREATE DATABASE …), or correct its name in {NAME}"
        case asyncpg.TooManyConnectionsError():
            return "raise PostgreSQL's max_connections, or run fewer processes"
        case asyncpg.InsufficientPrivilegeError():
            return "the user must own our tables: run `killstream migrate` as this user"
        case asyncpg.ReadOnlySQLTransactionError():
            return f"this server only reads (a standby?): name the primary in {NAME}"
        case asyncpg.LockNotAvailableError():
            return (
                "another transaction holds the feed's counter for seconds: look for it in"
                " pg_stat_activity (state `idle in transaction`)"
            )
        case asyncpg.DiskFullError() | asyncpg.OutOfMemoryError():
            return "give PostgreSQL space; it goes on by itself then"
    return (
        f"start PostgreSQL there (`just services` on this host), or correct the host and port in"
        f" {NAME}; from another host check `listen_addresses`, pg_hba.conf and the firewall"
    )
