"""How a request to ESI fails."""

from actors.shared.errors import Invalid, KillstreamError


class Unavailable(KillstreamError):
    """ESI failed; a later request may succeed."""


class Garbled(Unavailable):
    """ESI's response isn't the requested object."""


class UnexpectedStatus(KillstreamError):
    """ESI responded with an undocumented status; other requests may succeed."""


class Refused(Invalid):
    """ESI says that the request is wrong: unknown id or hash.

    Under load ESI also refuses valid requests.
    """


class TokenRejected(KillstreamError):
    """ESI doesn't accept the access token: it is expired, revoked, or lacks the scope."""


class Forbidden(KillstreamError):
    """The token's character may not see this: a role or a membership is missing. Final.

    `reason` is ESI's own sentence, for the user.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason
