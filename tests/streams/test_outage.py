"""What is given time to finish after a cancellation is heard of no more."""

import asyncio
import gc
from typing import Any

from streams.outage import finish


async def test_an_error_after_a_second_cancellation_is_not_logged() -> None:
    heard: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
    began, goes_on = asyncio.Event(), asyncio.Event()

    async def fails() -> None:
        began.set()
        await goes_on.wait()
        raise TimeoutError("PostgreSQL didn't answer")

    finishing = asyncio.create_task(finish(fails(), grace_s=10))
    await began.wait()
    for _ in range(2):  # the second one comes within the grace
        finishing.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    await asyncio.wait([finishing])
    assert finishing.cancelled()
    goes_on.set()
    while len(asyncio.all_tasks()) > 1:
        await asyncio.sleep(0)
    del finishing  # its traceback has the task
    gc.collect()
    assert heard == []
