"""The gateway: serves what is stored, and writes nothing."""
