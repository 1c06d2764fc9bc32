"""Finite instances in which a solver looks for countermodels of mutants.

In: sizes and names. Out: an `Instance`: values of all variables and functions of a statement, made
of unknowns. Must not import the theorems.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from certvq.theory._kernel import Term
from certvq.theory._ledger import Instance
from certvq.theory._terms import ite


def instance(
    *, reals: str = "", vectors: str = "", matrices: str = "", model: bool = False, **nats: Any
) -> Instance:
    """Return an instance.

    Args:
        reals: names of real variables, with spaces between them.
        vectors: names of functions Nat -> Real with `n` unknown entries (0 beyond).
        matrices: names of functions Nat x Nat -> Real with `K` rows of `n` unknown entries.
        model: add encoder, codebook, decoder, observation and coordinates; latents have `n`
            entries, observations `m`, the codebook `K` code vectors.
        nats: values of further variables and functions, taken as they are.
    """
    dim, size = nats.get("n", 1), nats.get("K", 2)

    def build(unknowns: Any) -> Mapping[str, Any]:
        values: dict[str, Any] = dict(nats)
        values.update({name: unknowns.real(name) for name in reals.split()})
        values.update({name: entries(unknowns, name, dim) for name in vectors.split()})
        values.update({name: rows(unknowns, name, size, dim) for name in matrices.split()})
        if model:
            values.update(_model(unknowns, size, dim, nats.get("m", 1)))
        return values

    return build


def entries(unknowns: Any, name: str, dim: int) -> Callable[..., Any]:
    """Return a vector of unknowns as a function, 0 beyond its dimension."""
    held = [unknowns.real(f"{name}{k}") for k in range(dim)]
    return lambda k: pick(held, k)


def rows(unknowns: Any, name: str, size: int, dim: int) -> Callable[..., Any]:
    """Return a matrix of unknowns as a function of row and place."""
    held = [[unknowns.real(f"{name}{j}_{k}") for k in range(dim)] for j in range(size)]
    return lambda j, k: pick([pick(vector, k) for vector in held], j)


def pick(held: Sequence[Any], place: Any) -> Any:
    """Return an entry; 0 beyond the end; a choice where the place is a term."""
    if not isinstance(place, Term):
        return held[place] if place < len(held) else 0
    chosen = held[-1]
    for k in range(len(held) - 2, -1, -1):
        chosen = ite(place.eq(k), held[k], chosen)
    return chosen


def _model(unknowns: Any, size: int, dim: int, observed: int) -> Mapping[str, Any]:
    book = [tuple(unknowns.real(f"C{j}_{k}") for k in range(dim)) for j in range(size)]
    shift = unknowns.real("shift")
    return {
        "x": tuple(unknowns.real(f"x{k}") for k in range(observed)),
        "codebook": lambda j: book[j],
        "encoder": lambda x: tuple(shift + k + x[0] for k in range(dim)),
        "decoder": lambda q: tuple(q[0] + k for k in range(observed)),
        "latentat": pick,
        "observationat": pick,
    }
