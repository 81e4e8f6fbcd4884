"""Autovacuum by table, and an index by which old rejected records are deleted."""

from alembic import op

revision = "0011"
down_revision = "0010"

_INSERTED = {
    "autovacuum_vacuum_insert_scale_factor": "0",
    "autovacuum_vacuum_insert_threshold": "100000",
    "autovacuum_vacuum_scale_factor": "0.02",
    "autovacuum_analyze_scale_factor": "0.01",
}
_UPDATED = {
    "autovacuum_vacuum_scale_factor": "0.02",
    "autovacuum_analyze_scale_factor": "0.02",
}
_QUEUED = {
    "autovacuum_vacuum_scale_factor": "0",
    "autovacuum_vacuum_threshold": "1000",
    "autovacuum_vacuum_cost_delay": "0",
    "autovacuum_analyze_scale_factor": "0",
    "autovacuum_analyze_threshold": "1000",
    "vacuum_truncate": "false",
}
_TABLES = {
    "killmails": _INSERTED,
    "attackers": _INSERTED,
    "feed": _INSERTED,
    "unpublished": _QUEUED,
    "ledger": _QUEUED,
    "characters": _UPDATED,
    "alliance_snapshots": _UPDATED,
    "corporation_snapshots": _UPDATED,
}


def upgrade() -> None:
    """Set the parameters, which locks no readers or writers, and create the index."""
    op.create_index("rejected_oldest", "rejected", ["rejected_at"])
    if op.get_bind().dialect.name == "postgresql":
        for table, parameters in _TABLES.items():
            said = ", ".join(f"{name} = {value}" for name, value in parameters.items())
            op.execute(f"ALTER TABLE {table} SET ({said})")
