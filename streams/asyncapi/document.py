"""The AsyncAPI document: the topics and the channel, their messages, keys and schemas.

Source: AsyncAPI's specification 3.0.0, and the Kafka bindings 0.5.0 (read 2026-11-26).
"""

from importlib.metadata import version
from typing import Any, Final

from actors.shared.feed import CHANNEL, Entry, ImportedDay
from actors.shared.health.kafka import GROUP
from actors.shared.reference import Reference
from actors.shared.rejection import Rejection
from actors.shared.topics import MAX_MESSAGE_BYTES, RECEIVED, REJECTED, STORED, Topic
from streams.asyncapi.examples import entry, imported_day, reference, rejection
from streams.asyncapi.schemas import message_schemas, reference_to

VERSION: Final = "3.0.0"
BINDING: Final = {"bindingVersion": "0.5.0"}

DESCRIPTION: Final = (
    "Every killmail of EVE Online, as messages on Kafka and Redis. Topics, channel and group have"
    " these names unless KILLSTREAM_NAMESPACE is set, which prefixes each as `NAMESPACE.`. Values"
    " are JSON in UTF-8; keys are killmail ids as decimal text; no message has headers. A new field"
    " doesn't change `v`, so ignore fields that you don't know. streams/README.md has the"
    " guarantees of delivery."
)
NO_HEADERS: Final = {"type": "object", "maxProperties": 0}
ID_KEY: Final = {"type": "string", "pattern": "^[0-9]+$", "description": "The killmail's id."}
ID_OR_EMPTY_KEY: Final = {
    "type": "string",
    "pattern": "^[0-9]*$",
    "description": "The killmail's id; empty when it couldn't be read.",
}
EMPTY_KEY: Final = {
    "type": "string",
    "const": "",
    "description": "Empty: the entry concerns a day.",
}


def document() -> dict[str, Any]:
    """Return the whole document."""
    return {
        "asyncapi": VERSION,
        "info": {
            "title": "Killstream",
            "version": version("killstream"),
            "description": DESCRIPTION,
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "kafka": _server("kafka", "bootstrap", "127.0.0.1:9092", "KILLSTREAM_KAFKA_URL"),
            "redis": _server("redis", "address", "127.0.0.1:6379", "KILLSTREAM_REDIS_URL"),
        },
        "channels": {
            "received": _topic(RECEIVED, ["reference"], "References, before they are checked."),
            "rejected": _topic(REJECTED, ["rejection"], "Refused values with the reason."),
            "stored": _topic(
                STORED, ["entry", "importedDay"], "The feed, at least once. The topic to read."
            ),
            "live": {
                "address": CHANNEL,
                "title": "Redis channel",
                "description": (
                    "The feed's new entries, for the gateways; never truncated. Nothing is kept:"
                    " read what you missed from the topic or from GraphQL."
                ),
                "servers": [{"$ref": "#/servers/redis"}],
                "messages": {"entries": {"$ref": "#/components/messages/entries"}},
            },
        },
        "operations": {
            "sendReference": _operation("send", "received", "The poller sends what it reads."),
            "receiveReference": _operation("receive", "received", "The streams pass it on.")
            | {"bindings": {"kafka": {"groupId": {"type": "string", "enum": [GROUP]}, **BINDING}}},
            "sendRejection": _operation("send", "rejected", "The actors send what they refuse."),
            "sendEntry": _operation("send", "stored", "The actors send each entry."),
            "sendEntries": _operation("send", "live", "The actors send new entries at once."),
            "receiveEntries": _operation("receive", "live", "The gateways push them to clients."),
        },
        "components": {
            "messages": {
                "reference": _message(Reference, ID_KEY, reference()),
                "rejection": _message(Rejection, ID_OR_EMPTY_KEY, rejection()),
                "entry": _message(Entry, ID_KEY, entry()),
                "importedDay": _message(ImportedDay, EMPTY_KEY, imported_day()),
                "entries": {
                    "title": "Entries",
                    "summary": "One or more entries, one a line, each complete.",
                    "contentType": "application/x-ndjson",
                    "payload": {"oneOf": [reference_to(Entry), reference_to(ImportedDay)]},
                },
            },
            "schemas": message_schemas(),
        },
    }


def _server(protocol: str, variable: str, default: str, setting: str) -> dict[str, Any]:
    return {
        "host": f"{{{variable}}}",
        "protocol": protocol,
        "description": f"As in {setting}.",
        "variables": {variable: {"default": default}},
    }


def _topic(topic: Topic, messages: list[str], description: str) -> dict[str, Any]:
    return {
        "address": topic.name,
        "title": "Kafka topic",
        "description": description,
        "servers": [{"$ref": "#/servers/kafka"}],
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {
            "kafka": {
                "partitions": topic.partitions,
                "topicConfiguration": {
                    "retention.ms": topic.retention_ms,
                    "max.message.bytes": MAX_MESSAGE_BYTES,
                },
                **BINDING,
            }
        },
    }


def _operation(action: str, channel: str, summary: str) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": summary,
    }


def _message(struct: type, key: dict[str, Any], example: Any) -> dict[str, Any]:
    return {
        "name": struct.__name__,
        "title": struct.__name__,
        "contentType": "application/json",
        "headers": NO_HEADERS,
        "payload": reference_to(struct),
        "bindings": {"kafka": {"key": key, **BINDING}},
        "examples": [{"name": "madeUp", "payload": example}],
    }
