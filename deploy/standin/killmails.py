"""The killmails of the dataset, with hash, ESI's exact bytes and zkb block; read from a file."""

import csv
import gzip
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, NamedTuple, Protocol

import msgspec

from actors.shared.errors import Invalid, Misconfigured
from actors.shared.killmail import Attacker, Killmail, Victim, killmail_hash, parse_killmail
from deploy.standin.zkb import make_zkb

_NEW_IDS_FROM = 100_000_000
_CHARACTERS_ONLY_FROM = 2_100_000_000


class UpstreamKillmail(msgspec.Struct, frozen=True, gc=False):
    """One killmail as the upstreams serve it.

    Shape: `body` is ESI's JSON byte for byte, `zkb` zKillboard's JSON block.
    """

    killmail_id: int
    killmail_hash: str
    killed_at_s: int
    body: bytes
    zkb: bytes


class KillmailSummary(NamedTuple):
    """Id and time of a killmail, which are known without building its body."""

    killmail_id: int
    killed_at_s: int


class Killmails(Protocol):
    """A sequence of killmails with access by id."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> UpstreamKillmail: ...
    def __iter__(self) -> Iterator[UpstreamKillmail]: ...
    def summary(self, index: int, /) -> KillmailSummary:
        """Return id and time of one killmail without building its body."""

    def find(self, killmail_id: int, /) -> UpstreamKillmail | None:
        """Return the killmail with this id, or None."""

    def category_hints(self) -> Mapping[int, str]:
        """Return the categories of ids that can't be derived from the number.

        Shape: {id: "corporation" | "alliance"}, for ids from 100,000,000 on that were created
        before 2010, when characters, corporations and alliances shared one range of ids.
        """


class FileKillmails:
    """The killmails of a file, in its order; a repeated id is skipped."""

    def __init__(self, played: list[UpstreamKillmail], hints: Mapping[int, str]) -> None:
        self._played = played
        self._hints = hints
        self._by_id = {one.killmail_id: one for one in played}

    def __len__(self) -> int:
        return len(self._played)

    def __getitem__(self, index: int, /) -> UpstreamKillmail:
        return self._played[index]

    def __iter__(self) -> Iterator[UpstreamKillmail]:
        return iter(self._played)

    def summary(self, index: int, /) -> KillmailSummary:
        """Return id and time of one killmail."""
        played = self._played[index]
        return KillmailSummary(played.killmail_id, played.killed_at_s)

    def find(self, killmail_id: int, /) -> UpstreamKillmail | None:
        """Return the killmail with this id, or None."""
        return self._by_id.get(killmail_id)

    def category_hints(self) -> Mapping[int, str]:
        """Return the categories of old ids of corporations and alliances."""
        return self._hints


def read_killmails(
    killmails: Path,
    hashes: Path | None = None,
    zkb: Path | None = None,
    bands: Mapping[int, str] | None = None,
) -> FileKillmails:
    """Read a file of killmails, one ESI body per line (plain or .gz).

    Missing hashes are computed, missing zkb blocks are made up.

    Shape: `hashes` is CSV with the columns killmail_id and hash; `zkb` has lines of
    {"killID": 1, "zkb": {...}}; `bands` has the kind of space of each solar system.

    Raises:
        Misconfigured: a file can't be read, or a line isn't a killmail.
    """
    known_hashes = _read_hashes(hashes) if hashes else {}
    known_zkb = _read_zkb(zkb) if zkb else {}
    played: dict[int, UpstreamKillmail] = {}
    hints: dict[int, str] = {}
    for number, line in enumerate(_lines(killmails), 1):
        body = line.strip()
        if not body:
            continue
        try:
            killmail = parse_killmail(body)
        except Invalid as error:
            raise Misconfigured(f"{killmails}, line {number}: {error}") from None
        killmail_id = killmail.killmail_id
        if killmail_id in played:
            continue
        hash_ = known_hashes.get(killmail_id) or killmail_hash(killmail)
        played[killmail_id] = UpstreamKillmail(
            killmail_id,
            hash_,
            int(killmail.killmail_time.timestamp()),
            body,
            known_zkb.get(killmail_id) or make_zkb(killmail, hash_, bands or {}),
        )
        _collect_legacy_ids(killmail, hints)
    return FileKillmails(list(played.values()), hints)


def _collect_legacy_ids(killmail: Killmail, hints: dict[int, str]) -> None:
    participants: list[Victim | Attacker] = [killmail.victim, *killmail.attackers]
    for one in participants:
        if _NEW_IDS_FROM <= (one.corporation_id or 0) < _CHARACTERS_ONLY_FROM:
            hints[one.corporation_id or 0] = "corporation"
        if _NEW_IDS_FROM <= (one.alliance_id or 0) < _CHARACTERS_ONLY_FROM:
            hints[one.alliance_id or 0] = "alliance"


def _open(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with _open(path) as file:
            yield from file
    except OSError as error:
        raise Misconfigured(f"{path} can't be read: {error}") from None


def _read_hashes(path: Path) -> dict[int, str]:
    rows = csv.DictReader(line.decode() for line in _lines(path))
    try:
        return {int(row["killmail_id"]): row["hash"] for row in rows}
    except (KeyError, ValueError) as error:
        raise Misconfigured(f"{path} lacks killmail_id and hash: {error!r}") from None


class _ZkbLine(msgspec.Struct):
    killID: int
    zkb: msgspec.Raw


def _read_zkb(path: Path) -> dict[int, bytes]:
    decode = msgspec.json.Decoder(_ZkbLine).decode
    try:
        return {line.killID: bytes(line.zkb) for line in map(decode, _lines(path))}
    except msgspec.DecodeError as error:
        raise Misconfigured(f"{path} isn't lines of killID and zkb: {error}") from None
