"""Made-up killmails of few entities, and conditions on them with what they mean."""

import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.killmails.persist import read, store
from actors.shared.database import reading
from actors.shared.finding.kinds import Kind, term_of
from actors.shared.finding.subject import Subject, subject_of
from actors.shared.finding.tree import (
    And,
    AttackerCount,
    AttackerField,
    Has,
    HasAny,
    HasItem,
    InSystems,
    Not,
    OneAttacker,
    Or,
    Time,
    Tree,
    Value,
    ValueUnknown,
    ZkbField,
    ZkbNumber,
)
from actors.shared.finding.universe import NOT_LOADED
from actors.shared.killmail import parse_killmail
from actors.shared.reference import encode_reference
from actors.shared.tables import LABELS
from tests.support.made import a_mail, a_reference, an_attacker

FIRST_ID = 65_200  # the made-up killmails lie in two blocks
COUNT = 800
START = datetime(2024, 5, 1, tzinfo=UTC)
LABELS_USED = ("pvp", "solo", "loc:nullsec")
VALUES = (None, 5e5, 1e6, 9_999_999.0, 1e7, 2.5e9)
IDS = st.integers(1, 4)
SETS = st.frozensets(IDS, max_size=3)
FIELDS: tuple[AttackerField, ...] = (
    "character_id",
    "corporation_id",
    "alliance_id",
    "ship_type_id",
)


def a_killmail(random_: random.Random, killmail_id: int) -> tuple[bytes, bytes]:
    """Make a killmail of few entities, and its zkb block."""

    def pick() -> int | None:
        return random_.choice((None, 1, 2, 3, 4))

    attackers = [
        an_attacker(
            **{name: value for name in FIELDS if (value := pick()) is not None},
            final_blow=i == 0,
        )
        for i in range(random_.choice((1, 2, 3, 3, 30)))
    ]
    time = START + timedelta(minutes=10 * (killmail_id - FIRST_ID))
    if random_.random() < 0.05:  # ids in another order than times
        time += timedelta(hours=random_.randint(-40, 40))
    victim: dict[str, Any] = {"damage_taken": 1, "ship_type_id": random_.randint(1, 4)}
    if (alliance := pick()) is not None:
        victim["alliance_id"] = alliance
    body = a_mail(
        killmail_id,
        killmail_time=time.strftime("%Y-%m-%dT%H:%M:%SZ"),
        solar_system_id=random_.randint(1, 4),
        victim=victim,
        attackers=attackers,
    )
    zkb: dict[str, Any] = {
        "labels": [one for one in LABELS_USED if random_.random() < 0.4],
        "totalValue": random_.choice(VALUES),
    }
    numbers = {"points": random_.randint(1, 4), "destroyedValue": random_.choice(VALUES)}
    zkb |= {name: value for name, value in numbers.items() if random_.random() < 0.8}
    items = [an_item(pick() or 5) for _ in range(random_.randint(0, 2))]
    if items and random_.random() < 0.3:
        items[0]["items"] = [an_item(random_.randint(1, 4))]
    body["victim"]["items"] = items
    return msgspec.json.encode(body), msgspec.json.encode(zkb)


def an_item(type_id: int) -> dict[str, Any]:
    return {"item_type_id": type_id, "flag": 5, "singleton": 0, "quantity_dropped": 1}


