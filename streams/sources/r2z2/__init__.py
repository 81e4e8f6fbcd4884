"""R2Z2: zKillboard's live feed, one numbered file per killmail.

`walk` requests number after number; `tip` detects whether the feed has continued past an absent
number; `expired` finds the oldest file after a long downtime; `reread` handles ledger entries.

Source: zKillboard's API reference and `cron/9.queueSequences.php` (read 2026-11-21).
"""

from streams.sources.r2z2.feed import open_r2z2, r2z2_name

__all__ = ["open_r2z2", "r2z2_name"]
