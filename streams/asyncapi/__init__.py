"""The AsyncAPI document of the topics and the channel, generated from the messages' structs.

`just asyncapi` writes it to `streams/asyncapi.yaml`, which the gateway serves. Not imported by the
running system.
"""
