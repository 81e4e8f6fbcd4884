"""Alembic's entry point: runs the migrations on the connection that `migrate` passes."""

from alembic import context

from actors.shared.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    render_as_batch=True,  # SQLite can't alter tables
)
with context.begin_transaction():
    context.run_migrations()
