"""Users: their logins at EVE's single sign-on, tokens, accounts and sessions."""
