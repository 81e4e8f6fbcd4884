"""Costs multiply by the lengths of lists, whoever names them, and cover what is read."""

from typing import Any

import pytest
from graphql import get_introspection_query

from actors.shared.settings import Settings
from api.cost import cost_of
from api.documents import Documents, ValidatedDocument
from api.graphql import SCHEMA

LIMIT = Settings().api_operation_cost
FEED = 50 * 100
"""The weight of a page, in values."""


def cost(document: str, **variables: Any) -> int:
    valid = Documents(SCHEMA).validated(document)
    assert isinstance(valid, ValidatedDocument), valid
    return cost_of(SCHEMA, valid, valid.operation(None), variables)


ENTRIES = "entries { sequence killmail { attackers { characterId } } }"
PER_ENTRY = 1 + 1 + 1 + 10
COST = FEED + 1 + 1 + 1000 * PER_ENTRY


@pytest.mark.parametrize(
    ("document", "variables"),
    [
        (f"{{ feed(after: 0, first: 1000) {{ {ENTRIES} }} }}", {}),
        (f"query ($n: Int) {{ feed(after: 0, first: $n) {{ {ENTRIES} }} }}", {"n": 1000}),
        (f"query ($n: Int = 1000) {{ feed(after: 0, first: $n) {{ {ENTRIES} }} }}", {}),
        (
            "{ feed(after: 0, first: 1000) { ...page } }"
            f" fragment page on FeedPage {{ ... on FeedPage {{ {ENTRIES} }} }}",
            {},
        ),
    ],
)
def test_cost_multiplies_by_the_length_that_is_asked_for(
    document: str, variables: dict[str, Any]
) -> None:
    assert cost(document, **variables) == COST


def test_length_is_the_default_unless_it_is_given() -> None:
    for document in (
        f"{{ feed(after: 0) {{ {ENTRIES} }} }}",
        f"query ($n: Int) {{ feed(after: 0, first: $n) {{ {ENTRIES} }} }}",
    ):
        assert cost(document) == FEED + 2 + 100 * PER_ENTRY


def test_query_of_the_attack_is_refused_and_honest_ones_are_not() -> None:
    attackers = " ".join(f"a{n}: attackers {{ characterName }}" for n in range(55))
    attack = f"{{ feed(after: 0, first: 1000) {{ entries {{ killmail {{ {attackers} }} }} }} }}"
    assert cost(attack) > LIMIT
    whole = (
        "killmailId killmailTime solarSystemName zkb { totalValue points labels }"
        " victim { characterName corporationName allianceName shipTypeName damageTaken"
        "   items { itemTypeId flag quantityDropped quantityDestroyed } }"
        " attackers { characterName corporationName allianceName shipTypeName weaponTypeName"
        "   damageDone finalBlow }"
    )
    feed = (
        f"{{ feed(after: 0, first: 1000) {{ lastSequence entries {{ killmail {{ {whole} }} }} }} }}"
    )
    assert cost(feed) < LIMIT
    assert cost(f"{{ killmails(first: 200) {{ nodes {{ {whole} }} }} }}") < LIMIT


def test_introspection_costs_what_it_takes_and_nesting_it_multiplies() -> None:
    assert 5_000 < cost(get_introspection_query()) < LIMIT
    nested = "{ __schema { types { fields { type { fields { name } } } } } }"
    assert cost(nested) > 5_000
    assert cost("{ __typename }") == 1
