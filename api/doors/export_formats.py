"""The formats of exports. No I/O; a format may take some milliseconds of a page."""

import csv
import io
import zlib
from collections.abc import Callable, Iterable
from datetime import UTC
from typing import Any, Final, Protocol

import msgspec

from actors.export.ndjson import to_line
from actors.export.read import Stored
from actors.shared.killmail import Attacker, Killmail
from api.transfer import LEVEL
from api.view import View


class Cut(msgspec.Struct, frozen=True):
    """Why an export ends before all is given, and the id after which another one goes on."""

    reason: str
    after: int


class Format(Protocol):
    """Writes killmails; what it returns is the next part of the file."""

    media_type: str
    with_names: bool

    def add(self, views: Iterable[View]) -> bytes:
        """Take killmails."""

    def end(self, cut: Cut | None) -> bytes:
        """Write the file's end."""


class Ndjson:
    """Lines as of `killstream export`; a cut is a line of its own."""

    media_type = "application/x-ndjson"
    with_names = False

    def add(self, views: Iterable[View]) -> bytes:
        """Take killmails."""
        return b"".join(to_line(stored_of(view)) for view in views)

    def end(self, cut: Cut | None) -> bytes:
        """Write the line of the cut."""
        return b"" if cut is None else msgspec.json.encode({"cut": cut}) + b"\n"


class Csv:
    """A row for each killmail, with names; a cut is a comment in the last line."""

    media_type = "text/csv; charset=utf-8"
    with_names = True

    def __init__(self) -> None:
        self._is_begun = False

    def add(self, views: Iterable[View]) -> bytes:
        """Take killmails."""
        written = io.StringIO()
        rows = csv.writer(written, lineterminator="\n")
        if not self._is_begun:
            rows.writerow(COLUMNS)
            self._is_begun = True
        rows.writerows([_cell(value) for value in _row(view)] for view in views)
        return written.getvalue().encode()

    def end(self, cut: Cut | None) -> bytes:
        """Write the comment of the cut."""
        header = self.add(())
        return header + (b"" if cut is None else b"# cut: %b\n" % msgspec.json.encode(cut))


class Gzip:
    """Another format, compressed while it is written."""

    def __init__(self, inner: Format) -> None:
        self.media_type = inner.media_type
        self.with_names = inner.with_names
        self._inner = inner
        self._compress = gzip_compressor()

    def add(self, views: Iterable[View]) -> bytes:
        """Take killmails."""
        return self._compress.compress(self._inner.add(views))

    def end(self, cut: Cut | None) -> bytes:
        """Write the file's end."""
        return self._compress.compress(self._inner.end(cut)) + self._compress.flush()


def gzip_compressor() -> "zlib._Compress":
    """Make what compresses parts of a file."""
    return zlib.compressobj(LEVEL, wbits=zlib.MAX_WBITS | _GZIP)


def _parquet() -> Format:
    from api.doors.export_parquet import Parquet  # PyArrow takes memory, which most never need

    return Parquet()


_GZIP: Final = 16
"""Has zlib write gzip's header."""
FORMATS: Final[dict[str, Callable[[], Format]]] = {
    "ndjson": Ndjson,
    "csv": Csv,
    "parquet": _parquet,
}
_IDS: Final = ("character", "corporation", "alliance", "faction", "ship_type")
COLUMNS: Final = (
    *("killmail_id", "killmail_hash", "killmail_time", "solar_system_id", "solar_system_name"),
    *(f"victim_{name}_{of}" for name in _IDS for of in ("id", "name")),
    "victim_damage_taken",
    *(f"final_blow_{name}_{of}" for name in (*_IDS, "weapon_type") for of in ("id", "name")),
    *("attacker_count", "total_value", "points", "npc", "solo", "awox", "labels"),
)


def stored_of(view: View) -> Stored:
    """Return a killmail as the files of `killstream export` are written from."""
    entry = view.entry
    zkb = bytes(entry.zkb).decode() or None
    return Stored(entry.killmail_id, entry.hash, bytes(entry.killmail), zkb)


def _row(view: View) -> Iterable[Any]:
    killmail, names = view.killmail, view.names
    zkb: dict[str, Any] = view.zkb if isinstance(view.zkb, dict) else {}
    yield from (view.entry.killmail_id, view.entry.hash)
    yield f"{killmail.killmail_time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    yield from (killmail.solar_system_id, names.get(killmail.solar_system_id))
    last = _final_blow(killmail)
    for one, fields in ((killmail.victim, _IDS), (last, (*_IDS, "weapon_type"))):
        for field in fields:
            id_ = getattr(one, f"{field}_id", None)
            yield from (id_, names.get(id_) if id_ is not None else None)
        if one is killmail.victim:
            yield killmail.victim.damage_taken
    yield len(killmail.attackers)
    yield from (zkb.get(name) for name in ("totalValue", "points", "npc", "solo", "awox"))
    labels = zkb.get("labels")
    yield " ".join(map(str, labels)) if isinstance(labels, list) else None


def _final_blow(killmail: Killmail) -> Attacker | None:
    return next((one for one in killmail.attackers if one.final_blow), None)


def _cell(value: Any) -> Any:
    """Write a flag as in JSON, and no text that a spreadsheet would run as a formula."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r", "#")):
        return f"'{value}"
    return value
