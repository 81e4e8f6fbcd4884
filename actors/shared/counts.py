"""The totals of a process, for its last log line."""

import time
from typing import Final

from prometheus_client.metrics import MetricWrapperBase

from actors.shared import metrics

_started_s: Final = time.monotonic()


def counts() -> dict[str, float]:
    """Return the totals of this process: received, saved, skipped, errors, runtime in seconds."""
    saved = _total(metrics.STORED)
    skipped = _total(metrics.SKIPPED)
    rejected = _total(metrics.REJECTED)
    return {
        "received": _total(metrics.RECEIVED) or saved + skipped + rejected,
        "saved": saved,
        "skipped": skipped,
        "errors": _total(metrics.ERRORS) + rejected,
        "runtime_s": round(time.monotonic() - _started_s, 1),
    }


def _total(metric: MetricWrapperBase) -> int:
    return int(
        sum(
            sample.value
            for family in metric.collect()
            for sample in family.samples
            if not sample.name.endswith("_created")
        )
    )
