"""From a module to its graph.

In: a torch module in eval mode, and an input. Out: a `Network`, or an error that names what cannot
be said over the real numbers. Nothing of the module is copied or changed. Must not compute.
"""

import operator
import warnings
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any

import torch
from torch import fx, nn

from certvq.errors import CaptureError, DTypeError, NonFiniteError, OptionError
from certvq.network._decomposed import DECOMPOSED
from certvq.network._folded import Known, folded, needed, without_wrapper
from certvq.network._fused import fused
from certvq.network._graph import Network, Ref, Step, refs
from certvq.network.rules import RULES

_FIRST_OF_SEVERAL = {
    "_native_batch_norm_legit_no_training.default",
    "lstm.input",
    "max_pool2d_with_indices.default",
    "max_pool3d_with_indices.default",
}
"""Operators with several results, of which networks use the first."""

_CONSTANTS = {
    "ones.default",
    "zeros.default",
    "full.default",
    "arange.default",
    "arange.start",
    "arange.start_step",
}
"""Operators that make numbers of nothing; they are run, and their results are exact."""

_TRUTH = {"attn_mask", "condition", "indices", "mask"}
"""Arguments that rules get as tensors of constants: which entries count, or where they are."""

_PARTS = {"split.Tensor", "split_with_sizes.default", "unbind.int"}
"""Operators with several results, each of which is read where it is used."""

_LARGEST_INTEGER = 2**53
"""Integers up to here are float64 numbers; greater ones may lie between two."""

_ONE_AT_A_TIME = Lock()
"""torch.export has one stack of modes for all threads of a process; two exports at once fail."""

_IGNORED = {"_assert_tensor_metadata.default", "_assert_scalar.default", "sym_size.int"}


def capture(model: nn.Module, batch: torch.Tensor) -> Network:
    """Capture a module as a graph of operators with rules.

    Args:
        model: in eval mode; called with one tensor, it returns one tensor of channels at axis 1.
        batch: of the shape that it shall be captured for; its numbers are not looked at.

    Returns:
        The graph, whose parameters are those of the module, not copies.

    Raises:
        OptionError: a part of the module is in train mode.
        CaptureError: control flow on data, randomness, an operator without a rule, an integer
            beyond 2^53, ...; the text names operator and place.
        NonFiniteError: NaN or infinity in a parameter, buffer or constant; the text names it.
        DTypeError: an integer where the module computes with floats.

    Example:
        >>> network = capture(nn.Sequential(nn.Linear(3, 2), nn.ReLU()).eval(), torch.zeros(5, 3))
        >>> [step.operator for step in network.steps]
        ['linear.default', 'relu.default']
    """
    require_eval(model)
    example = torch.zeros(batch.shape, dtype=_dtype_of(model))
    program = _of_exporter(model, lambda: _exported(model, example))
    reader = _Reader(program)
    try:
        network = _read_plainly(reader)
    except CaptureError:
        reader = _Reader(_of_exporter(model, lambda: program.run_decompositions(DECOMPOSED)))
        network = reader.read()
    for name, constant in network.constants.items():
        _require_finite(reader.titles.get(name, name), constant)
    return network


def require_eval(model: nn.Module) -> None:
    """Refuse a model of which a part is in train mode; the first one is named."""
    training = next((name for name, each in model.named_modules() if each.training), None)
    if training is not None:
        text = (
            f"canonical codes are those of a model in eval mode, but {_named(training)} is in "
            "train mode; call model.eval() first"
        )
        raise OptionError(text)


def _dtype_of(model: nn.Module) -> torch.dtype:
    floats = (each.dtype for each in model.parameters() if each.is_floating_point())
    return next(floats, torch.get_default_dtype())


def _exported(model: nn.Module, example: torch.Tensor) -> Any:
    device = next((each.device for each in model.parameters()), example.device)
    return torch.export.export(Known(model), (example.to(device),), strict=False)


def _of_exporter(model: nn.Module, make: Callable[[], Any]) -> Any:
    """Return a program of torch, or say that there is none."""
    try:
        with _ONE_AT_A_TIME, warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of the exporter's own parts
            return make()
    except Exception as error:
        first = str(error).strip().splitlines()
        text = (
            f"{type(model).__name__} cannot be captured as a graph: "
            f"{first[0] if first else type(error).__name__}; an encoder whose steps depend on its "
            "numbers, or on more than one input, has no canonical codes here"
        )
        raise CaptureError(text) from error


def _read_plainly(reader: "_Reader") -> Network:
    """Read a program as it was exported; decompositions take longer than the export.

    They make a graph whose operators write nowhere, and split those that have no rule.
    """
    if not all(_writes_nothing(node) for node in reader.program.graph.nodes):
        text = "the graph writes to tensors"
        raise CaptureError(text)
    return reader.read()


