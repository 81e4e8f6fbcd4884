"""The subscription engine: each event is rendered once for all who asked for the same."""
