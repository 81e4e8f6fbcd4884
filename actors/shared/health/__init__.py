"""How the parts are: probes of the servers, and the rule that says what is wrong.

A probe asks one server, changes nothing, ends within its limit whatever the server does, and
raises nothing: it gives facts, or `Unreachable` with the reason, or `Embedded` where the settings
name no server. `problems_of` is the rule over these facts; `killstream status` and the gateway's
`/health` both use it.
"""
