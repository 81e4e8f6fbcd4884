"""The directories of the servers."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
_SHARED_ROOT = Path("/var/lib/killstream-local")


def services_dir() -> Path:
    """Return the servers' directory: KILLSTREAM_SERVICES_DIR, by default one in the project."""
    chosen = os.environ.get("KILLSTREAM_SERVICES_DIR")
    return Path(chosen).resolve() if chosen else PROJECT / ".killstream" / "services"


def accessible_home(home: Path, user: str | None) -> Path:
    """Return a directory that `user` owns and can enter: `home`, or one outside the project.

    Other users can't enter a project below /root, for example. A server that refuses to run as root
    then has its data in a directory outside, one per project.
    """
    if user is None:
        home.mkdir(parents=True, exist_ok=True)
        return home
    name = hashlib.sha256(str(home).encode()).hexdigest()[:12]
    elsewhere = _SHARED_ROOT / name / home.name
    if elsewhere.exists() or not _can_enter(home, user):
        home = elsewhere
    home.mkdir(parents=True, exist_ok=True)
    shutil.chown(home, user, user)
    return home


def _can_enter(home: Path, user: str) -> bool:
    home.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["/usr/bin/test", "-x", str(home)], user=user, group=user, extra_groups=[], check=False
    )
    return done.returncode == 0
