"""Build the stand-in and run it, in another program's event loop or as a process."""

import asyncio
import signal
import sys
from dataclasses import dataclass

import msgspec
from aiohttp import web

from deploy.standin.census import Census
from deploy.standin.control import Control
from deploy.standin.dataset import Dataset
from deploy.standin.entities import Entities
from deploy.standin.esi import Esi
from deploy.standin.esi_gateway import EsiGateway
from deploy.standin.everef import EveRef
from deploy.standin.killmails import Killmails, read_killmails
from deploy.standin.members import Members
from deploy.standin.names import Names, read_bands
from deploy.standin.participants import Participants
from deploy.standin.playback import Playback, StandinOptions
from deploy.standin.r2z2 import R2z2
from deploy.standin.redisq import Redisq
from deploy.standin.sso.inspection import Inspection
from deploy.standin.sso.routes import Sso
from deploy.standin.static_data import StaticData
from deploy.standin.synthetic import ENDLESS, SyntheticKillmails
from deploy.standin.universe import Universe
from deploy.standin.zkillboard import Zkillboard

__all__ = ["Standin", "StandinOptions", "load_dataset", "run_standin", "start_standin"]


@dataclass(frozen=True)
class Standin:
    """A running stand-in. `url` has no trailing slash."""

    url: str
    playback: Playback
    control: Control
    _runner: web.AppRunner

    @property
    def dataset(self) -> Dataset:
        """The dataset."""
        return self.playback.dataset

    async def stop(self) -> None:
        """Stop serving; long polls end at once."""
        await self._runner.cleanup()


def load_dataset(options: StandinOptions) -> Dataset:
    """Read or make up the killmails and lay them out; usable without a server.

    Raises:
        Misconfigured: a file is missing or wrong.
    """
    return Dataset(
        _load_killmails(options),
        seed=options.seed,
        faults=options.faults,
        first_sequence=options.first_sequence,
        rate_per_s=options.effective_rate_per_s,
        started_at_s=options.clock() - options.released_before_s,
    )


async def start_standin(options: StandinOptions) -> Standin:
    """Serve in the running event loop until `stop()`.

    Raises:
        Misconfigured: a file is missing or wrong.
        OSError: the port is in use.
    """
    dataset = await asyncio.to_thread(load_dataset, options)
    limits = options.limits and options.faults.limits
    playback = Playback(
        options,
        dataset,
        Names(dataset.killmails.category_hints(), options.universe),
        msgspec.structs.replace(options.faults, limits=limits),
    )
    participants = Participants(dataset)
    r2z2, gateway = R2z2(playback), EsiGateway(playback)
    zkillboard = Zkillboard(playback, participants, r2z2)
    control = Control(playback, r2z2, gateway, zkillboard)
    app = web.Application(client_max_size=1024 * 1024)
    census = Census(playback, participants)
    upstreams = (
        r2z2,
        EveRef(playback, r2z2),  # before ESI, whose paths are wider
        Redisq(playback),
        Esi(playback, gateway),
        Members(playback, gateway, participants, census),
        Entities(playback, gateway, participants, census),
        Universe(playback, gateway),
        StaticData(playback),
        Sso(playback),
        zkillboard,
        control,
        Inspection(playback),
    )
    for upstream in upstreams:
        app.add_routes(upstream.routes())
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, options.host, options.port)
    await site.start()
    port = runner.addresses[0][1]
    return Standin(f"http://{options.host}:{port}", playback, control, runner)


async def run_standin(options: StandinOptions) -> None:
    """Serve until SIGINT or SIGTERM.

    Prints the address and the dataset in the first line, and the counts of requests in the last.

    Raises:
        Misconfigured: a file is missing or wrong.
        OSError: the port is in use.
    """
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_ in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signal_, ended.set)
    standin = await start_standin(options)
    _print(f"stand-in at {standin.url}: {describe(options)}")
    try:
        await ended.wait()
    finally:
        counted = msgspec.json.encode(standin.playback.stats.counted()).decode()
        await standin.stop()
        _print(f"stand-in ended: {counted}")


def describe(options: StandinOptions) -> str:
    """Return dataset, rate and limits in one line."""
    if options.killmails:
        what = f"serves {options.killmails}"
    else:
        many = "no end of" if options.synthetic is None else f"{options.synthetic:,}"
        what = f"makes up {many} killmails from seed {options.seed}"
    rate_per_s = options.effective_rate_per_s
    pace = "all at once" if rate_per_s is None else f"{rate_per_s:g} per second"
    limits = "limits on" if options.limits and options.faults.limits else "limits off"
    return (
        f"{what}, {pace}, {limits}; R2Z2, RedisQ, ESI, SSO, zKillboard and EVE Ref on this address"
    )


def _load_killmails(options: StandinOptions) -> Killmails:
    if options.killmails is None:
        count = ENDLESS if options.synthetic is None else options.synthetic
        return SyntheticKillmails(
            count, options.seed, options.begins_at, options.effective_rate_per_s
        )
    bands = read_bands(options.universe) if options.universe else {}
    return read_killmails(options.killmails, options.hashes, options.zkb, bands)


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
