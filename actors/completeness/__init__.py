"""Find what zKillboard has and we lack, and get it: its hashes of each day are the list."""
