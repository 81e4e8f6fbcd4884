"""The log of a process: what its libraries say is tamed, too."""

import json
import subprocess
import sys

PROGRAM = """
import logging
import threading
import dramatiq
from actors.shared.settings import Settings
from deploy.log import set_up_logs

set_up_logs(Settings())
for number in range(1_000):
    logging.getLogger("aiokafka.client").error("Unable connect to node %d", number)
logging.getLogger("aiokafka.consumer.group_coordinator").warning("a rebalance")
logging.getLogger("faust.app.base").warning("a rebalance")
logging.getLogger("pika.adapters").error("a connection was lost")
message = dramatiq.Message("database", "persist", (b"a secret body",), {}, {}, "id-1")
logging.getLogger("dramatiq").warning("Failed to process message %s", message)
thread = threading.Thread(target=lambda: 1 / 0, name="library")
thread.start()
thread.join()
"""


def test_lines_of_libraries_are_few_and_show_no_body() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert [event["event"] for event in events] == [
        "Unable connect to node 0",
        "Failed to process message persist id-1",
        "thread.failed",
    ]
    assert "secret" not in done.stderr
