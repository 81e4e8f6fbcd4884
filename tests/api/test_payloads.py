"""Results that clients share take a bounded part of the memory."""

import aiohttp
import pytest

from api import payloads
from api.payloads import FREE_BYTES, MAX_PAYLOADS, PER_BYTE, Payloads
from tests.api.gateway import Writer, a_killmail, connect


def kept(shared: Payloads, count: int, size: int) -> int:
    for number in range(count):
        shared.add((number,), bytes(size))
    return sum(shared.get((number,)) is not None for number in range(count))


def test_results_are_bounded_in_number_and_bytes() -> None:
    assert kept(Payloads(), 100, 1) == MAX_PAYLOADS
    assert kept(Payloads(), 16, FREE_BYTES // 4) == 4
    assert kept(Payloads(1_000_000), 2, PER_BYTE * 1_000_000) == 1
    assert kept(Payloads(), 1, FREE_BYTES + 1) == 0


@pytest.mark.parametrize("free_bytes", [64 * 1024, 0])
async def test_clients_get_their_results_whether_or_not_they_are_kept(
    client: aiohttp.ClientSession,
    writer: Writer,
    monkeypatch: pytest.MonkeyPatch,
    free_bytes: int,
) -> None:
    """By so many aliases that all results of an event take far more than the event."""
    monkeypatch.setattr(payloads, "FREE_BYTES", free_bytes)
    monkeypatch.setattr(payloads, "PER_BYTE", 0)
    executed: list[Payloads] = []
    parts = " ".join(f"a{n}: attackers {{ characterId shipTypeId }}" for n in range(200))
    document = "subscription {{ killmailAdded(maxAge: {}) {{ killmailId {} }} }}"
    add = Payloads.add

    def record(self: Payloads, key: payloads.Key, payload: bytes) -> None:
        add(self, key, payload)
        executed.append(self)

    monkeypatch.setattr(Payloads, "add", record)
    async with connect(client) as one, connect(client) as other:
        for age, connection in enumerate((one, other)):
            await connection.subscribe(document.format(age, parts))
        await writer.publish(*await writer.store(a_killmail(1)))
        for connection in (one, other):
            sent = (await connection.next())["killmailAdded"]
            assert (sent["killmailId"], len(sent)) == (1, 201)
    assert len(executed) == (1 if free_bytes else 2), "so often the operation was executed"
