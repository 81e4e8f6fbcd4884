"""`killstream dead`, on a real RabbitMQ."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pika
import pytest
from typer.testing import CliRunner, Result

from actors.rabbitmq import UNAVAILABLE, connection_parameters
from actors.shared.settings import Settings
from deploy import dead_letters
from deploy.cli import app
from deploy.ports import free_port
from tests.support.dead import (
    HOUR_MS,
    Sent,
    a_message,
    declare,
    held,
    now_ms,
    priorities,
    put,
)
from tests.support.proxy import open_proxy
from tests.support.servers import empty_servers

XQ = "database.XQ"
TIMEOUT_S = 60


async def dead(settings: Settings, *arguments: str) -> Result:
    """Run `killstream dead` in this process, on these settings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("deploy.cli.dead.configure", lambda: settings)
        return await asyncio.to_thread(lambda: CliRunner().invoke(app, ["dead", *arguments]))


async def listed(settings: Settings, *arguments: str) -> Any:
    done = await dead(settings, "list", "--json", *arguments)
    assert done.exit_code == 0, done.output
    return msgspec.json.decode(done.stdout)


def ids(messages: list[Sent]) -> list[str]:
    return [message["message_id"] for message in messages]


@pytest.fixture
async def rabbit() -> AsyncIterator[Settings]:
    async with empty_servers() as settings:
        declare(settings)
        yield settings


TRACEBACK = 'T\n  File "a.py", line 1, in a\n    a()\nesi.Refused: 422 of\x1b[2J it\nand so on\n'


def a_fetch() -> Sent:
    """Make a message that is five hours old."""
    return a_message(
        "f-1",
        "fetch",
        queue_name="esi",
        options={"retries": 2, "traceback": TRACEBACK},
        message_timestamp=now_ms() - 5 * HOUR_MS,
    )


@pytest.mark.service
async def test_list_counts_and_filters_and_prints_no_content(rabbit: Settings) -> None:
    unknown = a_message("k-1", "gone", options={})
    put(rabbit, XQ, [a_message("p-1"), a_message("p-2"), unknown, b"\xc1 no message"])
    put(rabbit, "esi.XQ", [a_fetch()])

    shown = await listed(rabbit)
    assert shown["counts"][0] == {
        "queue": "database",
        "actor": "persist",
        "reason": "OSError: no disk",
        "count": 2,
    }
    p_1, _, gone, unreadable, fetch = shown["dead"]
    assert 3_600 <= p_1.pop("age_s") < 4_000
    assert p_1.pop("sent_at_ms") < now_ms() - HOUR_MS
    assert p_1 == {
        "queue": "database",
        "message_id": "p-1",
        "actor": "persist",
        "actor_exists": True,
        "tries": 12,
        "reason": "OSError: no disk",
        "size_bytes": len(msgspec.msgpack.encode(a_message("p-1"))),
        "killmail_ids": [7],
    }
    assert (gone["actor_exists"], unreadable["actor"]) == (False, "unreadable")
    assert (fetch["queue"], fetch["reason"]) == ("esi", r"esi.Refused: 422 of\x1b[2J it")

    text = (await dead(rabbit, "list")).stdout
    assert text.splitlines()[:2] == [
        "5 dead letters",
        "       2  database  persist  OSError: no disk",
    ]
    assert "gone (no such actor in this version)" in text
    assert "secret body" not in text
    for arguments, expected in {
        ("--queue", "esi"): ["f-1"],
        ("--actor", "persist"): ["p-1", "p-2"],
        ("--actor", "persist", "--limit", "1"): ["p-1"],
        ("--reason", "NO DISK"): ["p-1", "p-2"],
        ("--older-than", "2h"): ["f-1"],
        ("--newer-than", "2h", "--actor", "persist"): ["p-1", "p-2"],
    }.items():
        assert ids((await listed(rabbit, *arguments))["dead"]) == expected, arguments
    assert len(held(rabbit, XQ)) == 4


@pytest.mark.service
async def test_a_retry_resets_the_tries_and_keeps_the_order_of_the_others(rabbit: Settings) -> None:
    put(rabbit, XQ, [a_message(f"{number:03}") for number in range(300)])
    before = held(rabbit, XQ)
    ambiguous = await dead(rabbit, "retry", "007", "00")
    assert (ambiguous.exit_code, held(rabbit, XQ)) == (1, before)
    assert "10 ids begin with '00'" in ambiguous.stderr
    would = await dead(rabbit, "retry", "007", "199", "--dry-run")
    assert (would.stdout.splitlines()[0], held(rabbit, XQ)) == ("would retry 2", before)

    done = await dead(rabbit, "retry", "199", "007")
    assert (done.exit_code, done.stdout) == (0, "retried 2 of 2\n"), done.stderr
    again = held(rabbit, "database")
    assert ids(again) == ["007", "199"]
    assert again[0] == before[7] | {"options": {"broker_priority": 9}}
    assert priorities(rabbit, "database") == [9, 9]
    assert held(rabbit, XQ) == [m for m in before if m["message_id"] not in ("007", "199")]

    assert (await dead(rabbit, "drop", "--older-than", "2h")).stdout == "dropped 0 of 0\n"
    assert (await dead(rabbit, "drop", "--limit", "8")).stdout == "dropped 8 of 8\n"
    assert (await dead(rabbit, "drop")).exit_code == 2  # all only when all is said
    assert ids(held(rabbit, XQ))[0] == "009"
    assert (await dead(rabbit, "retry", "--all")).stdout == "retried 290 of 290\n"
    assert (len(held(rabbit, "database")), held(rabbit, XQ)) == (292, [])


