"""Compare what is derived from bodies and zkb blocks with them, and repair it."""
