"""The page after a login: what happens next, and the state of the first sync."""

from datetime import UTC, datetime, timedelta
from html import escape
from typing import Any, Final

from sqlalchemy import func, select
from starlette.responses import HTMLResponse

from actors.shared.tables import CORPORATION_SYNCS, DELAYED, KILLMAILS, USER_KILLMAILS
from actors.users.tokens import ACTIVE
from api.database import ReadDatabase
from api.login.pages import page
from api.login.viewer import characters_of

REFRESH_S: Final = 3
NEW: Final = timedelta(minutes=10)
"""How long after a login the page refreshes itself; by then a sync has ended or shows its error."""

_WHAT_HAPPENS: Final = """\
<p>Your character is being synchronized. About 100 recent killmails arrive first, within a minute or
so; after that, new ones arrive every 15 minutes by themselves. EVE doesn't list older ones: for
these, start an import from zKillboard with <code>importFromZkillboard</code>.</p>"""
_WHAT_NEXT: Final = """\
<p><a href="/graphql">Query your killmails</a>:
<code>{ myKillmails { killmailId killmailTime } }</code></p>
<p><a href="/auth/login?scopes=character">Add a character</a>, or
<a href="/auth/login?scopes=character,corporation">a corporation</a> whose Director you are.</p>
<form method="post" action="/auth/logout"><button>Log out</button></form>"""


async def welcome_page(database: ReadDatabase, account_id: str) -> HTMLResponse:
    """Make the page; while a first sync runs, the browser loads it again every few seconds."""
    characters = await characters_of(database, account_id)
    ids = [one["character_id"] for one in characters]
    counts, corporations = await _counts(database, ids), await _corporations(database, ids)
    rows = "\n".join(
        _row(one, counts.get(one["character_id"], (0, 0)), corporations.get(one["character_id"]))
        for one in characters
    )
    table = (
        "<table><thead><tr><th>Character</th><th>Killmails</th><th>State</th></tr></thead>\n"
        f"<tbody>\n{rows}\n</tbody></table>"
    )
    is_running = any(
        _is_new(one)
        and (
            _is_first_sync(one)
            or _is_fetching(counts.get(one["character_id"], (0, 0)))
            or _is_first_corporation_sync(one, corporations.get(one["character_id"]))
        )
        for one in characters
    )
    answer = page(
        "You are logged in",
        f"{_WHAT_HAPPENS}\n{table}\n{_WHAT_NEXT}",
        refresh_s=REFRESH_S if is_running else None,
    )
    # With no-referrer a browser sends its form with `Origin: null`. This address has no secret.
    answer.headers["Referrer-Policy"] = "same-origin"
    return answer


async def _counts(database: ReadDatabase, character_ids: list[int]) -> dict[int, tuple[int, int]]:
    """Count the stored killmails, including delayed ones, and all that were listed."""
    listed = USER_KILLMAILS.c
    here = func.coalesce(KILLMAILS.c.killmail_id, DELAYED.c.killmail_id)
    query = (
        select(
            listed.character_id,
            func.count(listed.killmail_id.distinct()).label("listed"),
            func.count(here.distinct()).label("here"),
        )
        .outerjoin(KILLMAILS, KILLMAILS.c.killmail_id == listed.killmail_id)
        .outerjoin(DELAYED, DELAYED.c.killmail_id == listed.killmail_id)
        .where(listed.character_id.in_(character_ids))
        .group_by(listed.character_id)
    )
    rows = await database.fetch_all(query)
    return {row["character_id"]: (row["here"], row["listed"]) for row in rows}


async def _corporations(database: ReadDatabase, character_ids: list[int]) -> dict[int, Any]:
    """Read the syncs of the characters' corporations."""
    query = select(CORPORATION_SYNCS).where(CORPORATION_SYNCS.c.character_id.in_(character_ids))
    return {row["character_id"]: row for row in await database.fetch_all(query)}


def _row(user: Any, counts: tuple[int, int], corporation: Any | None) -> str:
    here, listed = counts
    state = _state(user)
    if user["sync_corporation"]:
        state += f"<br>its corporation: {_corporation_state(corporation)}"
    return (
        f"<tr><td>{escape(user['character_name'])}</td><td>{here} of {listed}</td>"
        f"<td>{state}</td></tr>"
    )


def _corporation_state(sync: Any | None) -> str:
    if sync is None:
        return "its roles are looked up within seconds"
    if sync["state"] != ACTIVE:
        return f'<span class="wrong">{escape(sync["state_reason"] or sync["state"])}</span>'
    if sync["first_synced_at"]:
        return f"synchronized at {_time(sync['last_killmail_sync_at'])}"
    return "the first sync is running"


def _state(user: Any) -> str:
    if user["state"] != ACTIVE:
        reason = escape(user["state_reason"] or "EVE refuses its token")
        return f'<span class="wrong">log in again: {reason}</span>'
    if user["last_sync_error"]:
        reason = escape(user["last_sync_error"])
        return f'<span class="wrong">the last sync failed: {reason}</span>; {_next(user)}'
    if user["sync_started_at"]:
        return "the sync is running"
    if user["first_synced_at"]:
        return f"synchronized at {_time(user['last_killmail_sync_at'])}; {_next(user)}"
    if user["next_sync_at"]:
        return "the first sync begins within seconds"
    return "not synchronized: this login is for its corporation only"


def _next(user: Any) -> str:
    return f"next at {_time(user['next_sync_at'])}" if user["next_sync_at"] else "no further sync"


def _time(time: datetime | None) -> str:
    return time.strftime("%H:%M UTC") if time else "?"


def _is_new(user: Any) -> bool:
    return bool(user["logged_in_at"] > datetime.now(UTC) - NEW)


def _is_first_sync(user: Any) -> bool:
    is_scheduled = user["next_sync_at"] is not None or user["sync_started_at"] is not None
    return user["state"] == ACTIVE and user["first_synced_at"] is None and is_scheduled


def _is_fetching(counts: tuple[int, int]) -> bool:
    here, listed = counts
    return here < listed


def _is_first_corporation_sync(user: Any, sync: Any | None) -> bool:
    if sync is None:
        return bool(user["sync_corporation"])
    return sync["state"] == ACTIVE and sync["first_synced_at"] is None
