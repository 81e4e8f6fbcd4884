"""The upstream feeds, one module each; all give the same references."""
