"""No parameter of a door is an error of the gateway."""

from itertools import product
from urllib.parse import quote

import aiohttp
from yarl import URL

from tests.api.gateway import Writer

PARAMETERS = {
    "/feed.sse": ("after", "victim.shipTypeId", "minTotalValue", "since", "filter", "label"),
    "/feed.ndjson": ("after", "location.near.jumps", "spaceBand", "npc", "minAttackers"),
    "/export.ndjson": ("after", "limit", "filter", "itemTypeId"),
    "/export.csv": ("after", "limit", "before"),
    "/export.parquet": ("limit",),
    "/listen.php": ("queueID", "ttw", "ttl", "filter", "killmail"),
    "/object.php": ("objectID",),
    "/ephemeral/sequence.json": ("after",),
}
ODD = (
    *(
        "",
        "0",
        "-1",
        "1.5",
        "1e400",
        "NaN",
        "Infinity",
        "null",
        "true",
        "[]",
        "{}",
        "x",
        "x" * 5000,
    ),
    *(
        str(2**31),
        str(2**63),
        str(2**64),
        "9" * 5000,
        "[" * 5000,
        '{"not":' * 500,
        "'",
        "\0",
        "\r\n",
    ),
    *('{"and":[null]}', '{"or":{"victim":[]}}', '"\\ud800"', "1,2,,3", "0001-01-01T00:00:00Z"),
    *(
        "9999-12-31T23:59:59Z",
        "a=1;b=2,c",
        "killmail_time>9999-12-31T23:59:59Z",
        "totalValue=1e999",
    ),
)
RAW = ("%", "%ff", "%ud800", "%00", "&&&", "=", "a=b=c", "?", "%5B%5D=1")


async def test_no_parameter_is_an_error_of_ours(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    await writer.add(7)
    addresses = [
        f"{door}?queueID=q&{name}={quote(odd)}"
        if door == "/listen.php"
        else f"{door}?{name}={quote(odd)}"
        for door, names in PARAMETERS.items()
        for name, odd in product(names, ODD)
    ]
    addresses += [f"{door}?{raw}" for door, raw in product(PARAMETERS, RAW)]
    addresses += [
        f"{door}?{name}=1&{name}=2" for door, names in PARAMETERS.items() for name in names
    ]
    statuses: dict[int, list[str]] = {}
    for address in addresses:
        async with client.head(URL(address, encoded=True), allow_redirects=False) as answer:
            statuses.setdefault(answer.status, []).append(address)
    assert {status for status in statuses if status >= 500} == {503}
    assert statuses[503] == ["/feed.ndjson?npc=true"]  # the static universe isn't loaded here
    assert {200, 400} < statuses.keys()
