"""Run a model and audit every code that its quantizers choose.

In: a torch module and data. Out: `ModuleAudit`. Must not leave a trace in the module: training
flags, methods and the state of the quantizers are restored, after an exception too.
"""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn

from certvq.errors import UnknownQuantizerError
from certvq.inspect._argmin.site import install
from certvq.inspect._arguments import (
    batches,
    read_perturbation,
    require_call,
    require_module,
    require_numbers,
)
from certvq.inspect._audit.report import ModuleAudit, Unaudited
from certvq.inspect._audit.tally import LayerTally
from certvq.inspect._libraries.find import Layer, known_layers, none_found, unknown_names
from certvq.inspect._own import audited_layers, other_layers, outermost, watched
from certvq.inspect._running import evaluating, run_model, unchanged, watching
from certvq.inspect._scalar.site import ScalarSite, install_scalar, scalar_layers, scalar_site_of
from certvq.inspect._scalar.tally import ScalarTally

_NO_SEARCH = (
    "codes came without a search of its codebook (drawn at random, code vectors that were changed, "
    "a method of your own), and were not looked into"
)


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
        module: a model with quantizers that `certvq.patch_module` knows, patched or not, or with
            layers of `certvq.nn` or `certvq.compat`.
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
        is a layer of its own. A module that is used at several places is one layer. Layers of
        certvq that have no codebook to audit are named, each with the reason.

    Raises:
        UnknownQuantizerError: there is no quantizer that is known, or none with a codebook; the
            data reach none of them; or one chooses its codes otherwise than by an argmin over
            distances.
        NonFiniteError: NaN or infinity reaches a quantizer; names the layer, row and column.
        OptionError: no torch module, or one without numbers (on the meta device); data that are no
            batches; a `call` that is no function; a perturbation that is no number, negative or not
            finite.

    Guarantee: as `certvq.audit` for the counts of wrong codes, and `certvq.stability_radius` for
        the tokens that are not counted as unstable. Latents that the model holds in a narrow type
        are taken as the exact numbers that they are.
    Cost: that of the model, and O(N K D) for each layer, a few times that of `certvq.assign`; where
        each latent has code vectors of its own, one audit for each latent.

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
    require_module(module)
    require_numbers(module)
    require_call(call)
    distance = read_perturbation(perturbation)
    theirs = {layer.name: layer for layer in known_layers(module)}
    ours = audited_layers(module)
    others = other_layers(module, ours)
    scalars = scalar_layers(module)
    tallies = {
        name: (ScalarTally if name in scalars else LayerTally)(
            name, type(each).__qualname__, distance
        )
        for name, each in module.named_modules()
        if name in theirs or name in ours or name in scalars
    }
    if not tallies:
        raise UnknownQuantizerError(_nothing_to_audit(module, others))
    run, count = run_model if call is None else call, 0
    with ExitStack() as stack:
        stack.enter_context(evaluating(module))
        _watch(module, theirs.values(), ours, tallies, stack)
        _watch_scalars(module, tallies, stack)
        stack.enter_context(torch.no_grad())
        for batch in batches(data, called=call is not None):
            run(module, batch)
            count += 1
    unaudited = (
        *(Unaudited(name, _kind(module, name), why) for name, why in others.items()),
        *(
            Unaudited(each.name, each.kind, _NO_SEARCH)
            for each in tallies.values()
            if each.otherwise
        ),
    )
    audits = tuple(
        audit
        for tally in tallies.values()
        for audit in tally.audits()
        if audit.tokens or not tally.otherwise
    )
    if not any(each.tokens for each in audits):
        raise UnknownQuantizerError(_nothing_reached(tallies.values(), count))
    return ModuleAudit(
        audits, distance, unknown_names(module, {*tallies, *others}), unaudited=unaudited
    )


def _watch(
    module: nn.Module,
    theirs: Iterable[Layer],
    ours: dict[str, nn.Module],
    tallies: dict[str, LayerTally | ScalarTally],
    stack: ExitStack,
) -> None:
    for each in outermost(module):
        stack.enter_context(unchanged(each))
    for layer in theirs:
        stack.enter_context(unchanged(layer.module))
        tally = tallies[layer.name]
        assert isinstance(tally, LayerTally)
        install(watching(layer, tally.observe))
    for name, each in ours.items():
        tally = tallies[name]
        assert isinstance(tally, LayerTally)
        stack.enter_context(watched(name, each, tally.observe, otherwise=tally.otherwise.append))


def _watch_scalars(
    module: nn.Module, tallies: dict[str, LayerTally | ScalarTally], stack: ExitStack
) -> None:
    for name, (each, rule) in scalar_layers(module).items():
        tally = tallies[name]
        assert isinstance(tally, ScalarTally)
        stack.enter_context(unchanged(each))
        certify = scalar_site_of(each) is not None
        install_scalar(ScalarSite(name, each, rule, certify=certify, observe=tally.observe))


def _kind(module: nn.Module, name: str) -> str:
    return type(module.get_submodule(name)).__qualname__


def _nothing_to_audit(module: nn.Module, others: dict[str, str]) -> str:
    if not others:
        return none_found(module)
    alike: dict[str, list[str]] = {}
    for name, why in others.items():
        alike.setdefault(why, []).append(f"{name!r} ({_kind(module, name)})")
    listed = "; ".join(f"{', '.join(names)}: {why}" for why, names in alike.items())
    return (
        "an audit needs a quantizer whose code is the nearest of a codebook, as VectorQuantize has "
        f"it, but there are only layers of certvq that find codes otherwise: {listed}; what they "
        "guarantee is in docs/guarantees.md"
    )


def _nothing_reached(tallies: Iterable[LayerTally | ScalarTally], count: int) -> str:
    names = ", ".join(repr(tally.name) for tally in tallies)
    otherwise = [repr(tally.name) for tally in tallies if tally.otherwise]
    if otherwise:
        return f"there is no code to audit: of {', '.join(otherwise)}, {_NO_SEARCH}"
    return (
        f"the data must reach a quantizer, but none of {names} was called with any in {count} "
        f"batches; give more data, or say how to call the model with call="
    )
