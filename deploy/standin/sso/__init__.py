"""The stand-in of EVE's SSO: OAuth 2 with PKCE, access tokens as JWTs.

A login passes these files: authorize.py checks the request, consent.py has the page on which the
player chooses a character -> grants.py issues a code -> tokens.py exchanges it for a refresh token
and the JWT of access_tokens.py -> other upstreams look up a request's access token in grants.py.

`routes.py` has the routes, `applications.py` the registered applications, `keys.py` the signing
keys, `refused.py` the refusals, `inspection.py` the stand-in's own endpoints.
"""
