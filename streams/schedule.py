"""What has to happen from time to time, once for all processes: by the group's leader."""

from actors.broker import enqueue
from actors.history.imports import sync_zkillboard
from actors.killmails.publish import sweep
from actors.killmails.recall import recall
from actors.shared.settings import settings
from actors.sync.delayed import publish_delayed
from actors.sync.schedule import schedule_syncs
from streams.app import app


@app.timer(interval=30.0, on_leader=True)  # type: ignore[untyped-decorator]  # faust's
async def sweep_unpublished() -> None:
    """Have the entries published that a crash left unpublished."""
    await enqueue(sweep)


@app.timer(interval=30.0, on_leader=True)  # type: ignore[untyped-decorator]  # faust's
async def recall_unpolled() -> None:
    """Have ledger entries sent again that no poller sends."""
    await enqueue(recall)


@app.timer(interval=5.0, on_leader=True)  # type: ignore[untyped-decorator]  # faust's
async def start_due_syncs() -> None:
    """Have the syncs of users and corporations started that are due."""
    if settings().eve_client_id:
        await enqueue(schedule_syncs)


@app.timer(interval=30.0, on_leader=True)  # type: ignore[untyped-decorator]  # faust's
async def publish_due() -> None:
    """Have the killmails published whose publication was delayed until now."""
    if settings().eve_client_id:
        await enqueue(publish_delayed)


@app.timer(interval=10.0, on_leader=True)  # type: ignore[untyped-decorator]  # faust's
async def continue_imports() -> None:
    """Have the imports of history from zKillboard go on."""
    await enqueue(sync_zkillboard)
