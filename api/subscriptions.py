"""Subscriptions to the feed: their sources say which events are sent, and the engine sends them."""

from typing import Any, Final, cast

from ariadne import SubscriptionType

from actors.shared.finding.normal import normal_form
from actors.shared.finding.tree import EVERYTHING
from api import reads
from api.context import Info
from api.errors import BadInput
from api.filters.graphql import tree_for
from api.live.events import Event, KillmailEvent
from api.live.selection import Feed, NamedTree, Selection
from api.position import check_after
from api.view import View

MAX_AGE_DAYS: Final = 36_500
MAX_FILTERS: Final = 50
MAX_NAME: Final = 100

SUBSCRIPTION: Final = SubscriptionType()


async def killmail_added(
    _: None,
    info: Info,
    max_age: int,
    after: int | None = None,
    filter: dict[str, Any] | None = None,  # noqa: A002 # GraphQL's name
) -> Feed:
    """Send new killmails that meet a filter, after a sequence or from now on."""
    _check_age(max_age)
    tree = normal_form(await tree_for(info.context.state.facts, filter or {}))
    filters = () if tree == EVERYTHING else (("", tree),)
    selection = Selection(filters, max_age_days=max_age, added_only=True)
    return Feed(selection, await _start(info, after))


async def killmail_feed(
    _: None,
    info: Info,
    filters: list[dict[str, Any]] | None = None,
    after: int | None = None,
    max_age: int | None = None,
) -> Feed:
    """Send the feed's entries, after a sequence or from now on, and the subscription's state."""
    if max_age is not None:
        _check_age(max_age)
    named = await _named(info, filters or [])
    start = await _start(info, after)
    first = await reads.first_sequence(info.context.state.database) if after is not None else 1
    selection = Selection(named, max_age_days=max_age, is_whole=True)
    return Feed(selection, start, first if start + 1 < first else None)


async def _named(info: Info, filters: list[dict[str, Any]]) -> tuple[NamedTree, ...]:
    if len(filters) > MAX_FILTERS:
        raise BadInput(f"filters: at most {MAX_FILTERS}, not {len(filters)}")
    named: dict[str, NamedTree] = {}
    for number, given in enumerate(filters):
        name = given["name"]
        if not 1 <= len(name) <= MAX_NAME or name in named:
            raise BadInput(
                f"filters[{number}].name: must have 1 to {MAX_NAME} characters, and be used once"
            )
        tree = await tree_for(info.context.state.facts, given["filter"])
        named[name] = name, normal_form(tree)
    return tuple(named.values())


def _check_age(max_age: int) -> None:
    if not 0 <= max_age <= MAX_AGE_DAYS:
        raise BadInput(f"maxAge: must be 0 to {MAX_AGE_DAYS} days, not {max_age}")


async def _start(info: Info, after: int | None) -> int:
    """Return the sequence after which the subscription begins."""
    await check_after(info.context.state, after)
    live_from = info.context.live_from
    assert live_from is not None
    return live_from if after is None else after


# Ariadne's types know sources that yield; graphql-core takes any that can be iterated.
SUBSCRIPTION.set_source("killmailAdded", cast(Any, killmail_added))
SUBSCRIPTION.set_source("killmailFeed", cast(Any, killmail_feed))


@SUBSCRIPTION.field("killmailAdded")
def resolve_killmail(event: KillmailEvent, _info: Info, **_arguments: object) -> View:
    """Return the killmail; its type's resolvers read its fields."""
    return event.view


@SUBSCRIPTION.field("killmailFeed")
def resolve_event(event: Event, _info: Info, **_arguments: object) -> Event:
    """Return the event itself."""
    return event
