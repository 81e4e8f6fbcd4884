"""Killmails that users bring, stored or delayed as the actors do, and asked for by their owner."""

from datetime import timedelta
from typing import Any

import msgspec
from sqlalchemy import insert

from actors.shared.reference import Reference, encode_reference
from actors.shared.tables import DELAYED, USER_KILLMAILS
from tests.api.gateway import TIME, a_killmail
from tests.api.login.browser import Gateway, Program

MINE = "query ($filter: MyKillmailsFilter) { myKillmails(filter: $filter) { killmailId } }"


async def list_killmails(gateway: Gateway, character_id: int, *killmail_ids: int) -> None:
    async with gateway.database.begin() as connection:
        for killmail_id in killmail_ids:
            await connection.execute(
                insert(USER_KILLMAILS).values(
                    character_id=character_id,
                    killmail_id=killmail_id,
                    source=f"esi:character/{character_id}",
                )
            )


async def delay(gateway: Gateway, *killmail_ids: int, hours: int = 72, **changes: Any) -> None:
    """Delay killmails as the actors do."""
    async with gateway.database.begin() as connection:
        for killmail_id in killmail_ids:
            reference = Reference(
                source="esi:character/1",
                position=killmail_id,
                as_of=1.0,
                killmail_id=killmail_id,
                hash="a" * 40,
                body=msgspec.Raw(a_killmail(killmail_id, **changes)),
            )
            time = TIME + timedelta(minutes=killmail_id)
            await connection.execute(
                insert(DELAYED).values(
                    killmail_id=killmail_id,
                    killmail_time=time,
                    reference=encode_reference(reference),
                    publish_at=time + timedelta(hours=hours),
                )
            )


async def mine(asked: Program, **filter_: Any) -> list[int]:
    answer = await asked.query(MINE, filter=filter_)
    return [one["killmailId"] for one in answer["data"]["myKillmails"]]
