"""LSTM, step after step.

In: arguments. Out: values with bounds. With gates i, f, o = sigmoid(W x + U h + b) and g = tanh(W x
+ U h + b), each of weights and biases of its own, ``c' = f c + i g`` and ``h' = o tanh(c')``. Each
step is made of the rules of its parts: linear maps, sigmoid (slope 1/4), tanh (slope 1), products
and sums. An error of c at most grows by ``max f``, and one of h by the norms of U, so that a bound
grows or shrinks geometrically with the steps. Where it has grown, the steps are taken once more
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
from certvq.network._wide import nearest, rest
from certvq.network.rules._arithmetic import multiplied, summed
from certvq.network.rules._contraction import beginning, kernel_of, passed_on
from certvq.network.rules._linear import Linear
from certvq.network.rules._pointwise import OfTorch, Sigmoid
from certvq.network.rules._rule import Arguments, Mask, Objects, Rule

_GATES = 4
_LINEAR, _SIGMOID, _TANH = Linear(), Sigmoid(), OfTorch("tanh")


class Lstm(Rule):
    """All layers of an LSTM in one direction; the result is the h of the last layer."""

    def refusal(self, arguments: Arguments) -> str:
        """Refuse two directions, projections, dropout, and inputs without a batch axis."""
        if arguments["bidirectional"]:
            return "with bidirectional=True"
        if arguments["train"] and arguments["dropout"]:
            return f"with dropout={arguments['dropout']}"
        if len(arguments["input"].shape) != 3:
            return f"of an input without a batch axis, of shape {arguments['input'].shape}"
        if len(arguments["params"]) != arguments["num_layers"] * _per_layer(arguments):
            return "with proj_size"
        return ""

    def bounded(self, arguments: Arguments) -> Bounded:
        """Run all steps with bounds of the vectors of channels."""
        given = along(arguments["input"], 2)
        axis = _axis_of_time(arguments)
        hidden, cell = arguments["hx"]
        for layer, params in enumerate(_layers(arguments)):
            parts = [_split(each) for each in params]
            inputs = [_linear(given, *gate) for gate in zip(*parts[::2], strict=True)]
            start = [_at(along(each, 2), 0, layer) for each in (hidden, cell)]
            rows = [
                [_at(each, axis, step) for each in inputs]
                for step in range(given.value.shape[axis])
            ]
            params_of_h = list(zip(*parts[1::2], strict=True))
            steps = _plain_steps(rows, params_of_h, *start)
            if _worth_more(steps, params_of_h):
                steps = _contracted_steps(rows, params_of_h, *start)
            value, error = (
                torch.stack([getattr(each, name) for each in steps], axis)
                for name in ("value", "error")
            )
            given = Bounded(value, error, 2)
        return given

    def needs(self, arguments: Arguments, mask: Mask) -> Iterable[tuple[Ref, Mask]]:
        """A step needs all steps before it, of its sample."""
        axis = _axis_of_time(arguments)
        steps = mask.any(-1, keepdims=True)
        before = np.flip(np.logical_or.accumulate(np.flip(steps, axis), axis), axis)
        given: Ref = arguments["input"]
        yield given, np.broadcast_to(before, given.shape)
        for ref in (*arguments["hx"], *arguments["params"]):
            yield ref, np.ones(ref.shape, bool)

    def exact(self, numbers: Numbers, arguments: Arguments, mask: Mask) -> Objects:
        """Run the steps up to the last one that is needed."""
        axis = _axis_of_time(arguments)
        given = np.moveaxis(arguments["input"], axis, 0)
        needed = np.moveaxis(np.asarray(mask.any(-1)), axis, 0)
        samples = np.asarray(needed.any(0))
        last = int(np.flatnonzero(needed.any(1))[-1]) + 1
        rows = given[:last, samples]
        for layer, params in enumerate(_layers(arguments)):
            hidden, cell = (each[layer][samples] for each in arguments["hx"])
            weights, biases = params[:2], params[2:]
            rows = rows.copy()
            steps: list[Objects] = []
            for row in rows:
                total = numbers.matmul(row, weights[0].T) + numbers.matmul(hidden, weights[1].T)
                total = sum(biases, total)
                hidden, cell = _exact_step(numbers, total, cell)
                steps.append(hidden)
            rows = np.stack(steps)
        result = np.empty((len(given), len(samples), rows.shape[2]), object)
        result[:last, samples] = rows
        return np.moveaxis(result, 0, axis)


def _axis_of_time(arguments: Arguments) -> int:
    return 1 if arguments["batch_first"] else 0


def _per_layer(arguments: Arguments) -> int:
    return 4 if arguments["has_biases"] else 2


def _layers(arguments: Arguments) -> list[list[Any]]:
    """Return for each layer W, U, and their biases if it has these."""
    params, count = list(arguments["params"]), _per_layer(arguments)
    return [params[start : start + count] for start in range(0, len(params), count)]


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
