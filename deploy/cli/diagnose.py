"""`killstream diagnose SERVICE`: try a server step by step; say what to do when a step fails."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import typer

from actors.shared.settings import Settings
from deploy.cli.process import configure


@dataclass(frozen=True)
class Finding:
    """What one step showed; with advice it failed."""

    step: str
    said: str
    advice: str = ""


class Service(StrEnum):
    """What can be tried."""

    REDIS = "redis"


def diagnose(
    service: Annotated[Service, typer.Argument(help="The server to try.")],
    for_s: Annotated[
        float, typer.Option("--for", min=0, help="Seconds to listen for killmails.")
    ] = 5.0,
) -> None:
    """Try a server step by step, and say what to do when a step fails.

    For Redis: the environment, PING, a message sent to ourselves and received, and the channel
    that carries the killmails. The exit code is 1 when a step failed.

    Example: killstream diagnose redis --for 30
    """
    raise typer.Exit(asyncio.run(_run(steps(service, configure(), for_s))))


def steps(service: Service, settings: Settings, for_s: float) -> AsyncIterator[Finding]:
    """Give the steps of a service; each runs when it is asked for."""
    match service:
        case Service.REDIS:
            from deploy.cli.diagnose_redis import redis_steps

            return redis_steps(settings, for_s)


async def _run(findings: AsyncIterator[Finding]) -> int:
    failed = False
    async for finding in findings:
        failed = failed or bool(finding.advice)
        verdict = "failed" if finding.advice else "ok"
        typer.echo(f"{verdict:<7} {finding.step:<18} {finding.said}")
        if finding.advice:
            typer.echo(f"{'':<7} what to do: {finding.advice}")
    return 1 if failed else 0
