"""Methods of a copied layer that search its codebook in a way that nobody can answer for.

In: a quantizer and its adapter. Out: such methods, read off their code before anything is patched.
What cannot be told from the names in the code shows when the method is called. Must not run it.
"""

import dis
from collections.abc import Iterator
from inspect import getattr_static, isfunction, unwrap
from types import CodeType
from typing import Any

from torch import nn

from certvq.inspect._libraries.adapter import Adapter

_ARGMIN = {"argmin", "argmax"}
_PAIRS = {"min", "max"}
_OTHERS = {"argsort", "sort", "msort", "topk", "kthvalue"}
_PRODUCTS = {
    *("@", "@=", "BINARY_MATRIX_MULTIPLY", "INPLACE_MATRIX_MULTIPLY", "matmul", "mm", "bmm"),
    *("cdist", "einsum", "linear", "addmm", "addmm_", "baddbmm", "baddbmm_", "pairwise_distance"),
}
_SQUARES = {"**", "BINARY_POWER", "pow", "square", "norm", "vector_norm", "dist"}

_MOST_FUNCTIONS = 200
"""So many are followed from one method."""


def unanswerable(adapter: Adapter, module: nn.Module) -> tuple[str, str] | None:
    """Return the first method whose search cannot be answered, and by what it chooses.

    A method is one if it names the codebook and, itself or in functions and methods of the layer
    that it names, either chooses by something else than an argmin after a product of latents and
    code vectors, or takes an argmin of squares without such a product.
    """
    if not adapter.has or adapter.module_prefix or adapter.own_method:
        return None
    codebook = adapter.has[0].partition(".")[0]
    for method in (adapter.method, *adapter.other_methods(module)):
        names = _names(type(module), getattr_static(type(module), method))
        if codebook not in names:
            continue
        others = sorted(names & _OTHERS)
        if others and names & _PRODUCTS and not names & (_ARGMIN | _PAIRS):
            return method, others[0]
        if names & _ARGMIN and names & _SQUARES and not names & _PRODUCTS:
            return method, "an argmin of distances without a product (cdist, matmul, einsum)"
    return None


def _names(kind: type, method: Any) -> set[str]:
    """Return the names and operators in the code of a method, and of what it names."""
    names: set[str] = set()
    waiting, seen = [unwrap(method)], set[Any]()
    while waiting and len(seen) < _MOST_FUNCTIONS:
        function = waiting.pop()
        if function in seen:
            continue
        seen.add(function)
        new = set(_in_code(function.__code__))
        names |= new
        for name in new:
            for found in (getattr_static(kind, name, None), function.__globals__.get(name)):
                inner = unwrap(found) if callable(found) else None
                if isfunction(inner) and not f"{inner.__module__}.".startswith("torch."):
                    waiting.append(inner)
    return names


def _in_code(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for step in dis.get_instructions(code):
        if step.opname.startswith(("BINARY_", "INPLACE_")):
            yield step.argrepr or step.opname
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _in_code(each)
