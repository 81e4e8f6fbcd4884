"""Import killmails of the past."""
