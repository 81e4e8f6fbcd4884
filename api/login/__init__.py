"""Login, logout, and the session of each request."""