@pytest.mark.service
async def test_an_actor_of_another_version_is_named_and_can_only_be_dropped(
    rabbit: Settings,
) -> None:
    put(rabbit, XQ, [a_message("k-1", "gone"), a_message("k-2", "keep"), b"no message"])
    done = await dead(rabbit, "retry", "--all")
    assert (done.exit_code, done.stdout) == (1, "retried 1 of 1\n")
    assert "1 of gone (no such actor in this version) can't be retried" in done.stderr
    assert "killstream dead drop --actor unreadable" in done.stderr
    assert ids(held(rabbit, "database")) == ["k-2"]
    assert (await dead(rabbit, "drop", "--actor", "gone")).stdout == "dropped 1 of 1\n"
    assert (await dead(rabbit, "drop", "--actor", "unreadable")).stdout == "dropped 1 of 1\n"
    assert held(rabbit, XQ) == []


@pytest.mark.service
async def test_show_prints_a_message_with_its_content(rabbit: Settings) -> None:
    put(rabbit, XQ, [a_message("abc1"), a_message("abc2"), a_message("d")])
    shown = (await dead(rabbit, "show", "abc2")).stdout
    assert 'argument   {"killmail_id":7,"hash":"secret body"}' in shown
    assert "traceback  OSError: no disk" in shown
    ambiguous = await dead(rabbit, "show", "abc")
    assert (ambiguous.exit_code, "2 ids begin with 'abc'" in ambiguous.stderr) == (1, True)
    assert "no dead letter's id" in (await dead(rabbit, "show", "x")).stderr


@pytest.mark.service
async def test_a_message_that_can_not_be_sent_stays_a_dead_letter(rabbit: Settings) -> None:
    put(rabbit, XQ, [a_message("a"), a_message("b")])
    with pika.BlockingConnection(connection_parameters(rabbit.rabbitmq_url)) as connection:
        connection.channel().queue_delete("database")
    done = await dead(rabbit, "retry", "--all")
    assert (done.exit_code, done.stdout) == (1, "retried 0 of 2\n")
    assert "there is no queue database" in done.stderr
    assert ids(held(rabbit, XQ)) == ["a", "b"]


@pytest.mark.service
async def test_a_second_reader_of_a_queue_is_refused(rabbit: Settings) -> None:
    put(rabbit, XQ, [a_message("a"), a_message("b")])
    with dead_letters.connected(rabbit.rabbitmq_url) as connection:
        reading = dead_letters.read_all(connection, ["database"])
        next(reading)
        second = await dead(rabbit, "list")
        reading.close()
    assert second.exit_code == 1
    assert "another command is reading database.XQ" in second.stderr
    assert ids((await listed(rabbit))["dead"]) == ["a", "b"]


@pytest.mark.service
async def test_a_silent_rabbitmq_ends_the_command_and_keeps_the_dead_letters(
    rabbit: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.rabbitmq.HEARTBEAT_S", 1)
    put(rabbit, XQ, [a_message("a"), a_message("b")])

    def drop_all(url: str) -> None:
        with dead_letters.connected(url) as connection:
            chosen = list(dead_letters.read_all(connection, ["database"]))
            proxy.go_silent()
            list(dead_letters.drop(connection, chosen))

    async with open_proxy(rabbit.rabbitmq_url) as proxy:
        with pytest.raises(UNAVAILABLE):
            async with asyncio.timeout(TIMEOUT_S):
                await asyncio.to_thread(drop_all, proxy.url(rabbit.rabbitmq_url))
        await proxy.close_connections()
    async with asyncio.timeout(TIMEOUT_S):  # RabbitMQ, too, has to see that the reader is gone
        while ids(held(rabbit, XQ)) != ["a", "b"]:
            await asyncio.sleep(0.1)


@pytest.mark.service
async def test_without_queues_there_are_no_dead_letters() -> None:
    async with empty_servers() as settings:
        assert (await dead(settings, "list")).stdout == "0 dead letters\n"


async def test_without_rabbitmq_there_are_no_dead_letters() -> None:
    done = await dead(Settings(), "list")
    assert done.exit_code == 2
    assert "there are no dead letters" in " ".join(done.stderr.split())


async def test_an_unavailable_rabbitmq_is_reported_in_one_line() -> None:
    done = await dead(Settings(rabbitmq_url=f"amqp://a:b@127.0.0.1:{free_port()}/x"), "list")
    assert done.exit_code == 1
    assert "KILLSTREAM_RABBITMQ_URL" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("traceback", "reason"),
    [
        ("", dead_letters.NO_REASON),
        (
            'T\n  File "a", line 1, in a\nsqlalchemy.exc.DBAPIError: bad\n[SQL: x]\n(Background)',
            "sqlalchemy.exc.DBAPIError: bad",
        ),
        (
            '  + T\n  |   File "a", line 1, in a\n  | ExceptionGroup: two (1 sub-exception)\n'
            '  +-+---------------- 1 ----------------\n    | T\n    |   File "b", line 2, in b\n'
            "    | ValueError: inner\n    +------------------------------------\n",
            "ValueError: inner",
        ),
        ('  File "a", line 1, in a\nE: ' + "x" * 900, "E: " + "x" * 197),
    ],
    ids=["none", "of SQLAlchemy", "a group", "long"],
)
def test_the_reason_is_the_last_error_of_the_traceback(traceback: str, reason: str) -> None:
    assert dead_letters.reason_of(traceback) == reason
