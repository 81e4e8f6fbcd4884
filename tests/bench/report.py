"""What every bench says about where it ran."""

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGES = (
    "aiokafka",
    "asyncpg",
    "dramatiq",
    "faust-streaming",
    "aiohttp",
    "ariadne",
    "msgspec",
    "uvloop",
)


def report(bench: str, figures: dict[str, Any]) -> None:
    """Print the figures with the machine and the versions, as one line of JSON."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    machine = {"cpu": cpu, "cores": os.cpu_count(), "python": platform.python_version()}
    versions = {package: version(package) for package in PACKAGES}
    print(json.dumps({"bench": bench, **figures, "machine": machine, "versions": versions}))
