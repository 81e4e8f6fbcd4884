"""Shows the result. It asks; it never processes."""
