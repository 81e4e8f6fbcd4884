"""Counts of the stand-in's requests, faults and refusals."""

from collections import Counter
from typing import Any


class Stats:
    """Counts since the start."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str, int]] = Counter()
        """By upstream, endpoint and status."""
        self.faults: Counter[str] = Counter()
        """Answers with a fault, by kind."""
        self.refused: Counter[str] = Counter()
        """Requests above a limit, by the limit's name."""

    def counted(self) -> dict[str, Any]:
        """Return the counts as JSON.

        Shape: {"requests": {"esi": {"killmail": {"200": 5}}}, "faults": {"hole": 1},
        "refused": {"killmail": 2}}
        """
        requests: dict[str, dict[str, dict[str, int]]] = {}
        for (upstream, endpoint, status), count in sorted(self.requests.items()):
            requests.setdefault(upstream, {}).setdefault(endpoint, {})[str(status)] = count
        return {
            "requests": requests,
            "faults": dict(sorted(self.faults.items())),
            "refused": dict(sorted(self.refused.items())),
        }
