"""`killstream diagnose SERVICE`: check a server in steps; print what to do when a step fails."""

import asyncio
import logging
from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Annotated

import typer

from actors.shared.settings import Settings
from deploy.cli.diagnose.finding import Finding
from deploy.cli.process import configure

__all__ = ["diagnose"]


class Service(StrEnum):
    """The servers that can be checked."""

    POSTGRES = "postgres"
    RABBITMQ = "rabbitmq"
    KAFKA = "kafka"
    REDIS = "redis"
    ESI = "esi"
    SOURCE = "source"


def diagnose(
    service: Annotated[Service, typer.Argument(help="The server to check.")],
    for_s: Annotated[
        float, typer.Option("--for", min=0, help="Redis: seconds to listen for killmails.")
    ] = 5.0,
) -> None:
    """Check a server in steps; print what to do when a step fails.

    Checks the setting, the connection, then Killstream's operations that change nothing. For ESI
    and the source it sends two or three requests, which need KILLSTREAM_CONTACT unless the upstream
    is on this machine. Ends with the first step that fails, with exit code 1.

    Example: killstream diagnose redis --for 30
    """
    configured = configure()
    for library in ("aiokafka", "pika"):  # the finding has the error
        logging.getLogger(library).setLevel(logging.CRITICAL + 1)
    raise typer.Exit(asyncio.run(_run(steps(service, configured, for_s))))


def steps(service: Service, settings: Settings, for_s: float) -> AsyncIterator[Finding]:
    """Return the steps of a service; each runs when the iterator advances."""
    match service:
        case Service.POSTGRES:
            from deploy.cli.diagnose.postgres import postgres_steps

            return postgres_steps(settings)
        case Service.RABBITMQ:
            from deploy.cli.diagnose.rabbitmq import rabbitmq_steps

            return rabbitmq_steps(settings)
        case Service.KAFKA:
            from deploy.cli.diagnose.kafka import kafka_steps

            return kafka_steps(settings)
        case Service.REDIS:
            from deploy.cli.diagnose.redis import redis_steps

            return redis_steps(settings, for_s)
        case Service.ESI:
            from deploy.cli.diagnose.esi import esi_steps

            return esi_steps(settings)
        case Service.SOURCE:
            from deploy.cli.diagnose.source import source_steps

            return source_steps(settings)


async def _run(findings: AsyncIterator[Finding]) -> int:
    failed = False
    async for finding in findings:
        failed = failed or bool(finding.advice)
        outcome = "failed" if finding.advice else "ok"
        typer.echo(f"{outcome:<7} {finding.step:<18} {finding.result}")
        if finding.advice:
            typer.echo(f"{'':<7} what to do: {finding.advice}")
    return 1 if failed else 0
