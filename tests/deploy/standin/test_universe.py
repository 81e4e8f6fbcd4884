"""ESI's types and groups."""

import gzip
from pathlib import Path
from typing import Any

import msgspec

from tests.deploy.standin.conftest import Start
from tests.deploy.standin.shapes import check


def table(path: Path, columns: str, *rows: list[Any]) -> None:
    content = msgspec.json.encode({"columns": columns.split(), "rows": rows})
    path.write_bytes(gzip.compress(content))


async def test_types_and_groups_are_those_of_the_universe_folder(
    start: Start, tmp_path: Path
) -> None:
    table(
        tmp_path / "types.json.gz",
        "id name group_id category_id published",
        [670, "Pod", 29, 6, True],
        [9, None, 29, 6, False],
    )
    table(tmp_path / "groups.json.gz", "id name category_id published", [29, "Pods", 6, True])
    for name in ("systems", "constellations", "regions", "factions", "npc_corporations"):
        table(tmp_path / f"{name}.json.gz", "id name")
    client = await start(universe=tmp_path)
    answer = await client.get("/universe/types/670")
    check(answer.body, "UniverseTypesTypeIdGet")
    assert (answer.json()["name"], answer.json()["group_id"]) == ("Pod", 29)
    group = await client.get("/universe/groups/29")
    check(group.body, "UniverseGroupsGroupIdGet")
    assert group.json() == {
        "group_id": 29,
        "name": "Pods",
        "category_id": 6,
        "published": True,
        "types": [670, 9],
    }
    assert (await client.get("/universe/types/671")).status == 404
