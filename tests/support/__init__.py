"""What tests and benches share: servers of their own, processes, killmails, a subscriber."""
