"""The Grafana board, generated."""
