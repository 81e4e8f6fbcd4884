"""The stand-in: R2Z2, RedisQ and ESI on one port, for development and tests.

It plays killmails (from a file, or made up) by the rules of the real services and can
misbehave in each way they are known to. One killmail's way through it:

    killmails.py or synthetic.py -> layout.py (which sequence number holds what)
    -> dataset.py (what is out by now) -> r2z2.py, redisq.py, esi.py (as each upstream gives it)

`faults.py` are the switches, `malformed.py` and `evekill.py` what files and packages hold when
their maker errs, `limits.py` the rate limits, `stats.py` what was asked of it.
Nothing here is imported by the packages that do the work: they see it over HTTP only.
"""
