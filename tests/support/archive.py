"""Small archives of static data, made by hand."""

import io
import zipfile
from collections.abc import Iterable
from typing import Any

import msgspec

from deploy.standin.static_data import pack

Files = dict[str, list[dict[str, Any]]]


def named(key: int, name: str | None = None, **fields: Any) -> dict[str, Any]:
    """Make a record; fields have the archive's names."""
    return {"_key": key, "name": {"en": name or f"Name {key}", "de": "?"}} | fields


def small_files(types: int = 20) -> Files:
    """Make a universe of one system, with so many types."""
    return {
        "categories": [named(6, "Ship", published=True)],
        "groups": [named(25, "Frigate", categoryID=6, published=True)],
        "types": [named(n, groupID=25, published=True) for n in range(types)],
        "mapRegions": [named(10_000_002, "The Forge")],
        "mapConstellations": [named(20_000_020, "Kimotoro", regionID=10_000_002)],
        "mapSolarSystems": [
            named(
                30_000_142,
                "Jita",
                regionID=10_000_002,
                constellationID=20_000_020,
                securityStatus=0.945913,
                position={"x": -1.5e17, "y": 6.1e16, "z": 1.2e17},
            )
        ],
        "mapStargates": [
            {
                "_key": 50_001_248,
                "solarSystemID": 30_000_142,
                "destination": {"solarSystemID": 30_000_144, "stargateID": 50_001_250},
            }
        ],
        "factions": [named(500_001, "Caldari State")],
        "npcCorporations": [
            named(1_000_001, "Doomheim", tickerName="666"),
            named(1_000_002, "CBD", tickerName="CBDC", factionID=500_001),
        ],
    }


def archive_of(files: Files | None = None, build: int = 7) -> bytes:
    """Write an archive."""
    return pack(small_files() if files is None else files, build)


def with_members(members: Iterable[tuple[zipfile.ZipInfo, bytes]]) -> bytes:
    """Write a small archive and, after its files, these members."""
    written = io.BytesIO(archive_of())
    with zipfile.ZipFile(written, "a") as zipped:
        for info, content in members:
            zipped.writestr(info, content)
    return written.getvalue()


def with_lines(name: str, *lines: bytes) -> bytes:
    """Write a small archive, one file of which has these lines."""
    files = {
        f"{file}.jsonl": b"".join(msgspec.json.encode(record) + b"\n" for record in records)
        for file, records in small_files().items()
    }
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as zipped:
        for file, content in (files | {name: b"\n".join(lines)}).items():
            zipped.writestr(file, content)
    return written.getvalue()
