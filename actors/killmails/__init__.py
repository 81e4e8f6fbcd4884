"""The actors that fetch, persist, publish and reject killmails."""
