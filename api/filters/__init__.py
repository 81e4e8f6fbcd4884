"""What clients may ask of killmails: one tree of conditions, and the syntaxes that it comes in."""
