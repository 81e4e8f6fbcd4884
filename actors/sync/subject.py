"""Whose killmails a sync lists: a character's or its corporation's."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Table, and_

from actors.esi.authenticated import Kind
from actors.shared.tables import CORPORATION_SYNCS, USERS
from actors.users.login import READ_CORPORATION_KILLMAILS, READ_KILLMAILS


@dataclass(frozen=True)
class Subject:
    """A character or corporation, and the character whose token lists its killmails."""

    kind: Kind
    entity_id: int
    character_id: int

    @property
    def source(self) -> str:
        """The source of its killmails: the key of their ledger entries."""
        return f"esi:{self.kind}/{self.entity_id}"

    @property
    def scope(self) -> str:
        """The scope of ESI's that its list requires."""
        is_character = self.kind == "character"
        return READ_KILLMAILS if is_character else READ_CORPORATION_KILLMAILS

    @property
    def table(self) -> Table:
        """The table with the schedule of its syncs."""
        return USERS if self.kind == "character" else CORPORATION_SYNCS

    @property
    def row(self) -> ColumnElement[bool]:
        """The condition for its row in `table`."""
        columns: Any = self.table.c
        if self.kind == "character":
            return and_(columns.character_id == self.character_id)
        return and_(
            columns.corporation_id == self.entity_id, columns.character_id == self.character_id
        )
