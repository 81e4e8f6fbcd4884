"""What a step of a diagnosis showed, and how a step is run."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from actors.shared.errors import KillstreamError
from actors.shared.outage import one_line

PATIENCE_S: Final = 5.0
"""How long a server may take for one answer."""
STEP_S: Final = 3 * PATIENCE_S
"""How long one step may take."""


@dataclass(frozen=True)
class Finding:
    """What one step showed; with advice it failed."""

    step: str
    said: str
    advice: str = ""


class Failed(KillstreamError):
    """A step that knows itself what to do."""

    def __init__(self, said: str, advice: str) -> None:
        super().__init__(said)
        self.advice = advice


async def attempt(
    step: str, trying: Awaitable[str], advise: Callable[[Exception], str], within_s: float = STEP_S
) -> Finding:
    """Run a step: what it says, or what went wrong and what to do. Takes `within_s` at most."""
    try:
        async with asyncio.timeout(within_s):
            return Finding(step, await trying)
    except TimeoutError as error:
        return Finding(step, str(error) or f"no answer within {within_s:g} s", advise(error))
    except Failed as failed:
        return Finding(step, str(failed), failed.advice)
    except Exception as error:  # an edge: whatever a client library raises is the finding
        return Finding(step, one_line(error), certificate_advice(error) or advise(error))


def certificate_advice(error: BaseException) -> str:
    """Say what to do about a certificate that isn't trusted; nothing of other errors."""
    said = " ".join(str(one) for one in _chain(error)).lower()
    if "certificate verify failed" not in said and "certificate_verify_failed" not in said:
        return ""
    if "hostname mismatch" in said or "not valid for" in said or "ip address mismatch" in said:
        return "the certificate is of another host: write the name that it carries into the URL"
    if "expired" in said:
        return "the server's certificate has expired, or a clock is wrong"
    return (
        "no authority that this process trusts has signed the certificate: add the server's"
        " authority, in PEM, to the file that SSL_CERT_FILE names (a copy of the public ones first)"
    )


def _chain(error: BaseException | None) -> list[BaseException]:
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain += [error, *(one for one in error.args if isinstance(one, BaseException))]
        error = error.__cause__ or error.__context__
    return chain


def said_ms(began_s: float) -> str:
    """Write how long something took since this reading of the loop's clock."""
    return f"{(asyncio.get_running_loop().time() - began_s) * 1000:.1f} ms"
