import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import msgspec
import pytest

COMMAND = [sys.executable, "-m", "deploy.standin"]


def run(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_command_says_where_it_serves_and_ends_with_its_counts(ending: signal.Signals) -> None:
    with run("--synthetic", "--count", "5", "--hole-rate", "0.5", "--no-limits") as process:
        assert process.stdout
        line = process.stdout.readline()
        assert "makes up 5 killmails from seed 1, all at once, limits off" in line
        url = line.split()[2].removesuffix(":")
        with urlopen(f"{url}/standin/faults") as answer:
            faults = msgspec.json.decode(answer.read())
        with urlopen(f"{url}/ephemeral/sequence.json") as answer:
            assert answer.status == 200
        process.send_signal(ending)
        output, errors = process.communicate()
    assert (faults["hole_rate"], faults["limits"]) == (0.5, False)
    assert process.returncode == 0, errors
    assert '"sequence":{"200":1}' in output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--killmails", "missing.jsonl"], "missing.jsonl"),
        (["--hole-rate", "7"], "hole_rate"),
        (["--synthetic", "--killmails", "x"], "choose one"),
        (["--begin", "soon"], "--begin"),
        (["--absent", "[1"], "absent"),
        (["--esi-wrong", '["strange"]'], "esi_wrong"),
        (["--window", '{"faults": {}}'], "for_s"),
        (["--sso-alg", "HS256"], "sso_alg"),
        (["--sso-application", '{"client_id": "mine"}'], "secret"),
    ],
)
def test_wrong_options_end_the_command_with_the_reason(arguments: list[str], said: str) -> None:
    with run(*arguments) as process:
        _, errors = process.communicate()
    assert process.returncode == 2
    assert said in errors


def test_faults_and_windows_are_taken_from_options() -> None:
    with run(
        *("--count", "5", "--r2z2-status", "503", "--no-redisq-from-start"),
        *("--absent", '[{"first": 7, "count": 2, "late_s": 3}]', "--renamed", '{"7": "New"}'),
        *("--sso-alg", "ES256", "--sso-sold", "[7]", "--sso-rotation"),
        *("--window", '{"faults": {"names_refused": true}, "for_s": 900}'),
    ) as process:
        assert process.stdout
        url = process.stdout.readline().split()[2].removesuffix(":")
        with urlopen(f"{url}/standin/faults") as answer:
            faults = msgspec.json.decode(answer.read())
        process.terminate()
        process.communicate()
    assert faults["r2z2_status"] == 503
    assert not faults["redisq_from_start"]
    assert faults["absent"] == [{"first": 7, "count": 2, "late_s": 3.0}]
    assert faults["renamed"] == {"7": "New"}
    assert faults["names_refused"]
    assert (faults["sso_alg"], faults["sso_sold"], faults["sso_rotation"]) == ("ES256", [7], True)


def test_file_is_played_at_a_rate(killmails_file: Path) -> None:
    with run("--killmails", str(killmails_file), "--rate", "0.001") as process:
        assert process.stdout
        line = process.stdout.readline()
        url = line.split()[2].removesuffix(":")
        with urlopen(f"{url}/standin/stats") as answer:
            dataset = msgspec.json.decode(answer.read())["dataset"]
        process.terminate()
        process.communicate()
    assert "0.001 per second, limits on" in line
    assert (dataset["released"], dataset["total"]) == (1, 10)


def test_applications_and_the_address_of_the_sso_are_taken_from_options() -> None:
    mine = '{"client_id": "mine", "secret": "s", "callbacks": ["http://127.0.0.1/callback"]}'
    asked = (
        "response_type=code&client_id=mine&redirect_uri=http://127.0.0.1/callback&state=x"
        f"&code_challenge={'x' * 43}&code_challenge_method=S256"
    )
    with run(
        *("--count", "5", "--sso-application", mine, "--sso-url", "https://sso.example.org/")
    ) as process:
        assert process.stdout
        url = process.stdout.readline().split()[2].removesuffix(":")
        with urlopen(f"{url}/.well-known/oauth-authorization-server") as answer:
            metadata = msgspec.json.decode(answer.read())
        with urlopen(f"{url}/v2/oauth/authorize?{asked}") as answer:
            page = answer.read().decode()
        process.terminate()
        process.communicate()
    assert metadata["issuer"] == "https://sso.example.org"
    assert "<strong>mine</strong>" in page
