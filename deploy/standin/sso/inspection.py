"""The stand-in's own routes about the SSO: who can log in, what is granted; revokes grants."""

from aiohttp import web

from deploy.standin.playback import Playback
from deploy.standin.sso.refused import json_response


class Inspection:
    """Serves `/standin/characters` and `/standin/sso/grants`."""

    def __init__(self, playback: Playback) -> None:
        self._playback = playback

    def routes(self) -> list[web.RouteDef]:
        """List what is served."""
        return [
            web.get("/standin/characters", self.characters),
            web.get("/standin/sso/grants", self.grants),
            web.delete("/standin/sso/grants/{character_id:[0-9]+}", self.withdraw),
        ]

    async def characters(self, request: web.Request) -> web.Response:
        """List characters, those with most killmails first; `?limit=5`, 100 by default."""
        limit = request.query.get("limit", "100")
        if not (limit.isascii() and limit.isdigit()):
            return json_response({"error": f"limit is a number, not {limit}"}, status=400)
        await self._playback.characters.load()
        return json_response(self._playback.characters.all(int(limit)))

    async def grants(self, _: web.Request) -> web.Response:
        """Count the tokens that are valid, by character.

        Shape: {character_id: {"refresh_tokens": n, "access_tokens": n}}.
        """
        return json_response(self._playback.grants.counted(self._playback.now_s()))

    async def withdraw(self, request: web.Request) -> web.Response:
        """Revoke what a character granted, as its player can on EVE's own page."""
        character_id = int(request.match_info["character_id"])
        return json_response({"withdrawn": self._playback.grants.withdraw(character_id)})
