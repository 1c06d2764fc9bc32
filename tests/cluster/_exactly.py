"""k-means by definition: `certvq.spec` on Fractions, with a rounding that shares no code."""

from fractions import Fraction

import numpy as np
import torch

from certvq import spec

TYPES = ("float64", "float32", "bfloat16", "float16")


def tensor(rows, number):
    """Round rows to a type of torch, all of whose numbers float64 holds."""
    return torch.tensor(np.asarray(rows), dtype=torch.float64).to(getattr(torch, number))


def numbers(array):
    """Read an array as float64."""
    return array.to(torch.float64).numpy() if isinstance(array, torch.Tensor) else np.float64(array)


def fractions(array):
    return spec.exact(tuple(map(tuple, numbers(array).tolist())))


def rounded(value, number):
    """Return the nearest number of a type, the one with an even last bit of two."""
    kind = getattr(torch, number)
    near = torch.tensor(float(value), dtype=torch.float64).to(kind)
    below = torch.nextafter(near, torch.tensor(-torch.inf, dtype=kind))
    above = torch.nextafter(near, torch.tensor(torch.inf, dtype=kind))
    around = [each for each in (below, near, above) if torch.isfinite(each)]
    least = min(abs(Fraction(float(each)) - value) for each in around)
    nearest = [each for each in around if abs(Fraction(float(each)) - value) == least]
    width = (
        torch.int64 if number == "float64" else torch.int32 if number == "float32" else torch.int16
    )
    even = [each for each in nearest if int(each.view(width)) % 2 == 0]
    return float(nearest[0] if len(nearest) == 1 else even[0])


def lloyd(data, start, iterations, number, weights=None):
    """Iterate on Fractions; return codebooks, codes and inertias of every step."""
    points, codebook = fractions(data), spec.Codebook(fractions(start))
    masses = None if weights is None else spec.exact(tuple(weights))
    steps = []
    for _ in range(iterations + 1):
        step = spec.lloyd_iteration(codebook, points, masses)
        steps.append((codebook.embedding, step.codes, float(step.inertia)))
        means = tuple(
            tuple(Fraction(rounded(x, number)) for x in vector) for vector in step.means.embedding
        )
        codebook = spec.Codebook(means)
    return steps
