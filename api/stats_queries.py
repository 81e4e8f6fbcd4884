"""Query: counts of killmails by day, and by what they have in common."""

from typing import Any, Final, NamedTuple

from ariadne import ObjectType, QueryType, SchemaBindable

from api import stats
from api.completeness import days_of
from api.context import Info
from api.errors import BadInput
from api.filters.graphql import tree_for
from api.objects import thing
from api.stats import Group, Interval

MAX_GROUPS: Final = 200
_NAMED_BY_STATIC: Final = {
    "solarSystem": "SolarSystem",
    "constellation": "Constellation",
    "region": "Region",
    "shipType": "ItemType",
    "shipGroup": "ItemGroup",
}

_QUERY: Final = QueryType()
_GROUP: Final = ObjectType("KillGroup")
STATS_TYPES: Final[tuple[SchemaBindable, ...]] = (_QUERY, _GROUP)


class NamedGroup(NamedTuple):
    """A group of killmails, and what they have in common."""

    group_by: str | None
    key: int | str | None
    of: Group


@_QUERY.field("killmailsDateCounts")
async def resolve_date_counts(_: None, info: Info, **arguments: str) -> dict[str, Any]:
    """Return the number of killmails of each day, as far as the budget goes."""
    first, last = days_of(arguments)
    counts, complete = await stats.date_counts(info.context.state.database, first, last)
    days = [{"day": str(day), "count": counts[day]} for day in sorted(counts)]
    return {"days": days, "complete": complete}


@_QUERY.field("killStats")
async def resolve_kill_stats(
    _: None,
    info: Info,
    filter: dict[str, Any] | None = None,  # noqa: A002 # GraphQL's name
    group_by: str | None = None,
    interval: Interval | None = None,
    first: int = 50,
) -> dict[str, Any]:
    """Return sums of killmails, as far as the budget goes."""
    if not 1 <= first <= MAX_GROUPS:
        raise BadInput(f"first: must be 1 to {MAX_GROUPS}, not {first}")
    tree = await tree_for(info.context.state.facts, filter or {})
    found = await stats.kill_stats(info.context.state.database, tree, group_by, interval)
    groups = found.groups
    return {
        "kills": sum(one.kills for one in groups.values()),
        "totalValue": sum(one.total_value for one in groups.values()),
        "killsWithoutValue": sum(one.unknown_values for one in groups.values()),
        "groupCount": len(groups),
        "groups": [NamedGroup(group_by, key, one) for key, one in stats.order(groups, first)],
        "complete": found.complete,
        "countedSince": found.counted_since,
    }


_GROUP.set_field("kills", lambda group, _: group.of.kills)
_GROUP.set_field("totalValue", lambda group, _: group.of.total_value)
_GROUP.set_field("killsWithoutValue", lambda group, _: group.of.unknown_values)


@_GROUP.field("key")
def resolve_key(group: NamedGroup, _info: Info) -> int | None:
    """Return the id that the killmails have in common."""
    return group.key if isinstance(group.key, int) else None


@_GROUP.field("name")
def resolve_name(group: NamedGroup, info: Info) -> Any:
    """Return the name of the id; read where the static data hasn't it."""
    if not isinstance(group.key, int):
        return group.key
    type_name = _NAMED_BY_STATIC.get(group.group_by or "")
    if type_name is None:
        return info.context.loaders.names.load(group.key)
    static = info.context.state.database.static
    return thing(type_name, group.key, static).name or info.context.loaders.names.load(group.key)


@_GROUP.field("intervals")
def resolve_intervals(group: NamedGroup, _info: Info) -> list[dict[str, Any]]:
    """Return the sums by time, the oldest first."""
    return [
        {
            "since": since,
            "kills": one.kills,
            "totalValue": one.total_value,
            "killsWithoutValue": one.unknown_values,
        }
        for since, one in sorted(group.of.intervals.items())
    ]
