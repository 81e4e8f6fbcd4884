"""Run one step of a diagnosis and return its result."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from actors.shared.errors import KillstreamError
from actors.shared.outage import one_line

ANSWER_S: Final = 5.0
"""Time limit of one answer."""
STEP_S: Final = 3 * ANSWER_S
"""Time limit of one step."""


@dataclass(frozen=True)
class Finding:
    """The result of one step; a failed step has advice."""

    step: str
    result: str
    advice: str = ""


class Failed(KillstreamError):
    """A step failed; carries the result and its own advice."""

    def __init__(self, result: str, advice: str) -> None:
        super().__init__(result)
        self.advice = advice


async def run_step(
    step: str, run: Awaitable[str], advise: Callable[[Exception], str], within_s: float = STEP_S
) -> Finding:
    """Run a step within `within_s`; return its result, or its error with advice."""
    try:
        async with asyncio.timeout(within_s):
            return Finding(step, await run)
    except TimeoutError as error:
        return Finding(step, str(error) or f"no answer within {within_s:g} s", advise(error))
    except Failed as failed:
        return Finding(step, str(failed), failed.advice)
    except Exception as error:  # any error of a client library is the finding
        return Finding(step, one_line(error), certificate_advice(error) or advise(error))


def certificate_advice(error: BaseException) -> str:
    """Return advice about an untrusted certificate; empty for other errors."""
    result = " ".join(str(one) for one in _chain(error)).lower()
    if "certificate verify failed" not in result and "certificate_verify_failed" not in result:
        return ""
    if (
        "hostname mismatch" in result
        or "not valid for" in result
        or "ip address mismatch" in result
    ):
        return "the certificate is another host's: use the host name of the certificate in the URL"
    if "expired" in result:
        return "the server's certificate has expired, or a clock is wrong"
    return (
        "this process doesn't trust the certificate's authority: set SSL_CERT_FILE to a file with"
        " that authority's certificate in PEM and a copy of the public ones"
    )


def _chain(error: BaseException | None) -> list[BaseException]:
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain += [error, *(one for one in error.args if isinstance(one, BaseException))]
        error = error.__cause__ or error.__context__
    return chain


def elapsed_ms(began_s: float) -> str:
    """Format the milliseconds since `began_s`, which is the loop's clock."""
    return f"{(asyncio.get_running_loop().time() - began_s) * 1000:.1f} ms"
