"""Websockets that speak graphql-transport-ws: plain state for each, no task while nothing happens.

Source: graphql-ws' PROTOCOL.md (subprotocol `graphql-transport-ws`).
"""
