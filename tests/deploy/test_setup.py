"""The README's first command changes `.venv` and nothing else, and takes only reviewed files."""

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
OWN = Path(sys.executable).parent
TOOLS = ("uv", "rust-just")
NOT_COPIED = shutil.ignore_patterns(".*", "*.egg-info", "__pycache__", "tests", "build")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project's files without any set-up."""
    return Path(shutil.copytree(PROJECT, tmp_path / "project", ignore=NOT_COPIED))


def run(
    *command: str | Path, cwd: Path, path: Path = OWN, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command as outside of `just`: without the environment of the running tests."""
    inherited = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    folders = [folder for folder in os.environ["PATH"].split(os.pathsep) if folder != str(OWN)]
    inherited["PATH"] = os.pathsep.join([str(path), *folders])
    inherited["UV_COMPILE_BYTECODE"] = "0"  # it takes 10 s for each environment
    return subprocess.run(
        command,
        cwd=cwd,
        env=inherited | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def make_virtualenv(folder: Path, *packages: str | Path) -> Path:
    """Make a virtualenv that holds these packages."""
    made = run("uv", "venv", "--quiet", "--python", sys.executable, folder, cwd=folder.parent)
    assert made.returncode == 0, made.stdout
    install = ("uv", "pip", "install", "--quiet", "--python", folder / "bin/python")
    installed = run(*install, *packages, cwd=folder.parent)
    assert installed.returncode == 0, installed.stdout
    return folder


def pinned(name: str) -> str:
    """The requirement of a package with the version that is pinned, which uv has at hand."""
    lines = (PROJECT / "requirements-dev.txt").read_text().splitlines()
    return next(line.split()[0] for line in lines if line.startswith(f"{name}=="))


def make_wheel(folder: Path, name: str) -> Path:
    """Write a wheel with one empty module."""
    wheel = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(wheel, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
        archive.writestr(f"{info}/RECORD", "".join(_record(*file) for file in files.items()))
    return wheel


def _record(file: str, text: str) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
    return f"{file},sha256={digest},{len(text)}\n"


def files(folder: Path) -> dict[str, int]:
    """All files of an environment with their sizes."""
    return {
        str(path.relative_to(folder)): path.lstat().st_size
        for path in folder.rglob("*")
        if path.suffix != ".pyc" and not path.is_dir()
    }


def assert_set_up(project: Path) -> None:
    python = project / ".venv/bin/python"
    program = "import deploy, dramatiq, pytest; print(deploy.__file__, dramatiq.__file__)"
    done = run(python, "-c", program, cwd=project.parent)
    assert done.returncode == 0, done.stdout
    ours, library = (Path(line) for line in done.stdout.split())
    assert ours == project / "deploy/__init__.py"
    assert library.is_relative_to(project / ".venv")


def test_an_active_virtualenv_stays_as_it_is(project: Path, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "theirs")
    active = make_virtualenv(tmp_path / "active", wheel, *map(pinned, TOOLS))
    before = files(active)
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules/typer.py").write_text("raise ImportError('a module of the caller')")
    choices = {
        "VIRTUAL_ENV": str(active),
        "CONDA_PREFIX": str(active),
        "UV_PYTHON": str(active / "bin/python"),
        "UV_PROJECT_ENVIRONMENT": str(active),
        "UV_SYSTEM_PYTHON": "1",
        "UV_WORKING_DIR": str(tmp_path),
        "PYTHONPATH": str(tmp_path / "modules"),
        "PYTHONHOME": str(active),
        "PIP_TARGET": str(tmp_path / "target"),
        "PIP_USER": "1",
    }
    done = run("just", "killstream", "--help", cwd=project, path=active / "bin", **choices)
    assert done.returncode == 0, done.stdout
    assert "Usage: killstream" in done.stdout
    assert files(active) == before
    assert not (tmp_path / "target").exists()
    assert_set_up(project)


def test_tools_may_be_in_separate_environments(project: Path, tmp_path: Path) -> None:
    """As `pipx install` and `uv tool install` do it."""
    folders = {"UV_TOOL_DIR": str(tmp_path / "tools"), "UV_TOOL_BIN_DIR": str(tmp_path / "bin")}
    for tool in TOOLS:
        done = run(
            "uv", "tool", "install", "--quiet", pinned(tool), cwd=tmp_path, path=OWN, **folders
        )
        assert done.returncode == 0, done.stdout
    before = files(tmp_path / "tools")
    done = run("just", "killstream", "--help", cwd=project, path=tmp_path / "bin")
    assert done.returncode == 0, done.stdout
    assert files(tmp_path / "tools") == before
    assert_set_up(project)


def test_the_active_virtualenv_may_be_the_one_of_the_project(project: Path) -> None:
    active = make_virtualenv(project / ".venv", *map(pinned, TOOLS))
    for _ in range(2):
        done = run(
            "just",
            "killstream",
            "--help",
            cwd=project,
            path=active / "bin",
            VIRTUAL_ENV=str(active),
        )
        assert done.returncode == 0, done.stdout
    assert_set_up(project)


def test_a_moved_or_emptied_environment_is_created_again(project: Path, tmp_path: Path) -> None:
    assert run("just", "setup", cwd=project).returncode == 0
    made = (project / ".venv/made-from").stat().st_mtime_ns
    assert run("just", "setup", cwd=project).returncode == 0
    assert (project / ".venv/made-from").stat().st_mtime_ns == made
    moved = project.rename(tmp_path / "moved")
    assert run("just", "setup", cwd=moved).returncode == 0
    assert_set_up(moved)
    shutil.rmtree(moved / ".venv/bin")
    assert run("just", "setup", cwd=moved).returncode == 0
    assert_set_up(moved)


@pytest.mark.parametrize(
    ("pin", "reason"),
    [
        (f"theirs==1.0 --hash=sha256:{'0' * 64}", "Hash mismatch"),
        ("theirs==1.0", "must have a hash"),
    ],
    ids=["wrong hash", "no hash"],
)
def test_a_file_without_its_pinned_hash_is_refused(
    project: Path, tmp_path: Path, pin: str, reason: str
) -> None:
    make_wheel(tmp_path, "theirs")
    (project / "requirements-dev.txt").write_text(f"{pin}\n")
    outside = {"UV_FIND_LINKS": str(tmp_path), "UV_OFFLINE": "1", "UV_NO_VERIFY_HASHES": "1"}
    done = run("just", "setup", cwd=project, path=OWN, **outside)
    assert done.returncode != 0
    assert reason in done.stdout
    assert not (project / ".venv/made-from").exists()
    assert not list(project.glob(".venv/lib/*/site-packages/theirs*"))


def test_dependencies_are_compiled_even_if_processes_write_no_bytecode(
    project: Path, tmp_path: Path
) -> None:
    wheel = make_wheel(tmp_path, "theirs")
    pin = f"theirs==1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"
    (project / "requirements-dev.txt").write_text(pin)
    run(
        *("env", "-u", "UV_COMPILE_BYTECODE", "just", "setup"),
        cwd=project,
        UV_FIND_LINKS=str(tmp_path),
        UV_OFFLINE="1",
        PYTHONDONTWRITEBYTECODE="1",
    )
    assert list(project.glob(".venv/lib/*/site-packages/__pycache__/theirs.*.pyc"))