def _writes_nothing(node: fx.Node) -> bool:
    if node.op in {"placeholder", "output"} or node.target is operator.getitem:
        return True
    if node.target is torch.ops.aten.detach_.default:  # for derivatives alone
        return True
    if not isinstance(node.target, torch._ops.OpOverload):  # noqa: SLF001
        return False
    return not node.target._schema.is_mutable  # noqa: SLF001


def _is_identity(node: fx.Node) -> bool:
    """Return whether an operator is dropout that leaves out nothing."""
    return node.target is torch.ops.aten.dropout.default and not node.args[2]


class _Reader:
    """Reads an exported program, node by node."""

    def __init__(self, program: Any) -> None:
        self.program = program
        self.steps: list[Step] = []
        self.constants: dict[str, torch.Tensor] = {}
        self.titles: dict[str, str] = {}
        self.of_node: dict[str, Any] = {}
        self.source: Ref | None = None

    def read(self) -> Network:
        """Return the network."""
        output: Any = None
        self._read_inputs()
        used_nodes = needed(self.program.graph)
        for node in self.program.graph.nodes:
            if node.op == "call_function" and node in used_nodes:
                self._read_call(node)
            elif node.op == "output":
                output = self._output(node.args[0])
        steps = fused(self.steps, self.constants)
        used = {ref.name for step in steps for ref in refs(step.arguments)} | {output.name}
        constants = {name: each for name, each in self.constants.items() if name in used}
        assert self.source is not None
        return Network(tuple(steps), constants, self.source, output)

    def _read_inputs(self) -> None:
        kept = {**dict(self.program.state_dict), **dict(self.program.constants)}
        shapes = {
            node.name: node.meta.get("val")
            for node in self.program.graph.nodes
            if node.op == "placeholder"
        }
        for spec in self.program.graph_signature.input_specs:
            name = spec.arg.name
            ref = Ref(name, tuple(getattr(shapes.get(name), "shape", ())))
            self.of_node[name] = ref
            if spec.target is None:
                self.source = ref
            elif isinstance(kept.get(spec.target), torch.Tensor):
                self.constants[name] = kept[spec.target].detach()
                kind, path = spec.kind.name.lower().replace("_", " "), without_wrapper(spec.target)
                self.titles[name] = f"{kind} {path!r}"

    def _read_call(self, node: fx.Node) -> None:
        target, place = node.target, _place(node)
        if target is operator.getitem:
            self.of_node[node.name] = self._item(node)
            return
        name = str(target).removeprefix("aten.")
        if name in _IGNORED:
            return
        if _is_identity(node):
            self.of_node[node.name] = self._translated(node.args[0])
            return
        if name in _CONSTANTS:
            self._require_float64(target, node, place)
            assert isinstance(target, torch._ops.OpOverload)  # noqa: SLF001
            self.of_node[node.name] = self._constant(node.name, target(*node.args, **node.kwargs))
            return
        known = folded(node, self.constants, self.titles)
        if known is not None:
            self.of_node[node.name] = self._constant(node.name, known)
            return
        if name in _PARTS:
            self.of_node[node.name] = node  # its parts are read where they are used
            return
        self._require_known(target, name, place)
        self._require_float64(target, node, place)
        assert isinstance(target, torch._ops.OpOverload)  # noqa: SLF001
        arguments = self._arguments(target, node)
        refusal = RULES[name].refusal(arguments)
        if refusal:
            text = f"operator {name} at {_named(place)} {refusal} has no rule; {_ADVICE}"
            raise CaptureError(text)
        self._add(Step(self._result(node, name, place), name, arguments, place))

    def _require_known(self, target: object, name: str, place: str) -> None:
        if name in RULES:  # attention is tagged as random for its dropout, which its rule refuses
            return
        if torch.Tag.nondeterministic_seeded in getattr(target, "tags", ()):
            text = (
                f"operator {name} at {_named(place)} draws random numbers in eval mode; {_ADVICE}"
            )
            raise CaptureError(text)
        known = ", ".join(sorted(RULES))
        text = f"operator {name} at {_named(place)} has no rule; {_ADVICE}; known are {known}"
        raise CaptureError(text)

    def _require_float64(self, target: Any, node: fx.Node, place: str) -> None:
        """Refuse integers that float64 would round; indices and sizes are no numbers."""
        for order, slot in enumerate(target._schema.arguments):  # noqa: SLF001
            given = node.args[order] if order < len(node.args) else node.kwargs.get(slot.name)
            if isinstance(given, int) and str(slot.type) in {"number", "Tensor"}:
                _require_small(f"{slot.name} of operator {target} at {_named(place)}", given)

    def _add(self, step: Step) -> None:
        self.steps.append(step)
        self.of_node[step.result.name] = step.result

    def _result(self, node: fx.Node, name: str, place: str) -> Ref:
        value: Any = node.meta["val"]
        value = value[0] if name in _FIRST_OF_SEVERAL else value
        if not value.is_floating_point():
            text = (
                f"operator {name} at {_named(place)} makes {value.dtype} of floats, which is no "
                f"function over the real numbers with a rule; {_ADVICE}"
            )
            raise CaptureError(text)
        return Ref(node.name, tuple(value.shape))

    def _arguments(self, target: Any, node: fx.Node) -> Mapping[str, Any]:
        arguments: dict[str, Any] = {}
        for place, slot in enumerate(target._schema.arguments):  # noqa: SLF001
            given = node.kwargs.get(slot.name, slot.default_value)
            given = node.args[place] if place < len(node.args) else given
            arguments[slot.name] = self._translated(given, truth=slot.name in _TRUTH)
        return arguments

    def _translated(self, argument: Any, *, truth: bool = False) -> Any:
        if isinstance(argument, fx.Node):
            if truth and argument.name in self.constants:
                return self.constants[argument.name].to("cpu")
            return self.of_node[argument.name]
        if isinstance(argument, (list, tuple)):
            return [self._translated(each, truth=truth) for each in argument]
        return argument

    def _constant(self, name: str, value: torch.Tensor) -> Ref:
        self.constants[name] = value
        return Ref(name, tuple(value.shape))

    def _item(self, node: fx.Node) -> Any:
        source, index = node.args
        assert isinstance(source, fx.Node)
        assert isinstance(index, int)
        found = self.of_node[source.name]
        if isinstance(found, Ref):
            if index:
                text = f"result {index} of {source.target} at {_named(_place(node))} has no rule"
                raise CaptureError(text)
            return found
        return self._part(node, source, index)

    def _part(self, node: fx.Node, source: fx.Node, index: int) -> Ref:
        """Read a part of a split as a slice, or as a selection."""
        arguments = self._arguments(source.target, source)
        given: Ref = arguments["self"]
        if "split_size" not in arguments and "split_sizes" not in arguments:
            result = self._result(node, "select.int", _place(node))
            cut = {"self": given, "dim": arguments["dim"], "index": index}
            self.steps.append(Step(result, "select.int", cut, _place(node)))
            return result
        axis = arguments["dim"] % len(given.shape)
        size: Any = arguments.get("split_size")
        sizes = arguments.get("split_sizes") or [size] * (index + 1)
        start = sum(sizes[:index])
        end = start + sizes[index]
        place = _place(node)
        result = self._result(node, "slice.Tensor", place)
        cut = {"self": given, "dim": axis, "start": start, "end": end, "step": 1}
        self.steps.append(Step(result, "slice.Tensor", cut, place))
        return result

    def _output(self, outputs: Any) -> Ref:
        if len(outputs) != 1:
            text = (
                f"the network must return one tensor, got {len(outputs)}; wrap it in one that does"
            )
            raise CaptureError(text)
        found = self._translated(outputs[0])
        if not isinstance(found, Ref) or found.name in self.constants:
            text = "the network must return a tensor that depends on its input"
            raise CaptureError(text)
        return found


