"""JSON Schemas of the messages, from their structs: types, limits and docstrings.

Written in the part of JSON Schema that draft 7 and 2020-12 have in common, as AsyncAPI's tools
know draft 7: nothing stands beside a `$ref`, and patterns are ECMAScript's.
"""

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

import msgspec

from actors.shared.feed import Entry, ImportedDay
from actors.shared.killmail import Attacker, Item, Killmail, Position, Victim
from actors.shared.reference import Reference
from actors.shared.rejection import Rejection
from actors.shared.zkb import Zkb

STRUCTS: Final = (
    Entry,
    ImportedDay,
    Reference,
    Rejection,
    Killmail,
    Victim,
    Attacker,
    Item,
    Position,
    Zkb,
)
"""What gets a schema: the messages, then what they hold."""

ALWAYS_WRITTEN: Final = ("v", "feed_id")
"""Fields that are never absent, though they have a default for reading."""

ADDITIONS: Final[Mapping[type, dict[str, Any]]] = {
    Entry: {
        "anyOf": [
            {"required": ["killmail"]},
            {"required": ["truncated"], "properties": {"truncated": {"const": True}}},
        ]
    },
    Reference: {
        "anyOf": [
            {"required": ["body"]},
            {"required": ["hash"], "properties": {"hash": {"pattern": "^[0-9a-f]{40}$"}}},
        ]
    },
}
"""What holds between fields."""

_TEMPLATE: Final = "#/components/schemas/{name}"
_INT64: Final = {"minimum": -(2**63), "maximum": 2**63 - 1}


def message_schemas() -> dict[str, dict[str, Any]]:
    """Return the schemas by the structs' names, with references between them."""
    return {struct.__name__: _schema(struct) for struct in STRUCTS}


def reference_to(struct: type) -> dict[str, Any]:
    """Return a schema that points to the struct's."""
    return {"$ref": _TEMPLATE.format(name=struct.__name__)}


def _schema(struct: type[msgspec.Struct]) -> dict[str, Any]:
    fields = msgspec.structs.fields(struct)
    omits_defaults = struct.__struct_config__.omit_defaults
    required = [
        field.encode_name
        for field in fields
        if field.required or not omits_defaults or field.name in ALWAYS_WRITTEN
    ]
    tag = _tag(struct)
    said = dict(_field_docstrings(struct))
    if silent := [field.name for field in fields if field.name not in said]:
        raise LookupError(f"{struct.__name__} has fields without a docstring: {silent}")
    schema = {
        "title": struct.__name__,
        "description": inspect.cleandoc(struct.__doc__ or ""),
        "type": "object",
        "required": [*tag, *required],
        "properties": tag
        | {
            field.encode_name: {
                "description": said[field.name],
                **_field_schema(field),
                **({} if field.encode_name in required else _default(field)),
            }
            for field in fields
        },
    }
    return schema | ADDITIONS.get(struct, {})


def _tag(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the property that tells kinds of messages apart, if the struct has one."""
    config = struct.__struct_config__
    if config.tag_field is None:
        return {}
    says = {"description": "Version of this shape.", "type": "integer", "const": config.tag}
    return {config.tag_field: says}


def _field_schema(field: msgspec.structs.FieldInfo) -> dict[str, Any]:
    schema: dict[str, Any] = _portable(_type_schema(field.type))
    return {"allOf": [schema]} if "$ref" in schema else schema


def _default(field: msgspec.structs.FieldInfo) -> dict[str, Any]:
    """Return what an absent field means, where that is a value."""
    is_value = isinstance(field.default, str | bool) and field.default != ""
    return {"default": field.default} if is_value else {}


def _type_schema(kind: Any) -> Any:
    """Return a type's schema; raw JSON is described by the struct that it is said to hold."""
    info = msgspec.inspect.type_info(kind)
    extra = (info.extra if isinstance(info, msgspec.inspect.Metadata) else None) or {}
    if "holds" in extra:
        return reference_to(extra["holds"])
    if "expected" in extra:
        return {"anyOf": [reference_to(extra["expected"]), {"type": "object"}]}
    (schema,), _ = msgspec.json.schema_components([kind], ref_template=_TEMPLATE)
    return schema


def _portable(schema: Any) -> Any:
    """Rewrite what other tools read differently, or not at all."""
    if isinstance(schema, list):
        return [_portable(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _portable(value) for key, value in schema.items()}
    if found.get("maximum") == _INT64["maximum"]:
        found = {k: v for k, v in found.items() if _INT64.get(k) != v} | {"format": "int64"}
    if "pattern" in found:
        found["pattern"] = found["pattern"].replace(r"\Z", "$")
    return found


def _field_docstrings(struct: type) -> Iterator[tuple[str, str]]:
    """Yield the name and docstring of each field: the string that follows it in the source."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(struct))).body
    assert isinstance(tree, ast.ClassDef)
    for field, text in pairwise(tree.body):
        match field, text:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(docstring))),
            ):
                yield name, inspect.cleandoc(docstring)
