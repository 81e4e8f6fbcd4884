"""Resolvers of the type Subscription: the feed, live."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from ariadne import SubscriptionType
from graphql import GraphQLResolveInfo

from actors.shared.metrics import SUBSCRIBERS
from api.context import Context
from api.position import check_after
from api.view import View

SUBSCRIPTION: Final = SubscriptionType()


@SUBSCRIPTION.source("feedAdded")
async def feed_added(
    _: None, info: GraphQLResolveInfo[Context], after: int | None = None
) -> AsyncGenerator[View, None]:
    """Yield every entry after a sequence, or from now on."""
    await check_after(info.context.state, after)
    with SUBSCRIBERS.track_inprogress():
        async with aclosing(info.context.state.tail.follow(after)) as views:
            async for view in views:
                yield view


@SUBSCRIPTION.source("killmailAdded")
async def killmail_added(
    _: None, info: GraphQLResolveInfo[Context], after: int | None = None
) -> AsyncGenerator[View, None]:
    """Yield the entries of new killmails after a sequence, or from now on."""
    await check_after(info.context.state, after)
    with SUBSCRIBERS.track_inprogress():
        async with aclosing(info.context.state.tail.follow(after)) as views:
            async for view in views:
                if view.entry.kind == "added":
                    yield view


@SUBSCRIPTION.field("feedAdded")
@SUBSCRIPTION.field("killmailAdded")
def resolve_view(view: View, _info: GraphQLResolveInfo[Context], **_arguments: object) -> View:
    """Return the entry itself; its type's resolvers read its fields."""
    return view
