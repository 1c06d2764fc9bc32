"""Check `crown_query_v1` documents in exact rationals, as TorchLean's checker does in Lean.

In: the text of a document, and what it should claim. Out: a verdict with a reason. Must import
nothing but the standard library: it shares no code with the writer.

Affine functions of the input bound the network from below and from above. A linear layer combines
them by the signs of its weights; a ReLU whose interval crosses 0 is bounded by the chord above and
by a line of the slope that the document proposes below. The bounds in a document are never taken
from it: it holds none.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

_RATIONAL = re.compile(r"(-?[0-9]+)(?:/([0-9]+))?")
_MOST_DIGITS = 4000  # Python's own limit is 4300; two floats and their squares need 1300


@dataclass(frozen=True)
class Verdict:
    """Whether a document or a claim is proved.

    Attributes:
        accepted: whether it is.
        reason: why not; empty if it is.
    """

    accepted: bool
    reason: str = ""


@dataclass(frozen=True)
class Claimed:
    """What the documents of one input should say.

    Attributes:
        center: of the box, the input.
        radius: of the box.
        codebook: the code vectors.
        code: the code that every input in the box should have.
        layers: weights, bias, and whether a ReLU follows; none if the input is the latent.
    """

    center: Sequence[float]
    radius: float
    codebook: Sequence[Sequence[float]]
    code: int
    layers: Sequence[tuple[Sequence[Sequence[float]], Sequence[float], bool]] = ()


class _RefusedError(Exception):
    """A document is not what it must be; the text says why."""


@dataclass(frozen=True)
class _Affine:
    """A function of the input: its slopes, without those that are 0, and its value at 0."""

    slopes: dict[int, Fraction]
    constant: Fraction


@dataclass(frozen=True)
class _Bounds:
    low: list[_Affine]
    high: list[_Affine]


@dataclass(frozen=True)
class _Query:
    low: list[Fraction]
    high: list[Fraction]
    layers: list[dict[str, Any]]
    weights: list[list[Fraction]]
    bias: list[Fraction]
    strict: bool


def check_document(text: str) -> Verdict:
    """Decide a document as `acceptsText` of TorchLean does.

    Args:
        text: JSON.

    Returns:
        Accepted only if the bounds that are computed anew prove every inequality in the whole box.
        A document that is refused may still be true: bounds through a ReLU are not tight.

    Source: `NN/Verification/Cert/CROWNQuery.lean` of TorchLean: `Query.check`.

    Example:
        >>> text = (
        ...     '{"format": "crown_query_v1", "input_dim": 1, "input": {"lo": ["-1"], "hi": ["1"]},'
        ...     ' "layers": [{"kind": "linear", "weights": [["1"]], "bias": ["0"]}],'
        ...     ' "query": {"weights": [["2"]], "bias": ["-2"], "strict": false}}'
        ... )
        >>> check_document(text)
        Verdict(accepted=True, reason='')
        >>> check_document(text.replace("false", "true")).reason
        'inequality 0 is not proved: its upper bound in the box is 0, required is < 0'
    """
    try:
        _prove(_decode(text))
    except _RefusedError as error:
        return Verdict(accepted=False, reason=str(error))
    return Verdict(accepted=True)


def check_claim(documents: Sequence[str], claimed: Claimed) -> Verdict:
    """Decide whether documents prove a code, and say nothing else.

    Args:
        documents: the texts of one input; their order does not matter.
        claimed: what they should say.

    Returns:
        Accepted only if each document is accepted by `check_document`, has the box and the layers,
        and together they compare the code with every other one, strictly with each below it.
    """
    left = {j for j in range(len(claimed.codebook)) if j != claimed.code}
    try:
        for text in documents:
            query = _decode(text)
            _prove(query)
            _require_box(query, claimed)
            _require_layers(query, claimed)
            rivals = sorted(j for j in left if (j < claimed.code) == query.strict)
            _require_rows(query, claimed, rivals)
            left -= set(rivals)
    except _RefusedError as error:
        return Verdict(accepted=False, reason=str(error))
    if left:
        reason = f"code {claimed.code} is not compared with {len(left)} codes, such as {min(left)}"
        return Verdict(accepted=False, reason=reason)
    return Verdict(accepted=True)


def _prove(query: _Query) -> None:
    width = len(query.low)
    identity = [_Affine({k: Fraction(1)}, Fraction(0)) for k in range(width)]
    bounds = _Bounds(identity, identity)
    for layer in query.layers:
        if layer["kind"] == "linear":
            bounds = _linear(bounds, layer["weights"], layer["bias"])
        else:
            bounds = _relu(bounds, layer["alpha"], query)
    for row, upper in enumerate(_linear(bounds, query.weights, query.bias).high):
        value = _greatest(upper, query)
        if value > 0 or (query.strict and value == 0):
            sign = "<" if query.strict else "<="
            text = f"its upper bound in the box is {_shown(value)}, required is {sign} 0"
            raise _RefusedError(f"inequality {row} is not proved: {text}")


def _linear(bounds: _Bounds, weights: list[list[Fraction]], bias: list[Fraction]) -> _Bounds:
    low: list[_Affine] = []
    high: list[_Affine] = []
    for row, constant in zip(weights, bias, strict=True):
        low.append(_combine(row, constant, bounds.low, bounds.high))
        high.append(_combine(row, constant, bounds.high, bounds.low))
    return _Bounds(low, high)


def _combine(
    row: list[Fraction], constant: Fraction, rising: list[_Affine], falling: list[_Affine]
) -> _Affine:
    slopes: dict[int, Fraction] = {}
    for place, weight in enumerate(row):
        if weight == 0:
            continue
        part = rising[place] if weight > 0 else falling[place]
        constant += weight * part.constant
        for k, slope in part.slopes.items():
            slopes[k] = slopes.get(k, Fraction(0)) + weight * slope
    return _Affine(slopes, constant)


def _relu(bounds: _Bounds, alpha: list[Fraction], query: _Query) -> _Bounds:
    low: list[_Affine] = []
    high: list[_Affine] = []
    for under, over, slope in zip(bounds.low, bounds.high, alpha, strict=True):
        least, greatest = _least(under, query), _greatest(over, query)
        if greatest <= 0:
            low.append(_Affine({}, Fraction(0)))
            high.append(_Affine({}, Fraction(0)))
        elif least > 0:
            low.append(under)
            high.append(over)
        else:
            chord = greatest / (greatest - least)
            low.append(_scaled(under, slope, Fraction(0)))
            high.append(_scaled(over, chord, -chord * least))
    return _Bounds(low, high)


def _scaled(affine: _Affine, factor: Fraction, constant: Fraction) -> _Affine:
    slopes = {k: factor * slope for k, slope in affine.slopes.items()}
    return _Affine(slopes, factor * affine.constant + constant)


def _greatest(affine: _Affine, query: _Query) -> Fraction:
    ends = ((query.high if s > 0 else query.low)[k] * s for k, s in affine.slopes.items())
    return sum(ends, affine.constant)


def _least(affine: _Affine, query: _Query) -> Fraction:
    ends = ((query.low if s > 0 else query.high)[k] * s for k, s in affine.slopes.items())
    return sum(ends, affine.constant)


def _require_box(query: _Query, claimed: Claimed) -> None:
    radius = Fraction(claimed.radius)
    for k, value in enumerate(claimed.center):
        ends = Fraction(value) - radius, Fraction(value) + radius
        if len(query.low) != len(claimed.center) or (query.low[k], query.high[k]) != ends:
            raise _RefusedError(f"the box is not the one of the input, at coordinate {k}")


def _require_layers(query: _Query, claimed: Claimed) -> None:
    size = len(claimed.codebook[0])
    identity = [[float(k == m) for m in range(size)] for k in range(size)]
    expected: list[tuple[str, list[list[Fraction]] | None, list[Fraction] | None]] = []
    for weights, bias, relu in claimed.layers or [(identity, [0.0] * size, False)]:
        matrix = [[Fraction(x) for x in row] for row in weights]
        expected.append(("linear", matrix, [Fraction(x) for x in bias]))
        expected += [("relu", None, None)] if relu else []
    found = [(each["kind"], each.get("weights"), each.get("bias")) for each in query.layers]
    if found != expected:
        raise _RefusedError("the layers are not those of the network")


def _require_rows(query: _Query, claimed: Claimed, rivals: list[int]) -> None:
    """Compare inequalities with distances, at 0 and at each unit vector; both are affine."""
    if len(query.weights) != len(rivals):
        text = f"{len(rivals)} codes need an inequality each, got {len(query.weights)} inequalities"
        raise _RefusedError(text)
    own = _sqdists(claimed.codebook[claimed.code])
    for row, bias, rival in zip(query.weights, query.bias, rivals, strict=True):
        stated = [bias, *(bias + slope for slope in row)]
        theirs = _sqdists(claimed.codebook[rival])
        if stated != [a - b for a, b in zip(own, theirs, strict=True)]:
            text = f"an inequality does not compare code {claimed.code} with code {rival}"
            raise _RefusedError(text)


def _sqdists(vector: Sequence[float]) -> list[Fraction]:
    """Return the squared distances of a code vector to 0 and to each unit vector."""
    squares = [Fraction(x) ** 2 for x in vector]
    whole = sum(squares, Fraction(0))
    units = (
        whole - square + (Fraction(x) - 1) ** 2 for square, x in zip(squares, vector, strict=True)
    )
    return [whole, *units]


def _decode(text: str) -> _Query:
    try:
        found = json.loads(text, parse_float=_no_float, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise _RefusedError(f"no JSON that can be read: {error}") from None
    if _field(found, "format") != "crown_query_v1":
        raise _RefusedError(f"format must be 'crown_query_v1', got {_field(found, 'format')!r}")
    width = _field(found, "input_dim")
    if type(width) is not int or width <= 0:
        raise _RefusedError(f"input_dim must be a whole number above 0, got {width!r}")
    box = _field(found, "input")
    low, high = (_vector(_field(box, end), width, f"input.{end}") for end in ("lo", "hi"))
    if any(a > b for a, b in zip(low, high, strict=True)):
        raise _RefusedError("input.lo must not be above input.hi")
    layers = _layers(_field(found, "layers"), width)
    query = _field(found, "query")
    last = next((len(each["bias"]) for each in reversed(layers) if "bias" in each), width)
    weights, bias = _affine(query, last, "query")
    if not isinstance(_field(query, "strict"), bool):
        raise _RefusedError("query.strict must be true or false")
    return _Query(low, high, layers, weights, bias, query["strict"])


def _layers(found: Any, width: int) -> list[dict[str, Any]]:
    if not isinstance(found, list) or not found:
        raise _RefusedError("layers must be a list with at least one layer")
    layers: list[dict[str, Any]] = []
    for place, layer in enumerate(found):
        kind, where = _field(layer, "kind"), f"layers[{place}]"
        if kind == "linear":
            weights, bias = _affine(layer, width, where)
            layers.append({"kind": kind, "weights": weights, "bias": bias})
            width = len(bias)
        elif kind == "relu":
            alpha = _vector(_field(layer, "alpha"), width, f"{where}.alpha")
            if any(not 0 <= slope <= 1 for slope in alpha):
                raise _RefusedError(f"{where}.alpha must lie between 0 and 1")
            layers.append({"kind": kind, "alpha": alpha})
        else:
            raise _RefusedError(f"{where}.kind must be 'linear' or 'relu', got {kind!r}")
    return layers


def _affine(found: Any, width: int, where: str) -> tuple[list[list[Fraction]], list[Fraction]]:
    rows = _field(found, "weights")
    if not isinstance(rows, list) or not rows:
        raise _RefusedError(f"{where}.weights must be a list with at least one row")
    weights = [_vector(row, width, f"{where}.weights[{k}]") for k, row in enumerate(rows)]
    return weights, _vector(_field(found, "bias"), len(rows), f"{where}.bias")


def _vector(found: Any, width: int, where: str) -> list[Fraction]:
    if not isinstance(found, list) or len(found) != width:
        raise _RefusedError(f"{where} must be a list of {width} rationals")
    return [_rational(entry, f"{where}[{k}]") for k, entry in enumerate(found)]


def _rational(found: Any, where: str) -> Fraction:
    match = _RATIONAL.fullmatch(found) if isinstance(found, str) else None
    if match is None or int((match[2] or "1")[:_MOST_DIGITS]) == 0:
        raise _RefusedError(f"{where} must be a text such as '-3' or '1/2', got {found!r:.40}")
    if len(found) > _MOST_DIGITS:
        text = f"{where} must have at most {_MOST_DIGITS} digits, got {len(found)}"
        raise _RefusedError(text)
    return Fraction(int(match[1]), int(match[2] or "1"))


def _field(found: Any, name: str) -> Any:
    if not isinstance(found, dict) or name not in found:
        raise _RefusedError(f"the field {name!r} is missing")
    return found[name]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a field stands twice in an object")
    return found


def _no_float(number: str) -> Any:
    raise ValueError(f"numbers must be texts such as '1/2', got {number}")


def _shown(value: Fraction) -> str:
    """Show a number whose digits may be very many, without the limits of a float."""
    text = str(value)
    sign = "above" if value > 0 else "below"
    return text if len(text) <= 40 else f"a fraction of {len(text)} digits {sign} 0"
