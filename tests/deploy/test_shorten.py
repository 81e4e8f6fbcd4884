"""No log line shows a killmail's body."""

import logging

import dramatiq
import msgspec
import pytest
from dramatiq.brokers.stub import StubBroker
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.reference import encode_reference
from deploy.shorten import MAX_CHARS, MAX_TRACEBACK_CHARS, name_messages, shorten
from tests.support.made import a_body, a_reference, many_attackers

BODY = a_body(1, attackers=many_attackers(500))
SIZE_OF_REST = 60


def test_dramatiq_logs_actor_and_id_of_a_message_without_arguments() -> None:
    message = dramatiq.Message[None](
        "database", "persist", ([encode_reference(a_reference(BODY))],), {}, {}, message_id="17"
    )
    broker = StubBroker()
    for given in (message, dramatiq.MessageProxy(message)):
        record = logging.LogRecord(
            "dramatiq", logging.ERROR, "", 0, "Failed to process message %s.", (given,), None
        )
        assert name_messages(record)
        assert record.getMessage() == "Failed to process message persist 17."
    broker.close()


@pytest.mark.parametrize("value", [BODY.decode(), BODY, [BODY], {"body": BODY}], ids=type)
def test_long_values_are_cut(value: object) -> None:
    event = shorten(None, "", {"event": "x", "what": value})
    assert len(event["what"]) < MAX_CHARS + SIZE_OF_REST
    assert "characters" in event["what"]


def test_short_values_stay_what_they_are() -> None:
    event = {"event": "x", "passed": {"hole": 1}, "n": 10**600, "why": None, "some": [1, 2]}
    assert shorten(None, "", dict(event)) == event


def test_a_traceback_is_cut_line_by_line() -> None:
    lines = ["Traceback", f"  File {BODY.decode()}", "ValueError: " + BODY.decode(), "end"]
    cut = shorten(None, "", {"event": "x", "exception": "\n".join(lines)})["exception"]
    assert [line[:10] for line in cut.split("\n")] == [line[:10] for line in lines]
    assert len(cut) < 4 * (MAX_CHARS + SIZE_OF_REST)
    long = shorten(None, "", {"event": "x", "exception": "line\n" * 100_000})["exception"]
    assert len(long) < MAX_TRACEBACK_CHARS + SIZE_OF_REST


async def test_an_error_of_the_database_shows_no_parameters(database: AsyncEngine) -> None:
    body = BODY.decode()
    assert msgspec.json.decode(body)
    async with database.connect() as connection:
        with pytest.raises(DBAPIError) as raised:
            await connection.execute(text("SELECT :body FROM nowhere"), {"body": body})
    assert body[:100] not in str(raised.value)
