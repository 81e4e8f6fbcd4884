"""The command's options for faults, generated from the switches' declarations."""

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

import msgspec
import typer

from actors.shared.errors import Misconfigured
from deploy.standin.faults import Faults, changed

_PANELS: Final = {
    "limits": "Server",
    "redisq": "RedisQ's faults",
    "esi": "ESI's faults",
    "tranquility": "ESI's faults",
    "names": "ESI's faults",
    "renamed": "ESI's faults",
    "unknown": "ESI's faults",
    "zkillboard": "zKillboard's faults",
    "sso": "The SSO's faults",
    "sde": "The static data's faults",
    "everef": "EVE Ref's faults",
    "history": "R2Z2's faults",
}


def with_fault_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replace the command's `**faults` by an option for each switch."""
    signature = inspect.signature(command)
    own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    switches = [_parameter(field) for field in msgspec.structs.fields(Faults)]
    command.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*own, *switches]
    )
    return command


def faults_of(given: Mapping[str, Any]) -> Faults:
    """Convert the options to switches.

    Raises:
        Misconfigured: a value is wrong; the message has its switch.
    """
    changes = {
        field.name: _decoded(field, given[field.name])
        for field in msgspec.structs.fields(Faults)
        if given[field.name] is not None
    }
    return changed(Faults(), changes)


def _parameter(field: msgspec.structs.FieldInfo) -> inspect.Parameter:
    option = typer.Option(
        metavar="JSON" if _is_json(field) else None,
        help=_description(field),
        rich_help_panel=_PANELS.get(field.name.partition("_")[0], "R2Z2's faults"),
    )
    kind: Any = str | None if _is_json(field) else type(field.default)
    if field.default is None:
        kind = int | None
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None if _is_json(field) else field.default,
        annotation=Annotated[kind, option],
    )


def _is_json(field: msgspec.structs.FieldInfo) -> bool:
    """Return whether a switch's value is given as JSON: a list or a table."""
    return not isinstance(field.default, bool | int | float | str | None)


def _description(field: msgspec.structs.FieldInfo) -> str:
    declared = field.type.__metadata__
    return next(meta.description for meta in declared if meta.description)  # type: ignore[no-any-return]


def _decoded(field: msgspec.structs.FieldInfo, value: Any) -> Any:
    if not _is_json(field):
        return value
    try:
        return msgspec.json.decode(value)
    except msgspec.DecodeError as error:
        raise Misconfigured(f"{field.name} takes JSON, not {value}: {error}") from None
