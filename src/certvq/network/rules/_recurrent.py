"""LSTM, step after step.

In: arguments. Out: values with bounds. With gates i, f, o = sigmoid(W x + U h + b) and g = tanh(W x
+ U h + b), each of weights and biases of its own, ``c' = f c + i g`` and ``h' = o tanh(c')``. Each
step is made of the rules of its parts: linear maps, sigmoid (slope 1/4), tanh (slope 1), products
and sums. An error of c at most grows by ``max f``, and one of h by the norms of U, so that a bound
grows or shrinks geometrically with the steps. A second direction takes them from the last to the
first, and its h follows that of the first. Where it has grown, the steps are taken once more
with bounds by the slopes of the gates (`certvq.network.rules._contraction`); the lesser counts.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from certvq.network._bounded import Bounded, along, entry_errors
from certvq.network._graph import Ref
from certvq.network._numbers import Numbers
from certvq.network._region import Part, Region
from certvq.network._wide import nearest, rest
from certvq.network.rules._arithmetic import multiplied, summed
from certvq.network.rules._contraction import beginning, kernel_of, passed_on
from certvq.network.rules._linear import Linear
from certvq.network.rules._pointwise import OfTorch, Sigmoid
from certvq.network.rules._rule import Arguments, Mask, Objects, Rule
from certvq.network.rules._shapes import CONCATENATION

_GATES = 4
_LINEAR, _SIGMOID, _TANH = Linear(), Sigmoid(), OfTorch("tanh")


class Lstm(Rule):
    """All layers of an LSTM in one direction or two; the result is the h of the last layer."""

    def refusal(self, arguments: Arguments) -> str:
        """Refuse projections, dropout, and inputs without a batch axis."""
        if arguments["train"] and arguments["dropout"]:
            return f"with dropout={arguments['dropout']}"
        if len(arguments["input"].shape) != 3:
            return f"of an input without a batch axis, of shape {arguments['input'].shape}"
        if len(arguments["params"]) != _runs(arguments) * _per_run(arguments):
            return "with proj_size"
        return ""

    def bounded(self, arguments: Arguments) -> Bounded:
        """Run all steps with bounds of the vectors of channels."""
        given = along(arguments["input"], 2)
        axis = _axis_of_time(arguments)
        states = [along(each, 2) for each in arguments["hx"]]
        for layer in _layers(arguments):
            found = [
                _run(given, params, axis, [_at(each, 0, run) for each in states], turn)
                for turn, (run, params) in enumerate(layer)
            ]
            given = CONCATENATION.bounded({"tensors": found, "dim": 2}) if found[1:] else found[0]
        return given

    def within(
        self, arguments: Arguments, region: Region, shape: tuple[int, ...]
    ) -> tuple[Arguments, Region]:
        """A sample needs itself, up to the last step that is asked for."""
        given, axis = arguments["input"], _axis_of_time(arguments)
        batch = region[1 - axis]
        time = (0, shape[axis] if arguments["bidirectional"] else region[axis][1])
        before = (batch, time) if axis else (time, batch)
        states = [
            Part(each, ((0, each.shape[0]), batch, (0, each.shape[2]))) for each in arguments["hx"]
        ]
        part = Part(given, (*before, (0, given.shape[2])))
        return {**arguments, "input": part, "hx": states}, (*before, (0, shape[2]))

    def needs(self, arguments: Arguments, mask: Mask) -> Iterable[tuple[Ref, Mask]]:
        """A step needs all steps before it, of its sample; in two directions, all steps."""
        axis = _axis_of_time(arguments)
        steps = mask.any(-1, keepdims=True)
        before = np.flip(np.logical_or.accumulate(np.flip(steps, axis), axis), axis)
        if arguments["bidirectional"]:
            before = np.broadcast_to(np.logical_or.reduce(steps, axis, keepdims=True), steps.shape)
        given: Ref = arguments["input"]
        yield given, np.broadcast_to(before, given.shape)
        for ref in (*arguments["hx"], *arguments["params"]):
            yield ref, np.ones(ref.shape, bool)

    def exact(self, numbers: Numbers, arguments: Arguments, mask: Mask) -> Objects:
        """Run the steps up to the last one that is needed; in two directions, all steps."""
        axis = _axis_of_time(arguments)
        given = np.moveaxis(arguments["input"], axis, 0)
        needed = np.moveaxis(np.asarray(mask.any(-1)), axis, 0)
        samples = np.asarray(needed.any(0))
        last = int(np.flatnonzero(needed.any(1))[-1]) + 1
        rows = given if arguments["bidirectional"] else given[:last]
        rows = rows[:, samples]
        for layer in _layers(arguments):
            found: list[Objects] = []
            for turn, (run, params) in enumerate(layer):
                state = [each[run][samples] for each in arguments["hx"]]
                steps = _exact_run(numbers, rows[:: _SIGNS[turn]], params, state)
                found.append(steps[:: _SIGNS[turn]])
            rows = np.concatenate(found, 2)
        result = np.empty((len(given), len(samples), rows.shape[2]), object)
        result[: len(rows), samples] = rows
        return np.moveaxis(result, 0, axis)


_SIGNS = (1, -1)
"""The steps of the first direction, and of the second."""


def _run(
    given: Bounded, params: list[Bounded], axis: int, start: list[Bounded], turn: int
) -> Bounded:
    """Return h after all steps of a layer in one direction, in the order of time."""
    parts = [_split(each) for each in params]
    inputs = [_linear(given, *gate) for gate in zip(*parts[::2], strict=True)]
    order = range(given.value.shape[axis])[:: _SIGNS[turn]]
    rows = [[_at(each, axis, step) for each in inputs] for step in order]
    params_of_h = list(zip(*parts[1::2], strict=True))
    hidden, cell = start
    steps = _plain_steps(rows, params_of_h, hidden, cell)
    if _worth_more(steps, params_of_h):
        steps = _contracted_steps(rows, params_of_h, hidden, cell)
    steps = steps[:: _SIGNS[turn]]
    value, error = (
        torch.stack([getattr(each, name) for each in steps], axis) for name in ("value", "error")
    )
    return Bounded(value, error, 2)


def _exact_run(
    numbers: Numbers, rows: Objects, params: list[Objects], state: list[Objects]
) -> Objects:
    """Return h after each step of a layer in one direction, for rows (steps, B, C)."""
    weights, biases = params[:2], params[2:]
    hidden, cell = state
    steps: list[Objects] = []
    for row in rows:
        total = numbers.matmul(row, weights[0].T) + numbers.matmul(hidden, weights[1].T)
        hidden, cell = _exact_step(numbers, sum(biases, total), cell)
        steps.append(hidden)
    return np.stack(steps)


def _axis_of_time(arguments: Arguments) -> int:
    return 1 if arguments["batch_first"] else 0


def _per_run(arguments: Arguments) -> int:
    return 4 if arguments["has_biases"] else 2


def _directions(arguments: Arguments) -> int:
    return 2 if arguments["bidirectional"] else 1


def _runs(arguments: Arguments) -> int:
    return arguments["num_layers"] * _directions(arguments)


def _layers(arguments: Arguments) -> list[list[tuple[int, list[Any]]]]:
    """Return for each layer its directions: a number, W, U, and their biases if there are any."""
    params, count = list(arguments["params"]), _per_run(arguments)
    runs = [(n, params[n * count : (n + 1) * count]) for n in range(_runs(arguments))]
    step = _directions(arguments)
    return [runs[start : start + step] for start in range(0, len(runs), step)]


def _split(params: Bounded) -> list[Bounded]:
    """Return the weights or biases of each gate; these are kept, with their norms."""
    key = (Lstm, type(params.value))  # float64 or pairs
    if key not in params.memory:
        parts = zip(params.value.chunk(_GATES), entry_errors(params).chunk(_GATES), strict=True)
        params.memory[key] = [Bounded(value, error, None) for value, error in parts]
    return params.memory[key]


def _linear(given: Bounded, weight: Bounded, bias: Bounded | None = None) -> Bounded:
    return _LINEAR.bounded({"input": given, "weight": weight, "bias": bias})


def _at(bounded: Bounded, axis: int, place: int) -> Bounded:
    """Select along an axis before the last, which is that of the channels."""
    return Bounded(bounded.value.select(axis, place), bounded.error.select(axis, place), 1)


_Params = list[tuple[Bounded, ...]]
"""U of each gate, and its bias if there is one."""

_GROWN = 2.0**-30
"""Bounds of h from which on those by slopes are worth a matrix for each step. Chosen."""


def _worth_more(steps: list[Bounded], params: _Params) -> bool:
    """Return whether bounds have grown, and kernels are exact float64 numbers."""
    grown = any(not bool((each.error <= _GROWN).all()) for each in steps)
    kernels = [each[0] for each in params]
    return grown and not any(bool(each.error.any() or rest(each.value).any()) for each in kernels)


def _plain_steps(
    inputs: list[list[Bounded]], params: _Params, hidden: Bounded, cell: Bounded
) -> list[Bounded]:
    """Return h after each step."""
    steps = []
    for own in inputs:
        hidden, cell = _step(_gates(own, params, hidden), cell)
        steps.append(hidden)
    return steps


def _contracted_steps(
    inputs: list[list[Bounded]], params: _Params, hidden: Bounded, cell: Bounded
) -> list[Bounded]:
    """Return h after each step, with the lesser of both bounds."""
    steps, spread = [], beginning(hidden, cell)
    kernels = [kernel_of(nearest(each[0].value)) for each in params]
    for own in inputs:
        plain = _step(_gates(own, params, hidden), cell)
        gates = _gates(own, params, _exactly(hidden))
        alone = _step(gates, _exactly(cell))
        values = (cell.value, alone[1].value)
        errors = (along(alone[0], 1).error, along(alone[1], 1).error)
        spread = passed_on(spread, gates, kernels, values, errors)
        lesser = [
            torch.fmin(along(each, 1).error, other)
            for each, other in zip(plain, (spread.hidden, spread.cell), strict=True)
        ]
        hidden, cell = (
            Bounded(each.value, error, 1) for each, error in zip(plain, lesser, strict=True)
        )
        spread = replace(spread, hidden=lesser[0], cell=lesser[1])
        steps.append(hidden)
    return steps


def _exactly(bounded: Bounded) -> Bounded:
    return Bounded(bounded.value, torch.zeros_like(bounded.error), bounded.axis)


def _gates(inputs: list[Bounded], params: _Params, hidden: Bounded) -> list[Bounded]:
    """Return i, f, g, o."""
    sums = [summed(a, _linear(hidden, *b)) for a, b in zip(inputs, params, strict=True)]
    rules = (_SIGMOID, _SIGMOID, _TANH, _SIGMOID)
    return [rule.bounded({"self": each}) for rule, each in zip(rules, sums, strict=True)]


def _step(gates: list[Bounded], cell: Bounded) -> tuple[Bounded, Bounded]:
    """Return h and c after a step."""
    i, f, g, o = gates
    cell = summed(multiplied(f, cell), multiplied(i, g))
    return multiplied(o, _TANH.bounded({"self": cell})), cell


def _exact_step(numbers: Numbers, total: Objects, cell: Objects) -> tuple[Objects, Objects]:
    """Return h and c after a step, given the sums of all gates, (B, 4 H)."""
    i, f, g, o = np.split(total, _GATES, 1)
    nothing: Arguments = {}

    def each(rule: Sigmoid | OfTorch, entries: Objects) -> Objects:
        flat = [rule.entry(numbers, entry, nothing) for entry in entries.flat]
        return np.array(flat, object).reshape(entries.shape)

    cell = each(_SIGMOID, f) * cell + each(_SIGMOID, i) * each(_TANH, g)
    return each(_SIGMOID, o) * each(_TANH, cell), cell


RULES: dict[str, Rule] = {"lstm.input": Lstm()}
