"""What has to happen from time to time, once for all processes: by the group's leader."""

from actors.broker import enqueue
from actors.killmails.publish import sweep
from actors.killmails.recall import recall
from streams.app import app


@app.timer(interval=30.0, on_leader=True)  # type: ignore[untyped-decorator]  # faust's
async def sweep_unpublished() -> None:
    """Have the entries published that a crash left unpublished."""
    await enqueue(sweep)


@app.timer(interval=30.0, on_leader=True)  # type: ignore[untyped-decorator]  # faust's
async def recall_unpolled() -> None:
    """Have ledger entries sent again that no poller sends."""
    await enqueue(recall)
