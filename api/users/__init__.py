"""GraphQL for users: their login, characters, API keys, syncs and killmails."""
