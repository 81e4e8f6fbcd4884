"""EVE's SSO as the stand-in plays it."""
