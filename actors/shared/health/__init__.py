"""Health: probes of the servers, and the rule that derives problems.

A probe queries one server, changes nothing, returns within its time limit and raises nothing: it
returns facts, or `Unreachable` with the reason, or `Embedded` where the settings name no server.
`problems_of` derives the problems from these facts, for `killstream status` and the gateway's
`/health`.
"""
