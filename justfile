# Killstream's recipes. Each one makes sure of its own set-up first.

set shell := ["bash", "-euo", "pipefail", "-c"]
set positional-arguments # an argument with spaces or quotes stays one: just test -k "a or b"

root := justfile_directory()
venv := root / ".venv"
test_servers := root / ".killstream/test-servers"
export PATH := venv / "bin:" + env("PATH")
export VIRTUAL_ENV := venv

# Dependencies are compiled once, at set-up: where PYTHONDONTWRITEBYTECODE is set, each process
# would compile them at its start, which takes seconds.
export UV_COMPILE_BYTECODE := env("UV_COMPILE_BYTECODE", "1")

# The caller's own choice of an interpreter, a folder or another environment ends here.
unexport CONDA_PREFIX
unexport PYTHONHOME
unexport PYTHONPATH
unexport UV_NO_VERIFY_HASHES
unexport UV_PROJECT
unexport UV_PROJECT_ENVIRONMENT
unexport UV_PYTHON
unexport UV_REQUIRE_HASHES
unexport UV_SYSTEM_PYTHON
unexport UV_WORKING_DIR

# What .venv was made from: the pins, the project, and its folder, which scripts in it name.
made_from := sha256(root + read(root / "requirements-dev.txt") + read(root / "pyproject.toml"))

compile := "uv pip compile pyproject.toml --quiet --generate-hashes --no-header --no-annotate --universal --python-version 3.11"

# List the recipes.
default:
    @just --list --unsorted

# Make .venv with all that running and testing need (quick when nothing changed).
setup:
    @[ "$(cat .venv/made-from 2>/dev/null)" = {{ made_from }} ] && [ -x .venv/bin/python ] \
        || "{{ just_executable() }}" make-venv

# Only .venv is changed, whatever environment is active; each file must have its pinned hash.
[private]
make-venv:
    @rm -f .venv/made-from
    @.venv/bin/python -c "import sys; sys.exit(sys.version_info < (3, 11))" 2>/dev/null || \
        uv venv --quiet --clear --no-project --python '>=3.11' .venv
    @uv pip sync --quiet --python .venv/bin/python --require-hashes requirements-dev.txt
    @uv pip install --quiet --python .venv/bin/python --no-deps --no-require-hashes \
        --no-build-isolation --editable .
    @.venv/bin/killstream --help >/dev/null
    @echo {{ made_from }} >.venv/made-from
    @"{{ just_executable() }}" graphiql || echo "npm can't be reached: just graphiql fetches GraphiQL later"

# Fetch GraphiQL from npm, which the gateway serves by itself.
graphiql: setup
    @"{{ just_executable() }}" npm api/graphiql
    @[ api/graphiql/assets -nt api/graphiql/package-lock.json ] || node api/graphiql/build.mjs

# Install the packages of a folder's lock file, if they aren't (quick when nothing changed).
[private]
npm folder:
    @[ {{ folder }}/node_modules/.package-lock.json -nt {{ folder }}/package-lock.json ] \
        || npm ci --prefix {{ folder }} --ignore-scripts --no-audit --no-fund --silent

# Pin what pyproject.toml asks for, with hashes; `just lock --upgrade` takes newer versions.
lock *args:
    {{ compile }} --group build "$@" -o requirements.txt
    {{ compile }} --group dev --constraint requirements.txt "$@" -o requirements-dev.txt

# Make PostgreSQL, Redis, RabbitMQ and Apache Kafka reachable on 127.0.0.1.
services: setup
    @python -m deploy.local up

# Show the whole system on made-up killmails: one process, then open the printed address.
demo *args: setup
    @killstream demo "$@"

# Run everything in one process on the real upstream (set KILLSTREAM_CONTACT).
up *args: setup
    @killstream up "$@"

# Run any command: `just killstream status`.
killstream *args: setup
    @killstream "$@"

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
test *args: setup test-servers graphiql (npm "tests/conformance")
    @if [ "${CI:-}" = true ]; then just check; fi
    KILLSTREAM_SERVICES_DIR="{{ test_servers }}" python -m pytest "$@"

# Measure: attacks, drain, drain-esi, fanout, filters, history, pages, push, scale, sync; endure: chaos, history-crashes, resume. The last line is JSON; `just bench drain --help` for more.
bench name *args: setup test-servers
    @KILLSTREAM_SERVICES_DIR="{{ test_servers }}" python -m tests.bench.{{ replace(name, "-", "_") }} "${@:2}"

# Generate the Grafana board, deploy/grafana/killstream.json.
board: setup
    @python -m deploy.grafana.board

# Generate the AsyncAPI document of the topics, streams/asyncapi.yaml.
asyncapi: setup
    @python -m streams.asyncapi

[private]
test-servers: setup
    @KILLSTREAM_SERVICES_DIR="{{ test_servers }}" python -m deploy.local up --own --offset 10000
