"""Gateways whose limits don't hold up tests of something else."""

from pathlib import Path

import pytest

from actors.shared.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path, names_deadline_ms=200, api_polls_per_s=10_000, api_files_per_s=10_000
    )
