"""Execute GraphQL operations within their limits: cost, time, and length of the answer."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, cast

import msgspec
from graphql import (
    ExecutionResult,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
)

from api.bounds import TooComplex
from api.budget import Level
from api.clients import check_introspection, client_of
from api.context import Context
from api.cost import cost_of
from api.documents import Documents, ValidatedDocument
from api.errors import ClientError, format_error
from api.executor import Meter, PiecewiseExecutor

STOP_S: Final = 1.0
"""How long an execution may take to stop."""
MAX_VALUES: Final = 1_000_000
"""Of one answer, however few of them its cost was estimated from."""


class Request(NamedTuple):
    """The parameters of a request."""

    query: str
    variables: Mapping[str, Any]
    operation_name: str | None


class Limited(ClientError):
    """The client's budget is used up."""

    def __init__(self, level: Level) -> None:
        super().__init__(
            "RATE_LIMITED",
            f"your operations cost more than {level.limit} in a minute:"
            f" try again in {level.retry_after_s} s",
            retryAfterSeconds=level.retry_after_s,
        )
        self.level = level


@dataclass(frozen=True)
class Prepared:
    """An operation that may be executed, and was charged."""

    valid: ValidatedDocument
    operation: OperationDefinitionNode
    request: Request
    cost: int


@dataclass(frozen=True)
class Answer:
    """The answer to an operation."""

    payload: Mapping[str, Any]
    """`data`, `errors` and `extensions`; without `data`, nothing was executed."""
    body: bytes
    """The payload as JSON."""


def prepare(
    schema: GraphQLSchema, documents: Documents, request: Request, context: Context
) -> Prepared:
    """Validate a request and charge its client; a subscription is charged for one event.

    Raises:
        Limited: the client's budget is used up.
        InvalidDocument: the document is invalid.
        GraphQLError: the operation is unknown, too complex, or closed to strangers.
    """
    if not documents.is_cached(request.query):
        charge(context, len(request.query))
    valid = documents.validated(request.query)
    if isinstance(valid, list):
        raise InvalidDocument(valid)
    operation = valid.operation(request.operation_name)
    if valid.has_introspection:
        check_introspection(context.state.settings, context.viewer)
    cost = cost_of(schema, valid, operation, request.variables)
    limit = context.state.settings.api_operation_cost
    if cost > limit:
        raise TooComplex(
            f"The operation costs {cost}, and {limit} is the limit:"
            " ask for fewer elements, or for fewer fields of each.",
            cost=cost,
            limit=limit,
        )
    charge(context, cost)
    return Prepared(valid, operation, request, cost)


class InvalidDocument(Exception):
    """The document has errors."""

    def __init__(self, errors: list[GraphQLError]) -> None:
        super().__init__(errors[0].message)
        self.errors = errors


def charge(context: Context, cost: int) -> None:
    """Charge the client of an operation.

    Raises:
        Limited: its budget is used up.
    """
    level = context.state.capacity.budget.charge(client_of(context.viewer), cost)
    if level.retry_after_s is not None:
        raise Limited(level)


async def execute(schema: GraphQLSchema, prepared: Prepared, context: Context) -> Answer:
    """Execute a query or mutation. A mutation has no time limit: it runs to its end."""
    operation, request, cost = prepared.operation, prepared.request, prepared.cost
    settings, capacity = context.state.settings, context.state.capacity
    client = client_of(context.viewer)
    executor = PiecewiseExecutor.build(
        schema,
        prepared.valid.document,
        context_value=context,
        raw_variable_values=dict(request.variables),
        operation_name=request.operation_name,
    )
    if isinstance(executor, list):
        return refusal(executor)
    assert isinstance(executor, PiecewiseExecutor)
    meter = Meter(MAX_VALUES, settings.api_answer_bytes)
    executor.meter, executor.turns = meter, capacity.turns
    is_query = operation.operation == OperationType.QUERY
    limit_s = settings.api_operation_s if is_query else None
    large = cost if is_query else 0  # a mutation's answer is short, and it may wait for long
    try:
        async with _at_most(limit_s, executor), capacity.place(client, large):
            result = executor.execute_operation()
            if executor.is_awaitable(result):
                result = await result
    except TimeoutError:
        meter.is_stopped = True
    finally:
        capacity.budget.record(client, meter.values - cost)
    if meter.is_stopped:
        return failure(ClientError("TIMEOUT", f"the query took longer than {limit_s:g} s"))
    if meter.is_full:
        return failure(_too_long(settings.api_answer_bytes))
    return _answer(cast(ExecutionResult, result), prepared, context)


@asynccontextmanager
async def _at_most(limit_s: float | None, executor: PiecewiseExecutor) -> AsyncIterator[None]:
    """Stop an execution after its time; what still reads after another second is cancelled."""
    if limit_s is None:
        yield
        return
    timer = asyncio.get_running_loop().call_later(limit_s, executor.stop)
    try:
        async with asyncio.timeout(limit_s + STOP_S):
            yield
    finally:
        timer.cancel()


def _answer(result: ExecutionResult, prepared: Prepared, context: Context) -> Answer:
    settings = context.state.settings
    payload: dict[str, Any] = {"data": result.data}
    if result.errors:
        payload["errors"] = [format_error(error) for error in result.errors]
    payload["extensions"] = {
        "cost": {"operation": prepared.cost, "limit": settings.api_operation_cost}
    }
    body = msgspec.json.encode(payload)
    if len(body) > settings.api_answer_bytes:
        return failure(_too_long(settings.api_answer_bytes))
    return Answer(payload, body)


def refusal(errors: list[GraphQLError]) -> Answer:
    """Make the answer to what isn't executed."""
    payload = {"errors": [format_error(error) for error in errors]}
    return Answer(payload, msgspec.json.encode(payload))


def failure(error: GraphQLError) -> Answer:
    """Make the answer to what was executed in vain."""
    payload = {"data": None, "errors": [format_error(error)]}
    return Answer(payload, msgspec.json.encode(payload))


def _too_long(limit: int) -> ClientError:
    return ClientError(
        "ANSWER_TOO_LONG",
        f"the answer is longer than {limit} bytes or {MAX_VALUES} values: ask for less at once",
    )
