"""Log characters in at a stand-in, as a user does."""

from typing import Any

import aiohttp
from cryptography.fernet import Fernet
from pydantic import SecretStr
from yarl import URL

from actors.shared.settings import Settings
from actors.users.login import LoggedIn, begin_login, complete_login, esi_scopes
from actors.users.tokens import Keeper
from deploy.standin.server import Standin
from deploy.standin.sso.applications import DEVELOPMENT

KEY = Fernet.generate_key().decode()
CLIENT = "what the browser keeps"


def login_settings(upstream: Standin, **changes: Any) -> dict[str, Any]:
    """Give the settings with which users log in at a stand-in."""
    return {
        "sso_url": upstream.url,
        "esi_url": upstream.url,
        "zkillboard_url": upstream.url,
        "everef_url": upstream.url,
        "r2z2_url": upstream.url,
        "eve_client_id": DEVELOPMENT.client_id,
        "eve_client_secret": SecretStr(DEVELOPMENT.secret),
        "eve_callback_url": DEVELOPMENT.callbacks[0],
        "token_keys": SecretStr(KEY),
    } | changes


def with_logins(settings: Settings, upstream: Standin, **changes: Any) -> Settings:
    return settings.model_copy(update=login_settings(upstream, **changes))


def characters(upstream: Standin, count: int = 50) -> list[int]:
    """List characters that can log in, those with most killmails first."""
    return [one.character_id for one in upstream.playback.characters.all(count)]


async def consent(url: str, character_id: int) -> tuple[str, str]:
    """Consent at EVE's page as a character; give the code and the state of the callback."""
    async with (
        aiohttp.ClientSession() as http,
        http.get(
            URL(url).update_query(character_id=str(character_id)), allow_redirects=False
        ) as answer,
    ):
        assert answer.status == 302, await answer.text()
        back = URL(answer.headers["Location"]).query
        return back["code"], back["state"]


async def log_in(
    keeper: Keeper,
    character_id: int,
    scopes: tuple[str, ...] = ("character",),
    account_id: str | None = None,
) -> LoggedIn:
    """Log a character in."""
    begun = await begin_login(keeper, esi_scopes(scopes), CLIENT, account_id)
    code, state = await consent(begun.url, character_id)
    return await complete_login(keeper, code, state, CLIENT, account_id)
