"""The stand-in's own endpoints: switches, counts, and the dataset."""

from collections.abc import Mapping
from json import JSONDecodeError
from typing import Any

import msgspec
from aiohttp import web

from actors.shared.errors import Misconfigured
from deploy.standin.esi_gateway import EsiGateway
from deploy.standin.playback import Playback, Window
from deploy.standin.r2z2 import R2z2
from deploy.standin.zkillboard import Zkillboard


class Control:
    """Serves `/standin`."""

    def __init__(
        self, playback: Playback, r2z2: R2z2, gateway: EsiGateway, zkillboard: Zkillboard
    ) -> None:
        self._playback = playback
        self._r2z2 = r2z2
        self._gateway = gateway
        self._zkillboard = zkillboard

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/standin/faults", self.faults),
            web.put("/standin/faults", self.set_faults),
            web.delete("/standin/faults", self.reset_faults),
            web.get("/standin/stats", self.stats),
            web.get("/standin/killmails", self.killmails),
            web.get("/standin/killmails/{killmail_id}", self.killmail),
        ]

    async def faults(self, _: web.Request) -> web.Response:
        """Return the current switches."""
        return _json(self._playback.faults)

    async def set_faults(self, request: web.Request) -> web.Response:
        """Set the given switches; the others don't change.

        With `?for_s=120` for that time only; with `&from_s=30` starting after that time.
        """
        try:
            changes = await request.json()
            if request.query:
                self._playback.open_window(_window(changes, request.query))
            else:
                self._playback.switch(changes)
        except (JSONDecodeError, UnicodeDecodeError) as error:
            return _json({"error": f"not JSON: {error}"}, status=400)
        except Misconfigured as error:
            return _json({"error": str(error)}, status=400)
        return _json(self._playback.faults)

    async def reset_faults(self, _: web.Request) -> web.Response:
        """Reset all switches to their values at the start; close all windows."""
        self._playback.reset()
        return _json(self._playback.faults)

    async def stats(self, _: web.Request) -> web.Response:
        """Return the counts since the start."""
        return _json(self.counted())

    async def killmails(self, _: web.Request) -> web.Response:
        """Return the ids of the released killmails, each once, in the order of their release."""
        dataset = self._playback.dataset
        released = dataset.released_indexes(self._playback.now_s())
        return _json([dataset.killmails.summary(index).killmail_id for index in released])

    async def killmail(self, request: web.Request) -> web.Response:
        """Return one killmail of the dataset: id, hash, body and zkb."""
        given = request.match_info["killmail_id"]
        digits = given.isascii() and given.isdigit()
        played = self._playback.dataset.killmails.find(int(given)) if digits else None
        if played is None:
            return _json({"error": f"no killmail {given} in this dataset"}, status=404)
        return _json(
            {
                "killmail_id": played.killmail_id,
                "hash": played.killmail_hash,
                "killmail": msgspec.Raw(played.body),
                "zkb": msgspec.Raw(played.zkb),
            }
        )

    def counted(self) -> dict[str, Any]:
        """Return all counts.

        Shape: {"requests": {upstream: {endpoint: {status: n}}}, "faults": {kind: n},
        "refused": {limit: n}, "esi": {"tokens_used", "tokens_highest", "refused"} of the killmail
        group, "buckets": {group: {"tokens", "highest", "refused", "owners": {owner: highest}}},
        "r2z2": {"highest_per_s", "refused"}, "zkillboard": {"highest_per_s", "refused",
        "repeated", "errors"}, "dataset": {"total", "released", "numbers", "first_sequence",
        "last_sequence"}}; `last_sequence` is null before the first is out.
        """
        playback, dataset = self._playback, self._playback.dataset
        now_s = playback.now_s()
        numbers = dataset.released(now_s)
        return playback.stats.counted() | {
            "esi": {
                "tokens_used": self._gateway.tokens_used("killmail"),
                "tokens_highest": self._gateway.tokens_highest("killmail"),
                "refused": playback.stats.refused["killmail"],
            },
            "buckets": self._gateway.buckets(),
            "r2z2": {
                "highest_per_s": self._r2z2.highest_per_s(),
                "refused": playback.stats.refused["r2z2"],
            },
            "zkillboard": self._zkillboard.counted(),
            "dataset": {
                "total": len(dataset.killmails),
                "released": len(dataset.released_indexes(now_s)),
                "numbers": numbers,
                "first_sequence": dataset.first_sequence,
                "last_sequence": dataset.first_sequence + numbers - 1 if numbers else None,
            },
        }


def _window(changes: Any, times: Mapping[str, str]) -> Window:
    try:
        return msgspec.convert({"faults": changes, **times}, Window, strict=False)
    except msgspec.ValidationError as error:
        raise Misconfigured(f"no such window: {error}") from None


def _json(payload: Any, *, status: int = 200) -> web.Response:
    body = msgspec.json.encode(payload)
    return web.Response(status=status, body=body, content_type="application/json")
