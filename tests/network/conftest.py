"""A judge of small encoders that knows modules, not graphs: one number after another."""

import itertools
import math
import re
from fractions import Fraction

import flint
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from certvq.network import Rung, _canonical
from certvq.network._bounded import Bounded
from certvq.network._float64 import bounded_latents
from certvq.network._wide import Wide


class Sum(nn.Module):
    """A residual block."""

    def __init__(self, *layers):
        super().__init__()
        self.body = nn.Sequential(*layers)

    def forward(self, x):
        return x + self.body(x)


class Call(nn.Module):
    """A function as a module; the judge has its own form of it."""

    def __init__(self, function, judged=None):
        super().__init__()
        self.function, self.judged = function, judged

    def forward(self, x):
        return self.function(x)


class Normed(nn.Module):
    """Weight norm after a padding that repeats the edge."""

    def __init__(self):
        super().__init__()
        self.conv = nn.utils.parametrizations.weight_norm(nn.Conv2d(2, 4, 3))

    def forward(self, x):
        return self.conv(functional.pad(x, (1, 1, 1, 1), mode="replicate"))


class Snake(nn.Module):
    """Snake of DAC, whose factor is not quite the inverse of its rate."""

    def __init__(self, channels):
        super().__init__()
        self.alpha = nn.Parameter(torch.linspace(0.5, 3, channels).reshape(1, -1, 1, 1))

    def forward(self, x):
        return x + (self.alpha + 1e-9).reciprocal() * torch.sin(self.alpha * x).pow(2)


class Recurrent(nn.Module):
    """An LSTM of two layers along the places, in one direction or two."""

    def __init__(self, *, both=False):
        super().__init__()
        self.lstm = nn.LSTM(4, 2 if both else 4, 2, bidirectional=both)

    def forward(self, x):
        return self.lstm(x.flatten(2).permute(2, 0, 1))[0].permute(1, 2, 0).reshape(x.shape)


