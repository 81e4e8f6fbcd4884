"""Characters, corporations, alliances and types: what ESI says of those that killmails mention."""
