"""The last layer for [CLS] alone, where nothing else of it is read: a pass over a finished program.

Every token is needed as key and value of the last attention; its query, and all that comes after it, of [CLS] alone.
"""

from dataclasses import replace

from mobilebert.export.program import Attention, FirstToken, Operation, Program, reads


def narrow_to_first_token(program: Program) -> Program:
    """Compute for [CLS] alone what only [CLS] needs.

    Args:
        program: whatever its head reads; not changed.

    Returns:
        The same function with fewer rows in its last layer; the program itself where its head reads every token.
    """
    taken = [operation for operation in program.operations if isinstance(operation, FirstToken)]
    if len(taken) != 1:  # none reads [CLS], or it has been narrowed
        return program
    (take,) = taken
    if len(program.consumers()[take.input]) > 1 or any(output.value == take.input for output in program.outputs):
        return program
    before, attention, after = _split_at_last_attention(program.operations)
    (source,) = (operation.input for operation in before if operation.output == attention.query)

    # Before the attention, whatever reads the query's input is needed for [CLS] alone, except key and value.
    everywhere: list[Operation] = []
    alone: list[Operation] = []
    single = {source}
    for operation in before:
        if operation.output in (attention.key, attention.value) or single.isdisjoint(reads(operation).values()):
            everywhere.append(operation)
        else:
            alone.append(operation)
            single.add(operation.output)
    single.remove(source)  # is there for every token

    narrowed = _Narrowed(everywhere, single)
    for operation in alone:
        narrowed.append(operation)
    if (residual := getattr(after[0], "residual", None)) is not None:
        narrowed.first(residual)  # before the attention, where it always stood: files stay the same byte for byte
    narrowed.append(attention)
    for operation in after:
        if operation is not take:
            narrowed.append(replace(operation, input=take.input) if operation.input == take.output else operation)
    names = (name for operation in narrowed.operations for name in vars(operation).values() if name in program.weights)
    return replace(program, operations=narrowed.operations, weights={name: program.weights[name] for name in names})


def _split_at_last_attention(operations: list[Operation]) -> tuple[list[Operation], Attention, list[Operation]]:
    at = max(number for number, operation in enumerate(operations) if isinstance(operation, Attention))
    return operations[:at], operations[at], operations[at + 1 :]


class _Narrowed:
    """Operations, of which those appended compute [CLS] alone."""

    def __init__(self, operations: list[Operation], single: set[str]):
        self.operations = list(operations)
        self._single = set(single)  # values that exist for [CLS] alone
        self._firsts: set[str] = set()

    def append(self, operation: Operation) -> None:
        """Append an operation that reads [CLS] of each of its inputs, but for an attention's keys and values."""
        roles = {"query": operation.query} if isinstance(operation, Attention) else reads(operation)
        inputs = {role: self.first(value) for role, value in roles.items()}
        self.operations.append(replace(operation, **inputs))
        self._single.add(operation.output)

    def first(self, value: str) -> str:
        """The name of a value's [CLS], which is taken where it was not yet."""
        if value in self._single:
            return value
        name = f"{value}.first"
        if name not in self._firsts:
            self._firsts.add(name)
            self.operations.append(FirstToken(name, value))
        return name
