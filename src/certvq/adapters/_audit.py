"""Run a model and audit every code that its quantizers choose.

In: a torch module and data. Out: `ModuleAudit`. Must not leave a trace in the module: training
flags, methods and the state of the quantizers are restored, after an exception too.
"""

import math
from collections.abc import Callable
from contextlib import ExitStack
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import nn

from certvq.adapters._adapter import Comparison
from certvq.adapters._find import Layer, find_layers, unknown_names
from certvq.adapters._report import LayerAudit, ModuleAudit
from certvq.adapters._running import batches, evaluating, run_model, unchanged, watching
from certvq.adapters._site import install
from certvq.assign import audit, stability_radius
from certvq.assign._arrays import to_host
from certvq.errors import NonFiniteError, OptionError, UnknownQuantizerError


def audit_module(
    module: nn.Module,
    data: Any,
    *,
    call: Callable[[Any, Any], object] | None = None,
    perturbation: float | None = None,
) -> ModuleAudit:
    """Count wrong and unstable codes of each vector quantizer inside a model, by exact arithmetic.

    The model runs over the data in eval mode and without gradients; what each quantizer compares
    (its latents after its own normalisation or projection, its code vectors) and the codes that it
    chooses are audited on the way, batch by batch, so that memory does not grow with the data.
    Afterwards the module is as it was.

    Args:
        module: a model with quantizers that `certvq.patch_module` knows, patched or not.
        data: a tensor, which is one batch; or an iterable of batches, tensors or dicts of keyword
            arguments, or anything that `call` takes.
        call: ``call(module, batch)`` runs the model, for example
            ``lambda model, batch: model.encode(batch)``; by default ``module(batch)``, or
            ``module(**batch)`` for a dict.
        perturbation: a Euclidean distance, at least 0, in units of the latents: a code is unstable
            if it is not proved to stay the same when the latent moves that far. By default
            ``u |z|``, where u is the unit roundoff of the type in which the layer received its
            latents (2**-24 for float32, 2**-8 for bfloat16): as far as rounding each number of
            the latent once can move it.

    Returns:
        A `ModuleAudit`, with one `LayerAudit` for each codebook; each level of a residual quantizer
        is a layer of its own. A module that is used at several places is one layer.

    Raises:
        UnknownQuantizerError: there is no quantizer that is known, the data reach none of them, or
            one chooses its codes otherwise than by an argmin over distances.
        NonFiniteError: NaN or infinity reaches a quantizer; names the layer, row and column.
        OptionError: a perturbation that is negative or not finite.

    Guarantee: as `certvq.audit` for the counts of wrong codes, and `certvq.stability_radius` for
        the tokens that are not counted as unstable. Latents that the model holds in a narrow type
        are taken as the exact numbers that they are.
    Cost: that of the model, and O(N K D) for each layer, a few times that of `certvq.assign`.

    Example:
        >>> import certvq, torch
        >>> class VectorQuantizer(torch.nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.embedding = torch.nn.Embedding.from_pretrained(torch.eye(3) + 1e6)
        ...     def forward(self, z):
        ...         return torch.cdist(z, self.embedding.weight).argmin(dim=1)
        >>> z = 1e6 + torch.eye(3).flip(0).repeat(20, 1)
        >>> report = certvq.audit_module(VectorQuantizer(), z)
        >>> report.tokens, report.wrong > 0
        (60, True)
    """
    _require_perturbation(perturbation)
    layers = find_layers(module)
    tallies = {layer.name: _LayerTally(layer, perturbation) for layer in layers}
    run = run_model if call is None else call
    with ExitStack() as stack:
        stack.enter_context(evaluating(module))
        for layer in layers:
            stack.enter_context(unchanged(layer.module))
            install(watching(layer, tallies[layer.name].observe))
        stack.enter_context(torch.no_grad())
        for batch in batches(data):
            run(module, batch)
    audits = tuple(each for tally in tallies.values() for each in tally.audits())
    if not any(each.tokens for each in audits):
        names = ", ".join(repr(layer.name) for layer in layers)
        text = (
            f"the data must reach a quantizer, but none of {names} was called with any; "
            "give more data, or say how to call the model with call="
        )
        raise UnknownQuantizerError(text)
    return ModuleAudit(audits, perturbation, unknown_names(module, tallies))


def _require_perturbation(perturbation: float | None) -> None:
    if perturbation is not None and not 0.0 <= perturbation < math.inf:
        text = (
            f"perturbation must be a finite distance of at least 0, or None, got {perturbation!r}"
        )
        raise OptionError(text)


class _LayerTally:
    """Adds up the codebooks of one layer, which are known when it first runs."""

    def __init__(self, layer: Layer, perturbation: float | None) -> None:
        self.layer, self.perturbation = layer, perturbation
        self.tallies: dict[tuple[int, int], _Tally] = {}

    def observe(
        self, ordinal: int, comparison: Comparison, codes: torch.Tensor, held: torch.dtype
    ) -> None:
        """Audit what was compared, codebook by codebook."""
        parts = zip(comparison.latents, comparison.codebook, codes, strict=True)
        for head, (latents, codebook, chosen) in enumerate(parts):
            tally = self.tallies.setdefault((ordinal, head), _Tally())
            try:
                tally.add(latents.detach(), codebook.detach(), chosen, self._reach(latents, held))
            except NonFiniteError as error:
                text = f"layer {self.layer.name!r}: {error}"
                raise NonFiniteError(text) from None

    def _reach(self, latents: torch.Tensor, held: torch.dtype) -> np.ndarray | float:
        """Return the perturbation, or that of each row (N,)."""
        if self.perturbation is not None:
            return self.perturbation
        norms = latents.detach().double().norm(dim=1).cpu().numpy()
        return norms * (torch.finfo(held).eps / 2)

    def audits(self) -> list[LayerAudit]:
        """Return one audit for each codebook, or an empty one if the layer never ran."""
        name, kind = self.layer.name, type(self.layer.module).__qualname__
        tallies = list(self.tallies.values()) or [_Tally()]
        names = [name] if len(tallies) == 1 else [f"{name}[{i}]" for i in range(len(tallies))]
        return [tally.audit(each, kind) for each, tally in zip(names, tallies, strict=True)]


class _Tally:
    """Adds up the batches of one codebook."""

    def __init__(self) -> None:
        self.tokens = self.wrong = self.ties = self.unstable = 0
        self.largest = Fraction(0)
        self.shape = (0, 0)

    def add(
        self,
        latents: torch.Tensor,
        codebook: torch.Tensor,
        codes: torch.Tensor,
        reach: np.ndarray | float,
    ) -> None:
        """Audit a batch: (N, D), (K, D), (N,), and how far each latent may be moved."""
        report = audit(latents, codebook, codes)
        right = codes.detach().cpu().numpy().copy()
        for violation in report.violations:
            right[violation.row] = violation.nearest
            self.largest = max(self.largest, violation.excess)
        radius = to_host(stability_radius(latents, codebook, right))
        self.tokens += report.rows
        self.wrong += report.wrong
        self.ties += report.ties_broken_otherwise
        self.unstable += int((radius < reach).sum())
        self.shape = (int(codebook.shape[0]), int(codebook.shape[1]))

    def audit(self, name: str, kind: str) -> LayerAudit:
        """Return what was counted."""
        size, dim = self.shape
        return LayerAudit(
            name=name,
            kind=kind,
            tokens=self.tokens,
            codebook_size=size,
            dim=dim,
            wrong=self.wrong,
            ties_broken_otherwise=self.ties,
            largest_excess=float(self.largest),
            unstable=self.unstable,
        )
