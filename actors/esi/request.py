"""A request to ESI."""

from collections.abc import Hashable
from dataclasses import dataclass, field

from actors.esi.budget import BudgetClass


@dataclass(frozen=True)
class Request:
    """A request to ESI."""

    group: str
    """The rate limit group of the route, or `BUCKETLESS`."""
    path: str
    """The path with its query, relative to ESI's base URL."""
    body: bytes | None = None
    """JSON; makes it a POST."""
    etag: str | None = None
    """The ETag of the caller's copy; a 304 response costs fewer tokens."""
    token: str | None = field(default=None, repr=False, kw_only=True)
    """The access token on an authenticated route; sent as a header, and shown nowhere."""
    owner: int | None = field(default=None, kw_only=True)
    """The character whose token it is: the request counts against this character's budget."""
    budget_class: BudgetClass = field(default=BudgetClass.LIVE, kw_only=True)
    """Which share of the budget the request may use."""

    def __post_init__(self) -> None:
        if (self.token is None) != (self.owner is None):
            raise ValueError("a token and its owner go together")

    @property
    def subject(self) -> Hashable:
        """Return what is at fault when only this request fails: the request, or its owner."""
        return (self.path, self.body) if self.owner is None else self.owner
