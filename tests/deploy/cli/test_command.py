"""The command itself: its version, and how an end by an error reads."""

import asyncio
import logging
from importlib.metadata import version

import pytest
import structlog
import typer
from typer.testing import CliRunner

from actors.shared.errors import KillstreamError, Misconfigured
from deploy.cli.process import fail
from tests.support.processes import KILLSTREAM


async def test_version_is_that_of_the_package() -> None:
    process = await asyncio.create_subprocess_exec(
        KILLSTREAM, "--version", stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert output.decode() == f"killstream {version('killstream')}\n"
    assert process.returncode == 0


def test_the_log_of_this_process_is_not_in_the_output_of_a_command_in_it() -> None:
    command = typer.Typer()

    @command.command()
    def say() -> None:
        structlog.get_logger().warning("something else happened")
        logging.getLogger("pika").warning("something else happened")
        typer.echo("done")

    done = CliRunner().invoke(command)
    assert (done.output, done.stderr) == ("done\n", "")


@pytest.mark.parametrize(
    ("error", "code"), [(Misconfigured("set it"), 2), (KillstreamError("it is away"), 1)]
)
def test_our_error_in_a_group_is_printed_as_a_message(
    error: KillstreamError, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    group = ExceptionGroup("parts", [ValueError("torn down"), ExceptionGroup("part", [error])])
    with pytest.raises(typer.Exit) as ended:
        fail(group)
    assert ended.value.exit_code == code
    assert capsys.readouterr().err == f"killstream: {error}\n"


def test_a_group_without_our_errors_is_raised() -> None:
    group = ExceptionGroup("parts", [ValueError("a mistake")])
    with pytest.raises(ExceptionGroup, match="parts"):
        fail(group)
