"""The steps for PostgreSQL."""

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
from deploy.cli.diagnose.finding import ANSWER_S, Failed, Finding, elapsed_ms, run_step

NAME: Final = f"{PREFIX}DATABASE_URL"
LIMITS: Final = Limits(connect_s=ANSWER_S, command_s=ANSWER_S)


async def postgres_steps(settings: Settings) -> AsyncIterator[Finding]:
    """Check PostgreSQL: environment, login, tables, writing, connections.

    Ends with the first step that fails, as the next ones would fail for the same reason. Its one
    write is rolled back.
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
        for step, run in (
            ("login", partial(_log_in, connector)),
            ("tables", partial(_check_tables, settings)),
            ("writing", partial(_write, connector)),
            ("connections", partial(_count_connections, connector, settings)),
        ):
            finding = await run_step(step, run(), _advice)
            yield finding
            if finding.advice:
                return
    finally:
        connector.terminate()


async def _log_in(connector: Connector) -> str:
    began_s = asyncio.get_running_loop().time()
    connection = await connector.connect()
    connected = elapsed_ms(began_s)
    try:
        began_s = asyncio.get_running_loop().time()
        version = await connection.fetchval("SHOW server_version")
        pooler = ", behind a transaction pooler" if connector.behind_pooler else ""
        return (
            f"PostgreSQL {version}{pooler}; {connected} to connect, {elapsed_ms(began_s)} to answer"
        )
    finally:
        await connection.close()


async def _check_tables(settings: Settings) -> str:
    async with open_database(settings, "diagnose", limits=LIMITS) as database:
        try:
            await check_schema(database)
        except KillstreamError as error:
            raise Failed(str(error), "run `killstream migrate`, with this version") from None
    return "the schema is this version's"


async def _write(connector: Connector) -> str:
    connection = await connector.connect()
    try:
        began_s = asyncio.get_running_loop().time()
        transaction = connection.transaction()
        await transaction.start()
        try:
            await _update_counter(connection)
        finally:
            await transaction.rollback()
        return f"{elapsed_ms(began_s)} for an update that was rolled back"
    finally:
        await connection.close()


async def _update_counter(connection: Connection) -> None:
    await connection.execute("SET LOCAL lock_timeout = '3s'")  # storing waits for this lock
    await connection.execute("UPDATE feed_counter SET last_sequence = last_sequence")


async def _count_connections(connector: Connector, settings: Settings) -> str:
    connection = await connector.connect()
    try:
        most = int(await connection.fetchval("SHOW max_connections"))
        used = int(await connection.fetchval("SELECT count(*) FROM pg_stat_activity"))
    finally:
        await connection.close()
    result = f"{used} of {most} are used; one process uses up to {settings.database_pool_size}"
    if most - used < settings.database_pool_size and not connector.behind_pooler:
        raise Failed(
            result,
            f"raise PostgreSQL's max_connections, lower {PREFIX}DATABASE_POOL_SIZE, or run fewer"
            " processes",
        )
    return result


def _advice(error: Exception) -> str:
    match error:
        case asyncpg.InvalidPasswordError() | asyncpg.InvalidAuthorizationSpecificationError():
            return f"user or password in {NAME} are wrong, or pg_hba.conf excludes this host"
        case asyncpg.InvalidCatalogNameError():
            return f"create the database (CREATE DATABASE …), or correct its name in {NAME}"
        case asyncpg.TooManyConnectionsError():
            return "raise PostgreSQL's max_connections, or run fewer processes"
        case asyncpg.InsufficientPrivilegeError():
            return "the user must own Killstream's tables: run `killstream migrate` as this user"
        case asyncpg.ReadOnlySQLTransactionError():
            return f"this server is read-only, as a standby is: use the primary's address in {NAME}"
        case asyncpg.LockNotAvailableError():
            return (
                "another transaction locks the table feed_counter for seconds: search for it in"
                " pg_stat_activity (state `idle in transaction`)"
            )
        case asyncpg.DiskFullError() | asyncpg.OutOfMemoryError():
            return "free disk space or memory for PostgreSQL; Killstream then continues by itself"
    return (
        f"start PostgreSQL there (`just services` on this host), or correct the host and port in"
        f" {NAME}; from another host check `listen_addresses`, pg_hba.conf and the firewall"
    )