class Judge:
    """Arithmetic with one kind of number: fractions, or balls of 400 bits."""

    def __init__(self, kind):
        self.number = {
            "fraction": lambda value: Fraction(float(value)),
            "ball": lambda value: flint.arb(float(value)),
        }[kind]

    def array(self, tensor):
        flat = [self.number(each) for each in tensor.detach().double().flatten().tolist()]
        result = np.empty(len(flat), object)
        result[:] = flat
        return result.reshape(tuple(tensor.shape))

    def run(self, module, x):
        """Evaluate a module for one sample, (C, *places)."""
        if isinstance(module, Sum):
            return x + self.run(module.body, x)
        if isinstance(module, nn.Sequential):
            for each in module:
                x = self.run(each, x)
            return x
        if isinstance(module, Call):
            return module.judged(self, x)
        name = re.sub(r"\dd$", "", type(module).__name__)
        return getattr(self, name.lower())(module, x)

    def each(self, function, x):
        result = np.empty(x.shape, object)
        for index in np.ndindex(x.shape):
            result[index] = function(x[index])
        return result

    def windows(self, x, module, kernel):
        """Yield the places of the result, and for each its taps and places of x inside."""
        axes = x.ndim - 1
        stride, padding, dilation = (
            value if isinstance(value, tuple) else (value,) * axes
            for value in (module.stride, module.padding, getattr(module, "dilation", 1))
        )
        count = [
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip(x.shape[1:], kernel, stride, padding, dilation, strict=True)
        ]
        for place in np.ndindex(*count):
            inside = []
            for tap in np.ndindex(*kernel):
                at = tuple(
                    o * s + t * d - p
                    for o, s, t, d, p in zip(place, stride, tap, dilation, padding, strict=True)
                )
                if all(0 <= a < n for a, n in zip(at, x.shape[1:], strict=True)):
                    inside.append((tap, at))
            yield tuple(count), place, inside

    def conv(self, module, x, weight=None):
        weight = self.array(module.weight) if weight is None else weight
        outputs, inputs = weight.shape[0], weight.shape[1]
        result = None
        for count, place, inside in self.windows(x, module, module.kernel_size):
            result = np.empty((outputs, *count), object) if result is None else result
            for o in range(outputs):
                first = o // (outputs // module.groups) * inputs
                total = self.number(0)
                for i, (tap, at) in itertools.product(range(inputs), inside):
                    total += weight[(o, i, *tap)] * x[(first + i, *at)]
                result[(o, *place)] = total
        if module.bias is None:
            return result
        return result + self.array(module.bias).reshape(-1, *(1,) * (x.ndim - 1))

    def convtranspose(self, module, x):
        """Add each entry times the kernel where its taps fall."""
        weight = self.array(module.weight)
        outputs, groups = weight.shape[1], module.groups
        pairs = zip(x.shape[1:], module.kernel_size, module.stride, module.padding, strict=True)
        more = zip(module.dilation, module.output_padding, strict=True)
        sizes = [
            (n - 1) * s - 2 * p + d * (k - 1) + m + 1
            for (n, k, s, p), (d, m) in zip(pairs, more, strict=True)
        ]
        result = np.full((outputs * groups, *sizes), self.number(0), object)
        for i, *place in np.ndindex(x.shape):
            first = i // (len(x) // groups) * outputs
            for tap in np.ndindex(*module.kernel_size):
                steps = zip(place, tap, module.stride, module.padding, module.dilation, strict=True)
                at = tuple(o * s + t * d - p for o, t, s, p, d in steps)
                if all(0 <= a < n for a, n in zip(at, sizes, strict=True)):
                    for o in range(outputs):
                        result[(first + o, *at)] += weight[(i, o, *tap)] * x[(i, *place)]
        return result + self.array(module.bias).reshape(-1, *(1,) * (x.ndim - 1))

    def snake(self, module, x):
        alpha = self.array(module.alpha)[0]
        result = np.empty(x.shape, object)
        for place in np.ndindex(x.shape):
            a, v = alpha[place[0], 0, 0], x[place]
            result[place] = v + (a * v).sin() ** 2 / (a + self.number(1e-9))
        return result

    def rmsnorm(self, module, x):
        rows = x.reshape(-1, x.shape[-1])
        eps = self.number(module.eps)
        parts = [row / (sum(v * v for v in row) / len(row) + eps).sqrt() for row in rows]
        return np.stack(parts).reshape(x.shape) * self.array(module.weight)

    def normed(self, module, x):
        rows = [[min(max(i - 1, 0), size - 1) for i in range(size + 2)] for size in x.shape[1:]]
        originals = module.conv.parametrizations.weight
        g, v = self.array(originals.original0), self.array(originals.original1)
        norms = [sum(each * each for each in row.flat).sqrt() for row in v]
        weight = [row * (a.item() / b) for row, a, b in zip(v, g, norms, strict=True)]
        return self.conv(module.conv, x[np.ix_(range(len(x)), *rows)], np.stack(weight))

    def recurrent(self, module, x):
        """Each gate of each channel, one number after another."""

        def sigmoid(v):
            return 1 / (1 + (-v).exp())

        def run(rows, name):
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            parts = [self.array(getattr(module.lstm, f"{each}_{name}")) for each in names]
            size = parts[1].shape[1]
            h, c = ([self.number(0)] * size for _ in range(2))
            steps = []
            for row in rows:
                total = [
                    sum(a * b for a, b in zip(w, row, strict=True))
                    + sum(a * b for a, b in zip(u, h, strict=True))
                    + (a + b)
                    for w, u, a, b in zip(*parts, strict=True)
                ]
                i, f, g, o = (total[k * size : (k + 1) * size] for k in range(4))
                pairs = zip(c, i, f, g, strict=True)
                c = [sigmoid(d) * v + sigmoid(a) * b.tanh() for v, a, d, b in pairs]
                h = [sigmoid(a) * v.tanh() for a, v in zip(o, c, strict=True)]
                steps.append(h)
            return steps

        rows = [list(row) for row in x.reshape(len(x), -1).T]
        for layer in range(module.lstm.num_layers):
            ahead = run(rows, f"l{layer}")
            if module.lstm.bidirectional:
                back = run(rows[::-1], f"l{layer}_reverse")[::-1]
                ahead = [one + other for one, other in zip(ahead, back, strict=True)]
            rows = ahead
        return np.array(rows, object).T.reshape(x.shape)

    def _pool(self, module, x, reduce):
        size = module.kernel_size
        kernel = size if isinstance(size, tuple) else (size,) * (x.ndim - 1)
        result = None
        for count, place, inside in self.windows(x, module, kernel):
            result = np.empty((len(x), *count), object) if result is None else result
            for c in range(len(x)):
                result[(c, *place)] = reduce([x[(c, *at)] for _, at in inside], math.prod(kernel))
        return result

    def avgpool(self, module, x):
        return self._pool(module, x, lambda entries, n: sum(entries) / self.number(n))

    def maxpool(self, module, x):
        def greatest(entries, _):
            best = entries[0]
            for each in entries[1:]:
                best = max(best, each)
            return best

        return self._pool(module, x, greatest)

    def relu(self, _, x):
        return self.each(lambda v: v if v > 0 else self.number(0), x)

    def leakyrelu(self, module, x):
        return self.each(lambda v: v if v > 0 else v * self.number(module.negative_slope), x)

    def elu(self, module, x):
        alpha = self.number(module.alpha)
        return self.each(lambda v: v if v > 0 else alpha * (v.exp() - 1), x)

    def tanh(self, _, x):
        return self.each(lambda v: (v.exp() - (-v).exp()) / (v.exp() + (-v).exp()), x)

    def sigmoid(self, _, x):
        return self.each(lambda v: 1 / (1 + (-v).exp()), x)

    def silu(self, _, x):
        return self.each(lambda v: v / (1 + (-v).exp()), x)

    def gelu(self, module, x):
        if module.approximate == "tanh":
            root = (2 / flint.arb.pi()).sqrt()
            cubic = flint.arb(44715) / 1000000
            return self.each(lambda v: v * (1 + (root * (v + cubic * v * v * v)).tanh()) / 2, x)
        return self.each(lambda v: v * (1 - (v / flint.arb(2).sqrt()).erfc() + 1) / 2, x)

    def linear(self, module, x):
        weight = self.array(module.weight)
        result = np.empty((*x.shape[:-1], len(weight)), object)
        for index in np.ndindex(result.shape):
            row, out = x[index[:-1]], weight[index[-1]]
            result[index] = sum((a * b for a, b in zip(row, out, strict=True)), self.number(0))
        return result if module.bias is None else result + self.array(module.bias)

    def _normalised(self, x, eps):
        flat = x.reshape(-1)
        mean = sum(flat) / len(flat)
        variance = sum((v - mean) * (v - mean) for v in flat) / len(flat)
        return (x - mean) / (variance + self.number(eps)).sqrt()

    def _affine(self, module, x):
        shape = (-1,) + (1,) * (x.ndim - 1)
        return x * self.array(module.weight).reshape(shape) + self.array(module.bias).reshape(shape)

    def groupnorm(self, module, x):
        groups = np.split(x, module.num_groups)
        parts = [self._normalised(each, module.eps) for each in groups]
        return self._affine(module, np.concatenate(parts))

    def layernorm(self, module, x):
        axes = len(module.normalized_shape)
        rows = x.reshape(-1, *x.shape[x.ndim - axes :])
        parts = [self._normalised(each, module.eps) for each in rows]
        x = np.stack(parts).reshape(x.shape)
        return x * self.array(module.weight) + self.array(module.bias)

    def batchnorm(self, module, x):
        eps = self.number(module.eps)
        shape = (-1,) + (1,) * (x.ndim - 1)
        mean, variance = self.array(module.running_mean), self.array(module.running_var)
        deviation = np.array([(v + eps).sqrt() for v in variance], object)
        return self._affine(module, (x - mean.reshape(shape)) / deviation.reshape(shape))

    def code(self, latent, codebook):
        """Return the lowest nearest code; balls must be certain."""
        rows = self.array(codebook)
        distances = [
            sum((a - b) * (a - b) for a, b in zip(latent, row, strict=True)) for row in rows
        ]
        best = 0
        for i, distance in enumerate(distances):
            best = i if distance < distances[best] else best
        for i, distance in enumerate(distances):
            assert (
                i == best
                or distances[best] < distance
                or (best < i and distances[best] <= distance)
            )
        return best

    def codes(self, encoder, batch, codebook):
        """Return the canonical codes of a batch, one sample after another."""
        result = []
        for sample in batch:
            latents = self.run(encoder, self.array(sample))
            places = np.moveaxis(latents, 0, -1)
            flat = [self.code(each, codebook) for each in places.reshape(-1, len(latents))]
            result.append(np.array(flat).reshape(places.shape[:-1]))
        return torch.from_numpy(np.stack(result))


@pytest.fixture
def judge():
    """Return judges by kind; balls have 400 bits as long as a test runs."""
    with flint.ctx.workprec(400):
        yield Judge


@pytest.fixture
def sum_of():
    """Return a module that adds to its input what layers make of it."""
    return Sum


@pytest.fixture
def normed():
    """Return a class of modules with weight norm."""
    return Normed


@pytest.fixture
def modules(sum_of, call, normed, snake):
    """Return what makes modules that the judge knows; the last one is a class of an LSTM."""
    return sum_of, call, normed, snake, Recurrent


@pytest.fixture
def snake():
    """Return a class of modules of Snake."""
    return Snake


@pytest.fixture
def call():
    """Return a module of a function, and of what the judge does instead."""
    return Call


@pytest.fixture
def leave_to(monkeypatch):
    """Return what leaves every token to a rung after the first."""

    def leave(rung):
        def useless(network, source, **named):
            found = bounded_latents(network, source, **named)
            if rung == Rung.WIDER and isinstance(found.value, Wide):
                return found
            return Bounded(found.value, found.error + math.inf, found.axis)

        monkeypatch.setattr(_canonical, "bounded_latents", useless)

    return leave
