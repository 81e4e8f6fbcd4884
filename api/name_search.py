"""Find entities and static data by parts of their names, the best match first."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Boolean, Select, func, literal, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from actors.shared.tables import NAMES
from api.database import ReadDatabase
from api.errors import BadInput
from api.objects import known_things
from api.static_data import StaticData

MAX_LENGTH: Final = 100
MIN_INSIDE: Final = 3
"""A shorter text is looked for at the beginning of names only."""
MAX_PREFIXED: Final = 1_000
"""Names that begin with the text, of which the best are chosen."""
MAX_SCANNED: Final = 200_000
"""Names that are looked through for one that has the text inside; about 60 ms."""
_LAST: Final = "\U0010ffff"


def check(name: str) -> None:
    """Check a text that is looked for.

    Raises:
        BadInput: it is empty or too long, or no database can hold it.
    """
    if not 1 <= len(name.strip()) <= MAX_LENGTH or "\0" in name:
        raise BadInput(f"name: must have 1 to {MAX_LENGTH} characters")


def things(type_name: str, data: StaticData, name: str, limit: int) -> list[int]:
    """Find static data by name; its ids."""
    text = name.strip().lower()
    found = [(known, id_) for id_, known in _lowered(type_name, data) if text in known]
    return [id_ for _, id_ in _best(found, text, limit)]


@lru_cache(maxsize=8)
def _lowered(type_name: str, data: StaticData) -> list[tuple[int, str]]:
    of_type = known_things(type_name, data).items()
    named = (
        (id_, known if isinstance(known, str) else known and known[0]) for id_, known in of_type
    )
    return [(id_, known.lower()) for id_, known in named if known]


async def entities(
    database: ReadDatabase, category: str, name: str, limit: int
) -> list[tuple[int, str]]:
    """Find entities of a category of `names` by name; their ids and names.

    Those that begin with the text are found by an index. Only if these are fewer than wanted,
    others are looked for among the names with the highest ids, `MAX_SCANNED` at most.
    """
    text = name.strip().lower()
    rows = list(await database.fetch_all(beginning_with(category, text)))
    if len(rows) < limit and len(text) >= MIN_INSIDE:
        newest = (
            select(NAMES.c.id, NAMES.c.name)
            .where(NAMES.c.category == category, NAMES.c.name.is_not(None))
            .order_by(NAMES.c.id.desc())
            .limit(MAX_SCANNED)
            .subquery()
        )
        escaped = re.sub(r"[/%_]", r"/\g<0>", text)
        inside = func.lower(newest.c.name).like(literal(f"%{escaped}%"), escape="/")
        rows += await database.fetch_all(select(newest).where(inside).limit(MAX_PREFIXED))
    known: dict[int, str] = {row["id"]: row["name"] for row in rows}
    best = _best(((of.lower(), id_) for id_, of in known.items()), text, limit)
    return [(id_, known[id_]) for _, id_ in best]


def beginning_with(category: str, text: str) -> Select[Any]:
    """Build the query for names of a category that begin with a text in lower case."""
    begins = _Between(NAMES.c.name, literal(text), literal(text + _LAST))
    return (
        select(NAMES.c.id, NAMES.c.name)
        .where(NAMES.c.category == category, begins)
        .limit(MAX_PREFIXED)
    )


def _best(found: Iterable[tuple[str, int]], text: str, limit: int) -> list[tuple[str, int]]:
    """Order names: the text itself, names that begin with it, others; shorter ones first."""
    return sorted(found, key=lambda one: (not one[0].startswith(text), len(one[0]), one))[:limit]


class _Between(FunctionElement[bool]):
    """Whether a name, in lower case, lies between two texts by the codes of its characters."""

    type = Boolean()
    inherit_cache = True
    _is_implicitly_boolean = True  # as of `among`


@compiles(_Between, "postgresql")
def _by_pattern_operators(element: _Between, compiler: SQLCompiler, **more: Any) -> str:
    text, low, high = (compiler.process(clause, **more) for clause in element.clauses)
    return f"(lower({text}) ~>=~ {low} AND lower({text}) ~<=~ {high})"


@compiles(_Between, "sqlite")
def _without_case(element: _Between, compiler: SQLCompiler, **more: Any) -> str:
    text, low, high = (compiler.process(clause, **more) for clause in element.clauses)
    return f"({text} COLLATE NOCASE >= {low} AND {text} COLLATE NOCASE <= {high})"
