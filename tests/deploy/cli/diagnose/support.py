"""Running a diagnosis."""

from collections.abc import AsyncIterator

from deploy.cli.diagnose.finding import Finding


async def all_of(steps: AsyncIterator[Finding]) -> list[Finding]:
    return [finding async for finding in steps]


def failed(found: list[Finding]) -> tuple[str, str, str]:
    """Give the failure that ends a diagnosis; those before it worked."""
    *worked, last = found
    assert not [finding for finding in worked if finding.advice]
    assert last.advice, found
    return last.step, last.result, last.advice


def steps_of(found: list[Finding]) -> list[str]:
    """Give the steps of a diagnosis in which all worked."""
    assert not [finding for finding in found if finding.advice], found
    return [finding.step for finding in found]
