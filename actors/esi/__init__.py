"""ESI: the client, and the budget that all processes share."""
