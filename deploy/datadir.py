"""One process a data directory: two would poll the upstream twice, and it bans for that."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from actors.shared.errors import Misconfigured

LOCK_FILE: Final = "killstream.lock"


@contextmanager
def hold_data_dir(data_dir: Path) -> Iterator[None]:
    """Make the directory and hold its lock for the length of the block.

    The system releases the lock when the process ends, however it does.

    Raises:
        Misconfigured: another process holds it, or the directory can't be used.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        file = (data_dir / LOCK_FILE).open("a+")
    except OSError as error:
        raise Misconfigured(f"can't use the data directory {data_dir}: {error.strerror}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise Misconfigured(
                f"process {file.read().strip() or '?'} already runs in {data_dir}:"
                " stop it, or set KILLSTREAM_DATA_DIR to another directory"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
