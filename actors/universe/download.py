"""Download the archive of static data, if it has changed."""

import hashlib
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import BinaryIO, Final, cast

import aiohttp

from actors.shared.errors import Invalid, Misconfigured, ServerUnavailable
from actors.shared.outage import one_line
from actors.shared.settings import Settings, masked
from actors.shared.useragent import user_agent

MAX_BYTES: Final = 512 * 1024 * 1024
"""Of the archive. CCP's has 99 MB."""
TIMEOUT: Final = aiohttp.ClientTimeout(total=1800, sock_connect=10, sock_read=60)
CHUNK_BYTES: Final = 256 * 1024
MAX_REDIRECTS: Final = 5

OnBytes = Callable[[int, int | None], None]


@dataclass(frozen=True)
class Downloaded:
    """An archive in a temporary file, which nothing but this process can find."""

    file: BinaryIO
    digest: str
    """SHA-256, in hexadecimal digits."""
    etag: str | None


@asynccontextmanager
async def downloading(
    settings: Settings,
    http: aiohttp.ClientSession,
    etag: str | None,
    on_bytes: OnBytes = lambda done, total: None,
) -> AsyncIterator[Downloaded | None]:
    """Download to a file in the data directory that is gone with the block, or a crash.

    Yields None when the upstream has what has this ETag. A download that is cut off begins anew
    with the next call.

    Args:
        settings: The URL and the data directory.
        http: What sends the request.
        etag: Of the archive that was loaded; None: download in any case.
        on_bytes: Called with the bytes so far, and with all if the upstream says how many.

    Raises:
        ServerUnavailable: the upstream doesn't answer, or doesn't give a whole file.
        Invalid: it gives something else, or too much.
        Misconfigured: the contact is missing, or the data directory can't be used.
    """
    url = settings.sde_url
    headers = {"User-Agent": user_agent(settings, url), "Accept-Encoding": "identity"}
    if etag:
        headers["If-None-Match"] = etag
    with _temporary(settings) as file:
        try:
            async with http.get(
                url, headers=headers, timeout=TIMEOUT, max_redirects=MAX_REDIRECTS
            ) as response:
                downloaded = await _receive(response, file, on_bytes, known=etag is not None)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ServerUnavailable(f"{masked(url)}: {one_line(error)}") from None
        except OSError as error:
            raise Misconfigured(f"can't write to {settings.data_dir}: {error.strerror}") from None
        yield downloaded


@contextmanager
def _temporary(settings: Settings) -> Iterator[BinaryIO]:
    """Open a file without a name in the data directory."""
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        opened = tempfile.TemporaryFile(dir=settings.data_dir)  # noqa: SIM115  # closed below
    except OSError as error:
        raise Misconfigured(
            f"can't write to KILLSTREAM_DATA_DIR {settings.data_dir}: {error.strerror}"
        ) from None
    with opened as file:
        yield cast(BinaryIO, file)


async def _receive(
    response: aiohttp.ClientResponse, file: BinaryIO, on_bytes: OnBytes, *, known: bool
) -> Downloaded | None:
    where = masked(str(response.url))
    if known and response.status == HTTPStatus.NOT_MODIFIED:
        return None
    if response.status != HTTPStatus.OK:
        raise ServerUnavailable(f"{where} answers {response.status}")
    if any(hop.url.scheme == "https" for hop in response.history) and not _is_safe(response):
        raise Invalid(f"it redirects from https to {where}")
    total, done, digest = response.content_length, 0, hashlib.sha256()
    async for chunk in response.content.iter_chunked(CHUNK_BYTES):
        done += len(chunk)
        if done > MAX_BYTES:
            raise Invalid(f"{where} gives more than {MAX_BYTES} bytes")
        digest.update(chunk)
        file.write(chunk)
        on_bytes(done, total)
    return Downloaded(file, digest.hexdigest(), response.headers.get("ETag"))


def _is_safe(response: aiohttp.ClientResponse) -> bool:
    return response.url.scheme == "https"
