"""AsyncAPI's official parser, in Node.js, at the versions of a lock file with hashes."""

import json
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Any

from deploy.local.install import find, install_packages, program
from tests.support.servers import ROOT

FOLDER = Path(__file__).parent / "asyncapi"
LOCK = FOLDER / "package-lock.json"


def install() -> Path:
    """Install the parser, and Debian's Node.js unless it is there; return the folder."""
    made = ROOT / ".killstream" / f"asyncapi-parser-{sha256(LOCK.read_bytes()).hexdigest()[:12]}"
    if find("node") is None or find("npm") is None:
        install_packages(["nodejs", "npm"])
    if not (made / "installed").exists():
        shutil.rmtree(made, ignore_errors=True)
        shutil.copytree(FOLDER, made)
        _run(program("npm"), "ci", cwd=made)
        (made / "installed").touch()
    return made


def diagnose(document: Path) -> dict[str, Any]:
    """Parse a document; return the parser's diagnostics, and whether it was parsed."""
    made = install()
    shutil.copy(FOLDER / "parse.mjs", made)
    found: dict[str, Any] = json.loads(_run(program("node"), "parse.mjs", str(document), cwd=made))
    return found


def _run(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