class Store:
    """The stored killmails, and what is known of them without the index."""

    def __init__(self, database: AsyncEngine) -> None:
        self.database = database
        self.bodies: dict[int, dict[str, Any]] = {}
        self.zkb: dict[int, dict[str, Any]] = {}
        self.label_ids: dict[str, int] = {}

    async def add(self, seed: int, ids: Sequence[int], as_of: float) -> None:
        """Store killmails, or later versions of them."""
        random_ = random.Random(seed)
        made = {id_: a_killmail(random_, id_) for id_ in ids}
        for start in range(0, len(ids), 150):
            references = [
                encode_reference(a_reference(body, id_, zkb=msgspec.Raw(zkb), as_of=as_of))
                for id_ in ids[start : start + 150]
                for body, zkb in [made[id_]]
            ]
            await store(self.database, read(references)[0])
        for id_, (body, zkb) in made.items():
            self.bodies[id_], self.zkb[id_] = msgspec.json.decode(body), msgspec.json.decode(zkb)
        async with reading(self.database) as connection:
            rows = await connection.execute(select(LABELS))
            self.label_ids = {row.label: row.label_id for row in rows}

    def subjects(self) -> dict[int, Subject]:
        """Make of each killmail what conditions are applied to without a database."""
        made = {}
        for id_, body in self.bodies.items():
            label_ids = [self.label_ids[one] for one in self.zkb[id_]["labels"]]
            killmail = parse_killmail(msgspec.json.encode(body))
            made[id_] = subject_of(killmail, self.zkb[id_], label_ids, NOT_LOADED)
        return made

    async def read(self, query: Any) -> Sequence[Any]:
        async with reading(self.database) as connection:
            return (await connection.execute(query)).all()


Condition = tuple[Callable[[Store], Tree], Callable[[dict[str, Any], dict[str, Any]], bool | None]]
"""A tree, and the same condition on body and zkb block; None: unknown."""


def of_victims_ship(id_: int) -> Condition:
    has = Has(term_of(Kind.VICTIM_SHIP_TYPE, id_))
    return (lambda _: has), lambda b, _: b["victim"]["ship_type_id"] == id_


def of_system(id_: int) -> Condition:
    has = Has(term_of(Kind.SOLAR_SYSTEM, id_))
    return (lambda _: has), lambda b, _: b["solar_system_id"] == id_


def of_attackers_corporation(id_: int) -> Condition:
    has = Has(term_of(Kind.ATTACKER_CORPORATION, id_))
    return (lambda _: has), lambda b, _: any(a.get("corporation_id") == id_ for a in b["attackers"])


def of_label(label: str) -> Condition:
    """Where the value is unknown, it isn't known that a label is absent."""

    def holds(_: Any, zkb: dict[str, Any]) -> bool | None:
        return label in zkb["labels"] or (None if zkb["totalValue"] is None else False)

    return (lambda store: Has(term_of(Kind.LABEL, store.label_ids[label]))), holds


def of_any_label(labels: frozenset[str]) -> Condition:
    def holds(_: Any, zkb: dict[str, Any]) -> bool | None:
        return not labels.isdisjoint(zkb["labels"]) or (
            None if zkb["totalValue"] is None else False
        )

    def tree(store: Store) -> Tree:
        return HasAny(frozenset(term_of(Kind.LABEL, store.label_ids[one]) for one in labels))

    return tree, holds


def of_any_victims_ship(ids: frozenset[int]) -> Condition:
    has = HasAny(frozenset(term_of(Kind.VICTIM_SHIP_TYPE, id_) for id_ in ids))
    return (lambda _: has), lambda b, _: b["victim"]["ship_type_id"] in ids


def of_systems(ids: frozenset[int], others: frozenset[int] | None) -> Condition:
    through = ids | others if others is not None else frozenset()
    terms = frozenset(term_of(Kind.SOLAR_SYSTEM, id_) for id_ in through)
    return (lambda _: InSystems(ids, terms)), lambda b, _: b["solar_system_id"] in ids


def of_item(ids: frozenset[int]) -> Condition:
    def holds(body: dict[str, Any], _: Any) -> bool:
        items = body["victim"]["items"]
        inside = [held for one in items for held in one.get("items", ())]
        return any(one["item_type_id"] in ids for one in [*items, *inside])

    return (lambda _: HasItem(ids)), holds


def of_one_attacker(
    asked: dict[AttackerField, int | frozenset[int]], final_blow: bool, through: bool
) -> Condition:
    corporations = asked.get("corporation_id")
    terms: tuple[frozenset[int], ...] = ()
    if through and isinstance(corporations, frozenset):
        some = corporations | {1}
        terms = (frozenset(term_of(Kind.ATTACKER_CORPORATION, id_) for id_ in some),)
    one = OneAttacker(tuple(asked.items()), final_blow, terms)
    return (lambda _: one), lambda b, _: any(
        all(a.get(n) == i if isinstance(i, int) else a.get(n) in i for n, i in asked.items())
        and (a["final_blow"] or not final_blow)
        for a in b["attackers"]
    )


