"""Allow one process per data directory: two would poll the upstream twice and get banned."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from actors.shared.errors import Misconfigured

LOCK_FILE: Final = "killstream.lock"


@contextmanager
def lock_data_dir(data_dir: Path) -> Iterator[None]:
    """Create the directory and lock it until the block ends.

    The kernel releases the lock when the process ends for any reason.

    Raises:
        Misconfigured: another process has the lock, or the directory can't be used.
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
