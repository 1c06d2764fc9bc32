"""How errors of an LSTM pass through a step, by the slopes of its gates at the numbers computed.

In: gates, state and kernels of a step, and bounds on the errors of the state. Out: bounds after it.
With dc and dh the errors of c and h, a step over the real numbers takes these on as ``dc' = F dc +
M dh`` and ``dh' = S dc' + N dh`` but for terms of second order, where ``F = diag f``, ``M = diag(c
f (1 - f)) U_f + diag(i (1 - g^2)) U_g + diag(g i (1 - i)) U_i``, ``S = diag(o (1 - tanh(c')^2))``
and ``N = diag(tanh(c') o (1 - o)) U_o``. The part of dh that is S dc meets the gates together with
dc: ``dc' = (F + M S) dc + M r``, and the norm of that one matrix is mostly below 1. The
curvature of sigmoid is at most 1/10, that of tanh 4/5 (`gate_slopes_le`). A remainder has half of
it times the square (Taylor), on paper.
"""

from dataclasses import dataclass

import torch

from certvq.network._bounded import Bounded
from certvq.network._bounds import FLOOR, norm_upper, spectral_norm_upper
from certvq.network._wide import nearest

_SLACK = 1.0 + 2.0**-40
"""Makes up for the roundings of a bound, of fewer than 100 nonnegative terms."""

_ROUNDED = 2.0**-48
"""More than what an entry of a matrix here loses, relative to the sizes that it is made of."""


_TANH = 2.0**-47
"""More than what tanh here errs by, twice, and the roundings of what is made of it."""


@dataclass(frozen=True)
class Kernel:
    """The exact U of a gate.

    Attributes:
        matrix: (H, H) float64.
        norm: at least its spectral norm.
        size: at least that of the matrix of absolute values.
    """

    matrix: torch.Tensor
    norm: float
    size: float


def kernel_of(matrix: torch.Tensor) -> Kernel:
    """Return a kernel with its norms."""
    norm, size = spectral_norm_upper(matrix[None]), norm_upper(matrix, (0, 1))
    return Kernel(matrix, norm.item(), size.item())


@dataclass(frozen=True)
class Spread:
    """Errors of the state of each sample, (B, 1) each, with ``dh = S dc + r``.

    Attributes:
        cell: of the norm of dc.
        hidden: of the norm of dh.
        share: (B, H), the diagonal of S.
        rest: of the norm of r.
    """

    cell: torch.Tensor
    hidden: torch.Tensor
    share: torch.Tensor
    rest: torch.Tensor


def beginning(hidden: Bounded, cell: Bounded) -> Spread:
    """Return the errors before the first step: S is 0."""
    return Spread(cell.error, hidden.error, torch.zeros_like(nearest(cell.value)), hidden.error)


def passed_on(
    before: Spread,
    gates: list[Bounded],
    kernels: list[Kernel],
    cells: tuple[torch.Tensor, torch.Tensor],
    own: tuple[torch.Tensor, torch.Tensor],
) -> Spread:
    """Bound the errors after a step.

    Args:
        before: errors of the state.
        gates: i, f, g, o of the computed state (B, H), with the errors that they have from all but
            the state.
        kernels: the exact U of each gate.
        cells: c before and after the step, computed.
        own: (B, 1) each, by how much h and c after the step differ from a step over the real
            numbers from the computed state.
    """
    i, f, g, o = (nearest(each.value) for each in gates)
    off = [_greatest(each.error) + 2.0**-50 for each in gates]  # and what the low parts hold
    cell, after = (nearest(each) for each in cells)
    tanh = torch.tanh(after)
    most = _greatest(cell) * _SLACK
    norms = [each.norm for each in kernels]
    slopes = {
        0: (g * i * (1.0 - i), off[2] + off[0]),
        1: (cell * f * (1.0 - f), most * off[1]),
        2: (i * (1.0 - g * g), off[0] + 2.0 * off[2]),
    }
    kernel = torch.zeros(len(cell), *kernels[0].matrix.shape, dtype=torch.float64)
    sizes, missed = torch.zeros_like(most), torch.zeros_like(most)
    for gate, (slope, error) in slopes.items():
        kernel = kernel + slope[:, :, None] * kernels[gate].matrix
        sizes = sizes + _greatest(slope) * kernels[gate].size
        missed = missed + error * norms[gate]
    share = _greatest(before.share)
    whole = torch.diag_embed(f) + kernel * before.share[:, None, :]
    missed = missed + _ROUNDED * sizes
    factor = spectral_norm_upper(whole)[:, None] + off[1] + _ROUNDED + share * missed
    taken = sum((_greatest(slopes[k][0]) * norms[k] for k in slopes), missed)
    moved = [norm * before.hidden for norm in norms]
    curved = 0.25 * moved[1] * before.cell + 0.05 * most * moved[1].square()
    curved = curved + 0.4 * moved[2].square() + 0.05 * moved[0].square()
    curved = curved + 0.25 * moved[0] * moved[2]
    error = (factor * before.cell + taken * before.rest + curved + own[1]) * _SLACK + FLOOR
    share_after = o * (1.0 - tanh * tanh)
    second = 0.4 * error.square() + 0.05 * moved[3].square() + 0.25 * moved[3] * error
    second = second + error * (off[3] + _TANH)
    gate = _greatest(tanh * o * (1.0 - o)) + off[3] + _TANH
    rest = (gate * moved[3] + second + own[0] + own[1]) * _SLACK + FLOOR
    hidden = (_greatest(share_after) * error + rest) * _SLACK
    return Spread(error, hidden, share_after, rest)


def _greatest(values: torch.Tensor) -> torch.Tensor:
    return values.abs().amax(1, keepdim=True)