def of_zkb(field: ZkbField, low: float | None, high: float | None) -> Condition:
    def holds(_: Any, zkb: dict[str, Any]) -> bool | None:
        number = zkb.get(field)
        return None if number is None else is_between(number, low, high)

    return (lambda _: ZkbNumber(field, low, high)), holds


def of_value(low: float | None, high: float | None) -> Condition:
    def holds(_: Any, zkb: dict[str, Any]) -> bool | None:
        value = zkb["totalValue"]
        return None if value is None else is_between(value, low, high)

    return (lambda _: Value(low, high)), holds


def of_time(since: datetime | None, until: datetime | None) -> Condition:
    return (lambda _: Time(since, until)), lambda b, _: is_between(
        datetime.fromisoformat(b["killmail_time"]), since, until
    )


def of_attacker_count(low: int, high: int | None) -> Condition:
    return (lambda _: AttackerCount(low, high)), lambda b, _: is_between(
        len(b["attackers"]), low, high
    )


def is_between(value: Any, low: Any, high: Any) -> bool:
    return (low is None or value >= low) and (high is None or value < high)


UNKNOWN_VALUE: Condition = (lambda _: ValueUnknown()), lambda _, z: z["totalValue"] is None
BOUNDS = st.sampled_from([value for value in VALUES if value is not None])
TIMES = (
    st.none()
    | st.integers(0, COUNT).map(lambda n: START + timedelta(minutes=10 * n))
    | st.integers(0, COUNT // 144).map(lambda n: START + timedelta(days=n))
)
SINGLE = st.one_of(
    st.builds(of_victims_ship, IDS),
    st.builds(of_system, IDS),
    st.builds(of_attackers_corporation, IDS),
    st.builds(of_label, st.sampled_from(LABELS_USED)),
    st.builds(
        of_one_attacker,
        st.dictionaries(st.sampled_from(FIELDS), IDS | SETS, min_size=1, max_size=3),
        st.booleans(),
        st.booleans(),
    ),
    st.builds(of_any_label, st.frozensets(st.sampled_from(LABELS_USED), min_size=1)),
    st.builds(of_any_victims_ship, SETS),
    st.builds(of_systems, SETS, st.none() | SETS),
    st.builds(of_item, SETS),
    st.builds(of_zkb, st.just("points"), st.integers(1, 4), st.none() | st.integers(1, 4)),
    st.builds(of_zkb, st.just("destroyedValue"), st.none() | BOUNDS, BOUNDS),
    st.builds(of_value, BOUNDS, BOUNDS),
    st.builds(of_value, BOUNDS, st.none()),
    st.builds(of_value, st.none(), BOUNDS),
    st.builds(of_time, TIMES, TIMES),
    st.builds(of_attacker_count, st.integers(0, 40), st.none() | st.integers(0, 40)),
    st.just(UNKNOWN_VALUE),
)


def combined(inner: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    def all_of(parts: list[Condition]) -> Condition:
        return (lambda s: And(tuple(tree(s) for tree, _ in parts))), lambda b, z: and_(
            [holds(b, z) for _, holds in parts]
        )

    def any_of(parts: list[Condition]) -> Condition:
        return (lambda s: Or(tuple(tree(s) for tree, _ in parts))), lambda b, z: or_(
            [holds(b, z) for _, holds in parts]
        )

    def not_(part: Condition) -> Condition:
        def holds(b: dict[str, Any], z: dict[str, Any]) -> bool | None:
            known = part[1](b, z)
            return None if known is None else not known

        return (lambda s: Not(part[0](s))), holds

    several = st.lists(inner, max_size=3)
    return several.map(all_of) | several.map(any_of) | inner.map(not_)


def and_(parts: list[bool | None]) -> bool | None:
    return False if False in parts else None if None in parts else True


def or_(parts: list[bool | None]) -> bool | None:
    return True if True in parts else None if None in parts else False


CONDITIONS = st.recursive(SINGLE, combined, max_leaves=6)
