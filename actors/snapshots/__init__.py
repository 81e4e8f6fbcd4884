"""Daily snapshots of alliances and corporations."""
