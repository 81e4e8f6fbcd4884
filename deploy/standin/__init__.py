"""The stand-in: the upstreams on one port, for development and tests.

They are R2Z2, RedisQ, ESI, EVE's SSO, zKillboard's API and CCP's static data.

It serves killmails (from a file, or made up) by the rules of the real services, and simulates their
known faults. One killmail passes these files:

    killmails.py or synthetic.py -> layout.py (its sequence number) -> dataset.py (its release)
    -> r2z2.py, redisq.py, esi.py, zkillboard.py (the formats of the upstreams)

The other files:

- `faults.py`: the switches; `malformed.py`, `evekill.py`: malformed files and packages
- `limits.py`: rate limits; `stats.py`: counts of requests
- `esi_gateway.py`: what all of ESI's routes share; `members.py`: its routes that require a token;
  `entities.py`, `universe.py`: its other public routes
- `participants.py`: the killmails of each character, corporation and alliance; `census.py`: their
  affiliations; `characters.py`: the characters that can log in at `sso/`
- `static_data.py`: the archive of static data, of `static_data_files.py`

The packages actors, streams and api don't import it: they use it over HTTP only.
"""
