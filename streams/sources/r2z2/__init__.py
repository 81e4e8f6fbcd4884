"""R2Z2: zKillboard's live feed, one numbered file a killmail.

`walk` asks for number after number and says what each gave; `tip` is where the files end for now;
`expired` finds where they begin after a long downtime; `reread` reads again what the ledger holds.

Source: zKillboard's API reference and `cron/9.queueSequences.php` (read 2026-11-21).
"""

from streams.sources.r2z2.feed import open_r2z2, r2z2_name

__all__ = ["open_r2z2", "r2z2_name"]
