"""Names of ids: resolved by ESI, cached in the process, stored in the table `names`."""
