"""Execute operations so that others aren't held up, and no answer grows without bound."""

from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import Any, Final

from graphql import GraphQLList, GraphQLObjectType, GraphQLOutputType, GraphQLResolveInfo
from graphql.execution.executor_throwing_on_incremental import ExecutorThrowingOnIncremental
from graphql.pyutils import Path

from api.turns import Execution, Turns

LONG: Final = 50
"""A list of more elements is completed piece by piece from its beginning."""
_BYTES_OF_VALUE: Final = 5
"""Of a value in the answer beside its name: quotes, a colon, a comma, and one character."""


class Meter(Execution):
    """Counts the values of an answer, and its bytes from below."""

    def __init__(self, max_values: int, max_bytes: int) -> None:
        super().__init__()
        self._max_values = max_values
        self._max_bytes = max_bytes
        self._sizes: dict[int, int] = {}
        """Bytes of the names in a group of fields, by the group's identity."""
        self.values = 0
        self.bytes = 0
        self.is_stopped = False
        """The time for the answer is over."""

    @property
    def is_full(self) -> bool:
        """Return whether the answer is too long."""
        return self.values > self._max_values or self.bytes > self._max_bytes

    @property
    def is_over(self) -> bool:
        """Return whether nothing more is to be added."""
        return self.is_stopped or self.is_full

    def add(self, fields: dict[str, Any]) -> None:
        """Count the fields of one object; the group must live as long as the meter."""
        size = self._sizes.get(id(fields))
        if size is None:
            size = self._sizes[id(fields)] = sum(len(name) + _BYTES_OF_VALUE for name in fields)
        self.values += len(fields)
        self.bytes += size


class PiecewiseExecutor(ExecutorThrowingOnIncremental):
    """Completes long lists in turns with other executions, and stops when the meter says so.

    graphql-core completes lists from asynchronous iterators, too, so a list whose elements come
    when it is the execution's turn leaves the loop in between.
    """

    turns: Turns
    meter: Meter

    def stop(self) -> None:
        """End soon, with an answer that lacks what wasn't completed.

        Cancelling would leave behind the coroutines that wait for their turn to be awaited.
        """
        self.meter.is_stopped = True
        self.turns.release(self.meter)

    def execute_fields(
        self,
        parent_type: GraphQLObjectType,
        source_value: Any,
        path: Path | None,
        grouped_field_set: Any,
        position_context: Any,
    ) -> Any:
        """Execute the fields of one object, or none when the meter is over."""
        if self.meter.is_over:
            return {}
        self.meter.add(grouped_field_set)
        return super().execute_fields(
            parent_type, source_value, path, grouped_field_set, position_context
        )

    def complete_list_value(
        self,
        return_type: GraphQLList[GraphQLOutputType],
        field_details_list: Any,
        info: GraphQLResolveInfo[Any],
        path: Path,
        result: AsyncIterable[Any] | Iterable[Any],
        position_context: None,
    ) -> Any:
        """Complete a list at once if it is short and there is time left."""
        if isinstance(result, list | tuple) and (len(result) > LONG or self.turns.is_overdue()):
            result = self._pieces(result)
        return super().complete_list_value(
            return_type, field_details_list, info, path, result, position_context
        )

    async def _pieces(self, elements: Iterable[Any]) -> AsyncIterator[Any]:
        for element in elements:
            if not self.meter.is_over and self.turns.is_over():
                await self.turns.wait(self.meter)
            if self.meter.is_over:
                return
            yield element
