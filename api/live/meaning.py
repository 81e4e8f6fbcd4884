"""Tell which subscriptions have the same results.

A result depends on what is selected below the root field and on the variables used there. What the
root field's own arguments say (which events are sent, and from where on) makes no other result.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from graphql import (
    Executor,
    FragmentSpreadNode,
    SelectionSetNode,
    VariableNode,
    Visitor,
    print_ast,
    visit,
)

from api.live.render import root_fields

Meaning = tuple[object, ...]
"""Equal for subscriptions with equal results of equal events."""


class _Names(Visitor):
    """Collects the fragments and the variables that a selection names."""

    def __init__(self) -> None:
        super().__init__()
        self.fragments: dict[str, None] = {}
        self.variables: set[str] = set()

    def enter_fragment_spread(self, node: FragmentSpreadNode, *_: Any) -> None:
        self.fragments[node.name.value] = None

    def enter_variable(self, node: VariableNode, *_: Any) -> None:
        self.variables.add(node.name.value)


def meaning_of(executor: Executor[Any]) -> Meaning:
    """Return what the results of a subscription depend on, beside its events."""
    names = _Names()
    text = []
    for key, details in root_fields(executor).items():
        selections = [one.node.selection_set for one in details]
        selected = "".join(_printed(executor, selections, names))
        text.append(f"{key}: {details[0].node.name.value} {selected}")
    given = executor.variable_values.coerced
    variables = {name: given[name] for name in sorted(names.variables) if name in given}
    return (*text, msgspec.json.encode(variables, enc_hook=repr))


def _printed(
    executor: Executor[Any], selections: Iterable[SelectionSetNode | None], names: _Names
) -> Iterator[str]:
    """Print selections and the fragments that they use."""
    for selection in selections:
        if selection is not None:
            visit(selection, names)
            yield print_ast(selection)
    printed: set[str] = set()
    while missing := [name for name in names.fragments if name not in printed]:
        for name in missing:
            definition = executor.fragments[name].definition
            printed.add(name)
            visit(definition, names)
            yield print_ast(definition)
