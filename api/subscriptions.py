"""Resolvers of the type Subscription: the feed, live."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import timedelta
from typing import Final

from ariadne import SubscriptionType

from actors.shared.metrics import SUBSCRIBERS
from api.context import Info
from api.errors import BadInput
from api.position import check_after
from api.view import FeedView, View

MAX_AGE_DAYS: Final = 36_500

SUBSCRIPTION: Final = SubscriptionType()


@SUBSCRIPTION.source("feedAdded")
async def feed_added(
    _: None, info: Info, after: int | None = None
) -> AsyncGenerator[FeedView, None]:
    """Yield every entry after a sequence, or from now on."""
    await check_after(info.context.state, after)
    with SUBSCRIBERS.track_inprogress():
        async with aclosing(info.context.state.tail.follow(after)) as views:
            async for view in views:
                yield view


@SUBSCRIPTION.source("killmailAdded")
async def killmail_added(
    _: None, info: Info, max_age: int, after: int | None = None
) -> AsyncGenerator[View, None]:
    """Yield the entries of new killmails after a sequence, or from now on."""
    if not 0 <= max_age <= MAX_AGE_DAYS:
        raise BadInput(f"maxAge: must be 0 to {MAX_AGE_DAYS} days, not {max_age}")
    await check_after(info.context.state, after)
    with SUBSCRIBERS.track_inprogress():
        async with aclosing(info.context.state.tail.follow(after)) as views:
            async for view in views:
                if (
                    isinstance(view, View)
                    and view.entry.kind == "added"
                    and _is_news(view, max_age)
                ):
                    yield view


def _is_news(view: View, max_age_days: int) -> bool:
    """Tell whether the live feed brought a killmail, or it is young enough."""
    if view.entry.origin == "live":
        return True
    return view.stored_at - view.killmail.killmail_time <= timedelta(days=max_age_days)


@SUBSCRIPTION.field("feedAdded")
@SUBSCRIPTION.field("killmailAdded")
def resolve_view(view: FeedView, _info: Info, **_arguments: object) -> FeedView:
    """Return the entry itself; its type's resolvers read its fields."""
    return view
