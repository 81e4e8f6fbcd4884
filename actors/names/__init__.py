"""Names of ids: resolved through ESI, cached in the process, stored in a table."""
