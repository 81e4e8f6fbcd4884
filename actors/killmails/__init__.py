"""What becomes of a killmail: fetched, persisted, published, or rejected."""
