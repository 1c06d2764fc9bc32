"""Write what a code claims as documents of TorchLean's format `crown_query_v1`.

In: inputs, a codebook, codes, a radius and layers. Out: one or two JSON texts for each input. Must
not import the checker.

The code i of a latent z is the lowest nearest one just when, for every other code j,

    2 (c_j - c_i) . z + |c_i|^2 - |c_j|^2  <= 0   if j > i,    < 0   if j < i,

because the left side is |z - c_i|^2 - |z - c_j|^2. Strictness holds per document in that format, so
that each input has one document for the codes above its own, and one for those below.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from certvq._types import Array
from certvq.assign._arrays import as_array, to_host
from certvq.assign._validate import require_codebook, require_codes, require_finite, require_latents
from certvq.errors import OptionError
from certvq.torchlean._layers import Dense, require_chain


@dataclass(frozen=True)
class Claim:
    """The claim that every real input in a box around one input has one code.

    Attributes:
        row: of the input.
        code: its code.
        documents: texts by name: ``row000003.code7.le.json`` says that no code above 7 is nearer,
            and ``row000003.code7.lt.json`` that every code below 7 is farther. One is missing if
            there are no such codes.
    """

    row: int
    code: int
    documents: dict[str, str]


def claims(
    inputs: Array,
    codebook: Array,
    codes: Array,
    *,
    radius: float = 0.0,
    layers: Sequence[Dense] = (),
) -> Iterator[Claim]:
    """Write the documents of each input's code, true or not.

    Args:
        inputs: (N, I) finite floats: what enters the layers, or the latents if there is none.
        codebook: (K, D) finite floats.
        codes: (N,) integers.
        radius: of the box around each input: by how much each of its numbers may differ.
        layers: from I numbers to D, computed in real arithmetic.

    Returns:
        One claim for each input, in their order.

    Raises:
        ShapeError, DTypeError, NonFiniteError, CodeRangeError: with the arrays, as `certvq.audit`.
        OptionError: the radius is negative or not finite.

    Source: `NN/Verification/Cert/CROWNQuery/Json.lean` and `RationalJson.lean` of TorchLean.

    Example:
        >>> claim = next(claims([[0.25, 0.0]], [[0.0, 0.0], [1.0, 0.0]], [0], radius=0.125))
        >>> list(claim.documents)
        ['row000000.code0.le.json']
        >>> json.loads(claim.documents["row000000.code0.le.json"])["query"]
        {'weights': [['2', '0']], 'bias': ['-1'], 'strict': False}
    """
    if not 0 <= radius < float("inf"):
        raise OptionError(f"radius must be a finite number, at least 0, got {radius}")
    points, vectors = as_array(inputs), as_array(codebook)
    require_codebook(vectors)
    require_finite(vectors, "codebook")
    chain = list(layers) or [Dense(np.eye(vectors.shape[1]), np.zeros(vectors.shape[1]))]
    require_latents(points, chain[0].weights.shape[-1])
    require_chain(chain, points.shape[1], vectors.shape[1])
    right = require_codes(as_array(codes), len(points), len(vectors))
    host = to_host(points).astype(np.float64)
    exact = [_fractions(vector) for vector in to_host(vectors).astype(np.float64)]
    return _claims(host, exact, right, radius, chain)


def _claims(
    inputs: np.ndarray,
    codebook: list[list[Fraction]],
    codes: np.ndarray,
    radius: float,
    layers: list[Dense],
) -> Iterator[Claim]:
    squares = [sum(x * x for x in vector) for vector in codebook]
    for row, code in enumerate(codes.tolist()):
        center = _fractions(inputs[row])
        box = {
            "lo": [str(x - Fraction(radius)) for x in center],
            "hi": [str(x + Fraction(radius)) for x in center],
        }
        network = _network(layers, inputs[row], radius)
        documents: dict[str, str] = {}
        for kind, rivals in (("le", range(code + 1, len(codebook))), ("lt", range(code))):
            query = {
                "weights": [_direction(codebook[code], codebook[j]) for j in rivals],
                "bias": [str(squares[code] - squares[j]) for j in rivals],
                "strict": kind == "lt",
            }
            if rivals:
                text = {"format": "crown_query_v1", "input_dim": len(center), "input": box}
                text |= {"layers": network, "query": query}
                documents[f"row{row:06d}.code{code}.{kind}.json"] = json.dumps(text)
        yield Claim(row, code, documents)


def _direction(own: list[Fraction], rival: list[Fraction]) -> list[str]:
    return [str(2 * (theirs - ours)) for ours, theirs in zip(own, rival, strict=True)]


def _network(layers: list[Dense], point: np.ndarray, radius: float) -> list[dict[str, Any]]:
    """Write layers, and the slopes of the lower bounds of their ReLUs.

    A slope may be any number from 0 to 1. Of 0 and 1 the one is taken whose bound lies nearer to
    ReLU over the interval that float64 computes; rounding there can cost a proof, not its truth.
    """
    written: list[dict[str, Any]] = []
    low, high = point - radius, point + radius
    for layer in layers:
        weights = [[str(x) for x in _fractions(row)] for row in layer.weights]
        bias = [str(x) for x in _fractions(layer.bias)]
        written.append({"kind": "linear", "weights": weights, "bias": bias})
        with np.errstate(over="ignore", invalid="ignore"):
            rising, falling = np.maximum(layer.weights, 0), np.minimum(layer.weights, 0)
            low, high = (
                rising @ low + falling @ high + layer.bias,
                rising @ high + falling @ low + layer.bias,
            )
        if layer.relu:
            slopes = ["1" if up > -down else "0" for down, up in zip(low, high, strict=True)]
            written.append({"kind": "relu", "alpha": slopes})
            low, high = np.maximum(low, 0), np.maximum(high, 0)
    return written


def _fractions(values: np.ndarray) -> list[Fraction]:
    return [Fraction(value) for value in values.tolist()]
