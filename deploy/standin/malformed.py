"""Malformed files and packages: faults of hash, body and zkb."""

import hashlib
from random import Random
from typing import Final, NamedTuple

import msgspec

from deploy.standin.faults import Faults, Fraction, WrongHash
from deploy.standin.killmails import UpstreamKillmail

_BODIES: Final[dict[str, bytes | None]] = {
    "null": b"null",
    "list": b"[]",
    "object": b"{}",
    "text": b'""',
    "absent": None,
}


class Parts(NamedTuple):
    """The parts of a file or package, each as JSON; `applied` lists their faults."""

    hash: bytes
    body: bytes | None
    """None omits the key."""
    zkb: bytes
    applied: tuple[str, ...]


def parts_of(
    killmail: UpstreamKillmail, zkb: bytes, faults: Faults, seed: int, position: int
) -> Parts:
    """Return the parts of one number's file with these faults; the same seed gives the same parts.

    Args:
        killmail: the killmail of the number.
        zkb: its current block.
        faults: the switches.
        seed: the seed of the run.
        position: the number's position.
    """
    hash_ = b'"%b"' % killmail.killmail_hash.encode()
    body: bytes | None = killmail.body
    applied = []
    if faults.hash_wrong and occurs("hash_wrong", faults.hash_wrong_rate, seed, position):
        wrong = _wrong_hash(Random(f"hash {seed} {position}").choice(faults.hash_wrong), killmail)
        zkb = zkb.replace(b'"hash":' + hash_, b'"hash":' + wrong, 1)
        hash_ = wrong
        applied.append("hash_wrong")
    if faults.body_wrong and occurs("body_wrong", faults.body_wrong_rate, seed, position):
        body = _BODIES[Random(f"body {seed} {position}").choice(faults.body_wrong)]
        applied.append("body_wrong")
    if occurs("zkb_list", faults.zkb_list_rate, seed, position):
        zkb = b"[]"
        applied.append("zkb_list")
    return Parts(hash_, body, zkb, tuple(applied))


def occurs(fault: str, rate: Fraction, seed: int, position: int) -> bool:
    """Return whether a position has a fault; the same seed gives the same result.

    A higher rate selects the same positions and more.
    """
    return rate > 0 and Random(f"{fault} {seed} {position}").random() < rate


def _wrong_hash(kind: WrongHash, killmail: UpstreamKillmail) -> bytes:
    right = killmail.killmail_hash
    wrong = {
        "space": right + " ",
        "upper": right.upper(),
        "empty": "",
        "null": None,
        "wrong": hashlib.sha1(right.encode(), usedforsecurity=False).hexdigest(),
    }
    return msgspec.json.encode(wrong[kind])
