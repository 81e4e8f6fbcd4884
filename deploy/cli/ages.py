"""Ages on the command line: 90s, 30m, 2h, 3d."""

import re
from typing import Final

import typer

UNITS_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def parse_age(text: str) -> float:
    """Parse an age, return it in seconds; for an option's `parser`.

    Raises:
        typer.BadParameter: the text isn't an age.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text.strip())
    if match is None:
        raise typer.BadParameter(f"{text!r} isn't an age: write 90s, 30m, 2h or 3d")
    return float(match[1]) * UNITS_S[match[2]]
