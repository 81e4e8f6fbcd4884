"""The recipes hand arguments on as they came."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
JUST = Path(sys.executable).with_name("just")
ECHO = '#!/bin/sh\nprintf "<%s>" "$@"\n'
GIVEN = ("-k", "a or b", "it's", '"$HOME"')


@pytest.mark.parametrize("recipe", ["test", "bench push", "demo", "up", "killstream"])
def test_arguments_stay_whole(recipe: str, tmp_path: Path) -> None:
    for name in ("justfile", "pyproject.toml", "requirements-dev.txt"):
        shutil.copy(PROJECT / name, tmp_path)
    (tmp_path / ".venv/bin").mkdir(parents=True)
    for command in ("killstream", "python"):
        (tmp_path / ".venv/bin" / command).write_text(ECHO)
        (tmp_path / ".venv/bin" / command).chmod(0o755)
    done = subprocess.run(
        [JUST, "--no-deps", *recipe.split(), *GIVEN],
        cwd=tmp_path,
        env=os.environ | {"CI": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("".join(f"<{argument}>" for argument in GIVEN))
