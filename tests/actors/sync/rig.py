"""What syncs list, and what they send."""

from collections.abc import Callable
from typing import Any

from actors.killmails.fetch import fetch
from actors.killmails.persist import persist
from actors.resources import Resources
from actors.shared.reference import Reference, decode_reference
from actors.shared.tables import USERS
from actors.sync.corporation import enroll_corporation
from deploy.standin.server import Standin
from tests.support.esi import run, sent
from tests.support.login import log_in
from tests.support.tables import rows

PAGE = 1
"""Killmails on a page of a list."""


async def user(opened: Resources) -> Any:
    (row,) = await rows(opened.database, USERS)
    return row


def listed_of(upstream: Standin, character_id: int) -> set[int]:
    """The killmails in which a character takes part."""
    wanted = b'"character_id":%d' % character_id
    return {
        one.killmail_id
        for one in upstream.dataset.killmails
        if wanted + b"," in one.body or wanted + b"}" in one.body
    }


def references() -> list[Reference]:
    """Take what was sent to `fetch`, in order."""
    messages = sent("esi")
    assert {message.actor_name for message in messages} <= {"fetch"}
    return [decode_reference(value) for message in messages for value in message.args[0]]


async def fetch_and_store() -> None:
    """Do the work that a sync sent."""
    for message in sent("esi"):
        await run(fetch, *message.args)
    for message in sent("database"):
        await run(persist, *message.args)


def killed_at(upstream: Standin) -> Callable[[int], float]:
    times = {one.killmail_id: one.killed_at_s for one in upstream.dataset.killmails}
    return times.__getitem__


def calls(upstream: Standin, endpoint: str) -> int:
    return sum(n for key, n in upstream.playback.stats.requests.items() if key[1] == endpoint)


async def a_director(opened: Resources, upstream: Standin, *, is_director: bool) -> tuple[int, int]:
    """Log a member in; give character and corporation."""
    member = next(
        one for one in upstream.playback.characters.all(300) if one.is_director == is_director
    )
    await log_in(opened.keeper, member.character_id, ("character", "corporation"))
    await run(enroll_corporation, member.character_id)
    return member.character_id, (await user(opened))["corporation_id"]
