"""Read the parameters of a GraphQL request from a body or a query string."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from starlette.requests import Request as HttpRequest

from api.execution import Request

_JSON: Final = "application/json"


class BadRequest(Exception):
    """The request isn't one of GraphQL; has a status."""

    def __init__(
        self, message: str, status: int = 400, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}


async def parameters_of(request: HttpRequest) -> Request:
    """Read the parameters of a GET or POST.

    Raises:
        BadRequest: they are missing, of a wrong type or encoding, or nested too deeply.
    """
    if request.method == "POST":
        _check_content_type(request.headers.get("content-type", ""))
        return request_of(_decoded(await request.body(), "the body"))
    given: dict[str, Any] = {
        name: value
        for name, value in request.query_params.items()
        if value or name == "query"  # an empty parameter is one that isn't given
    }
    for name in given.keys() & {"variables", "extensions"}:
        given[name] = _decoded(given[name].encode(), name)
    return request_of(given)


def request_of(data: Any) -> Request:
    """Check the types of parameters.

    Raises:
        BadRequest: one of them is wrong.
    """
    if not isinstance(data, dict):
        raise BadRequest("the request must be an object with `query`: batches aren't supported")
    if not isinstance(data.get("query"), str):
        raise BadRequest("query: must be a string, the document")
    name = data.get("operationName")
    if not isinstance(name, str | None):
        raise BadRequest("operationName: must be a string or null")
    for parameter in ("variables", "extensions"):
        if not isinstance(data.get(parameter), dict | None):
            raise BadRequest(f"{parameter}: must be an object or null")
    return Request(data["query"], data.get("variables") or {}, name)


def _check_content_type(content_type: str) -> None:
    media_type, *parameters = (part.strip().lower() for part in content_type.split(";"))
    if media_type != _JSON:
        raise BadRequest(f"the Content-Type must be {_JSON}", 415)
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "charset" and value.strip('"') not in ("utf-8", "utf8"):
            raise BadRequest(f"the charset of {_JSON} must be utf-8", 415)


def _decoded(text: bytes, what: str) -> Any:
    """Decode JSON.

    Text that isn't Unicode, as half of a surrogate pair, is refused here: no answer could
    repeat it, and neither hashes nor databases take it.
    """
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"{what} isn't valid JSON: {error}") from None