_ADVICE = "write the encoder without it, or take it out of the part that is captured"


def _place(node: fx.Node) -> str:
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return without_wrapper(str(stack[-1][0])) if stack else ""


def _named(place: str) -> str:
    return f"module {place!r}" if place else "the model itself"


def _require_small(title: str, value: int) -> None:
    if abs(value) > _LARGEST_INTEGER:
        text = (
            f"{title} must be an integer of at most 2^53, got {value}, which float64 may round; "
            "write it as a float"
        )
        raise CaptureError(text)


def _require_finite(title: str, constant: torch.Tensor) -> None:
    if constant.dtype == torch.bool:
        return
    if not constant.is_floating_point() and constant.dtype != torch.int64:
        text = f"{title} must hold floats, got {constant.dtype}"
        raise DTypeError(text)
    if constant.dtype == torch.int64:
        beyond = ((constant > _LARGEST_INTEGER) | (constant < -_LARGEST_INTEGER)).nonzero()
        if len(beyond):
            index = tuple(beyond[0].tolist())
            _require_small(f"{title} at index {index}", int(constant[index]))
        return
    bad = (~torch.isfinite(constant)).nonzero()
    if len(bad):
        index = tuple(bad[0].tolist())
        text = (
            f"{title} must be finite, got {float(constant[index])} at index {index}; load another "
            "checkpoint, or train anew"
        )
        raise NonFiniteError(text)
