"""`killstream settings` lists what holds, and says what is wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

from actors.shared.settings import PREFIX, Settings


def run(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    plain = {k: v for k, v in os.environ.items() if not k.startswith(PREFIX)}
    command = Path(sys.executable).with_name("killstream")
    return subprocess.run(
        [command, "settings", *arguments],
        env=plain | {PREFIX + name: value for name, value in variables.items()},
        capture_output=True,
        text=True,
        check=False,
    )


def test_all_settings_are_listed_with_value_and_origin() -> None:
    done = run("--json", DATABASE_URL="postgresql://u:s3cret@h/d", METRICS_PORT="9100")
    assert done.returncode == 0
    listed = json.loads(done.stdout)
    assert set(listed) == {PREFIX + name.upper() for name in Settings.model_fields}
    assert listed["KILLSTREAM_DATABASE_URL"] == {
        "value": "postgresql://u:***@h/d",
        "from": "environment",
    }
    assert listed["KILLSTREAM_METRICS_PORT"] == {"value": 9100, "from": "environment"}
    assert listed["KILLSTREAM_API_PORT"] == {"value": 4000, "from": "default"}


def test_the_table_shows_no_password() -> None:
    done = run(DATABASE_URL="postgresql://u:s3cret@h/d")
    assert done.returncode == 0
    assert "KILLSTREAM_DATABASE_URL" in done.stdout
    assert "s3cret" not in done.stdout


def test_a_wrong_setting_is_one_line_with_exit_code_2() -> None:
    done = run(DATABASE_URL="mysql://u:s3cret@h/d")
    assert (done.returncode, done.stdout) == (2, "")
    assert "KILLSTREAM_DATABASE_URL: must be postgresql://" in " ".join(done.stderr.split())
    assert "s3cret" not in done.stderr
