# Killstream's recipes. Each one makes sure of its own set-up first.

set shell := ["bash", "-euo", "pipefail", "-c"]

venv := justfile_directory() / ".venv"
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
        --no-emit-index-url --no-header --no-annotate --quiet -o requirements.txt
