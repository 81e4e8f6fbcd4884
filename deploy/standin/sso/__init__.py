"""EVE's SSO as the stand-in plays it: OAuth 2 with PKCE, access tokens that are JWTs.

A login's way through it: authorize.py checks what is asked, consent.py makes the page on which a
character is chosen -> grants.py gives a code -> tokens.py exchanges it for a refresh token and
access_tokens.py's JWT -> other upstreams ask grants.py whose access token came with a request.

`routes.py` serves it, `applications.py` says who may ask, `keys.py` holds what signs, `refused.py`
has the refusals, `inspection.py` the stand-in's own doors to it.
"""
