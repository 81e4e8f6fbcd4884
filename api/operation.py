"""Execute subscriptions: once per event for all clients with the same document and variables."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, cast

import msgspec
from graphql import (
    DocumentNode,
    ExecutionResult,
    Executor,
    GraphQLError,
    GraphQLSchema,
    execute_subscription_event,
    specified_rules,
    validate,
)
from graphql.execution import create_source_event_stream

from api.errors import format_error
from api.limits import OperationLimits
from api.view import FeedView


async def subscribe(
    schema: GraphQLSchema, document: DocumentNode, data: dict[str, Any], context: Any
) -> AsyncGenerator[bytes, None] | list[GraphQLError]:
    """Start a subscription; return its results as JSON, one per event, or the errors."""
    if errors := validate(schema, document, [*specified_rules, OperationLimits]):
        return errors
    variables, name = data.get("variables"), data.get("operationName")
    executor = Executor.build(schema, document, None, context, variables, name)
    if isinstance(executor, list):
        return executor
    stream: Any = create_source_event_stream(executor)
    if executor.is_awaitable(stream):
        stream = await stream
    if isinstance(stream, ExecutionResult):
        return stream.errors or []
    return _results(executor, stream, (data["query"], name, msgspec.json.encode(variables)))


async def _results(
    executor: Executor[Any], views: AsyncGenerator[FeedView, None], key: tuple[object, ...]
) -> AsyncGenerator[bytes, None]:
    """Execute the subscription for each view, or take the result that is cached under `key`.

    A result depends on document, operation and variables only, so clients can share it.
    """
    async with aclosing(views):
        async for view in views:
            payload = view.payloads.get(key)
            if payload is None:
                payload = await _execute(executor.build_per_event_executor(view))
                view.payloads.add(key, payload)
            yield payload


async def _execute(executor: Executor[Any]) -> bytes:
    result = execute_subscription_event(executor)
    if executor.is_awaitable(result):
        result = await result
    return encode_result(cast(ExecutionResult, result))


def encode_result(result: ExecutionResult) -> bytes:
    """Encode a result as JSON."""
    payload: dict[str, Any] = {"data": result.data}
    if result.errors:
        payload["errors"] = [format_error(error) for error in result.errors]
    return msgspec.json.encode(payload)
