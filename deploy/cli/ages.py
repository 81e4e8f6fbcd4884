"""Ages on the command line: 90s, 30m, 2h, 3d."""

import re
from typing import Final

import typer

UNITS_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def parse_age(text: str) -> float:
    """Read an age in seconds, for an option's `parser`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text.strip())
    if match is None:
        raise typer.BadParameter(f"{text!r} is no age: write 90s, 30m, 2h or 3d")
    return float(match[1]) * UNITS_S[match[2]]
