# Killstream's recipes. Each one makes sure of its own set-up first.

set shell := ["bash", "-euo", "pipefail", "-c"]

venv := justfile_directory() / ".venv"
test_servers := justfile_directory() / ".killstream/test-servers"
export PATH := venv / "bin:" + env("PATH")

# List the recipes.
default:
    @just --list --unsorted

# Make .venv with all that running and testing need (quick when nothing changed).
setup:
    @[ -x .venv/bin/python ] || uv venv --quiet --python '>=3.11' .venv
    @cmp -s requirements.txt .venv/installed.txt || { \
        uv pip sync --quiet requirements.txt \
        && uv pip install --quiet --no-deps --editable . \
        && cp requirements.txt .venv/installed.txt; }

# Pin what pyproject.toml asks for (versions only).
lock:
    uv pip compile pyproject.toml --group dev --universal --python-version 3.11 \
        --no-header --no-annotate --quiet -o requirements.txt

# Make PostgreSQL, Redis, RabbitMQ and Apache Kafka reachable on 127.0.0.1.
services: setup
    @python -m deploy.local up

# Show the whole system on made-up killmails: one process, then open the printed address.
demo *args: setup
    @killstream demo {{ args }}

# Run everything in one process on the real upstream (set KILLSTREAM_CONTACT).
up *args: setup
    @killstream up {{ args }}

# Run any command: `just killstream status`.
killstream *args: setup
    @killstream {{ args }}

# Format and fix.
fmt: setup
    ruff format --quiet .
    ruff check --fix .

# Lint, types, layers.
check: setup
    ruff format --check .
    ruff check .
    mypy
    lint-imports

# Test all, on servers of the tests' own: `just test -k feed` for some of it.
test *args: setup test-servers
    @if [ "${CI:-}" = true ]; then just check; fi
    KILLSTREAM_SERVICES_DIR="{{ test_servers }}" python -m pytest {{ args }}

# Measure: drain, drain-esi, push. The last line is JSON; `just bench drain --help` for more.
bench name *args: setup test-servers
    @KILLSTREAM_SERVICES_DIR="{{ test_servers }}" python -m tests.bench.{{ replace(name, "-", "_") }} {{ args }}

[private]
test-servers: setup
    @KILLSTREAM_SERVICES_DIR="{{ test_servers }}" python -m deploy.local up --own --offset 10000
