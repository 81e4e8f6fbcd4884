"""Failed and suspicious logins: counted by reason, and logged with the client's address."""

from typing import Final, Literal

import structlog
from prometheus_client import Counter

Reason = Literal[
    "access_denied",
    "eve_error",
    "incomplete",
    "invalid_state",
    "foreign_state",
    "code_refused",
    "token_forged",
    "sso_unavailable",
    "misconfigured",
    "rate_limited",
    "invalid_bearer",
    "foreign_origin",
    "api_key",
]

LOGINS: Final = Counter("killstream_logins", "Logins that succeeded.")
LOGIN_FAILURES: Final = Counter(
    "killstream_login_failures",
    "Logins and sessions that were refused. `foreign_state`, `foreign_origin`, `invalid_bearer`,"
    " `api_key` or `rate_limited` rises: somebody tries another's login, cookie,"
    " token or key; the log has the addresses."
    " `sso_unavailable` rises: EVE's login fails. `token_forged`: its answers aren't EVE's."
    " `misconfigured`: the application's id or secret is wrong.",
    ["reason"],
)

_log: Final = structlog.get_logger()


def record_failure(reason: Reason, address: str, detail: str | None = None) -> None:
    """Count and log a failure; `detail` is our text or EVE's, never a code, state or token."""
    LOGIN_FAILURES.labels(reason=reason).inc()
    _log.warning("login.failed", reason=reason, client=address, detail=detail)
