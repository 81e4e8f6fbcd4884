"""The stand-in: the upstreams on one port, for development and tests.

They are R2Z2, RedisQ, ESI, EVE's SSO and zKillboard's API.

It plays killmails (from a file, or made up) by the rules of the real services and can
misbehave in each way they are known to. One killmail's way through it:

    killmails.py or synthetic.py -> layout.py (which sequence number holds what)
    -> dataset.py (what is out by now) -> r2z2.py, redisq.py, esi.py, zkillboard.py (as each
    upstream gives it)

`characters.py` are those who can log in at `sso/`.
`faults.py` are the switches, `malformed.py` and `evekill.py` what files and packages hold when
their maker errs, `limits.py` the rate limits, `esi_gateway.py` what all of ESI's routes pass,
`members.py` what needs a token, `entities.py` and `universe.py` what is public beside killmails,
`participants.py` who is on which killmail and `census.py` who belongs where, `stats.py` what was
asked of it.
Nothing here is imported by the packages that do the work: they see it over HTTP only.
"""
